//! A connection's place in the table.

use core::mem::ManuallyDrop;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};

use uniprof_wire::net::{ConnectionState, Endpoints, Protocol};
use uniprof_wire::record::{Class, ConnectionRecord, Record};
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{ConnectionEntry, connection_field};

use super::table::{Slot, Table};
use crate::hook;
use crate::platform::{self, Pinned, ThreadId};

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// One connection, or one socket that listens, from its opening to its end. Where there is no table, or no room in it, it does nothing.
#[derive(Debug)]
#[must_use = "the connection ends when this is dropped"]
pub struct Connection {
    slot: Option<Slot>,
    /// 0: there is no table, and nothing to be told.
    id: u64,
}

impl Connection {
    /// One that nobody is told of.
    pub const NONE: Self = Self { slot: None, id: 0 };

    /// Tells of a connection. `remote` of a socket that listens is unspecified (`0.0.0.0:0`).
    pub fn open(protocol: Protocol, local: SocketAddr, remote: SocketAddr, state: ConnectionState) -> Self {
        let Some(table) = Table::get() else { return Self::NONE };
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
        // Not to be switched out with a slot half written.
        let _pinned = Pinned::new();
        let slot = table.claim();
        if let Some(slot) = slot {
            let now = platform::now();
            let entry = ConnectionEntry {
                id,
                state,
                protocol,
                ends: Endpoints { local, remote },
                thread: 0,
                rx_queue: 0,
                tx_queue: 0,
                bytes_in: 0,
                bytes_out: 0,
                opened: now,
                active: now,
                ended: 0,
            };
            slot.change(|words| {
                // Downward, while readers copy upward: who sees the new number sees all that is new, and who sees the old one behind
                // it has seen nothing of this.
                entry.to_words().iter().enumerate().rev().for_each(|(i, &word)| words.store(1 + i, word));
            });
            if hook::recording(Class::Net) {
                record(&entry, ConnectionState::Closed, now);
            }
        }
        Self { slot, id }
    }

    /// Two words to keep in its place, for languages without this type; both 0 where nothing is told. It does not end by that.
    #[must_use = "the connection ends with what `from_words` makes of them"]
    pub fn into_words(self) -> [u64; 2] {
        let connection = ManuallyDrop::new(self);
        [connection.slot.map_or(0, Slot::address), connection.id]
    }

    /// The connection that [`Connection::into_words`] made of these words.
    ///
    /// # Safety
    /// They are what it gave, and nobody has made an end of the connection since.
    pub unsafe fn from_words([slot, id]: [u64; 2]) -> Self {
        // SAFETY: the address of a slot, as the caller promises.
        Self { slot: (slot != 0).then(|| unsafe { Slot::at_address(slot) }), id }
    }

    /// Its number, which no other connection of this boot has; 0 where nothing is told. For spans and events.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Its state is another one.
    pub fn state(&self, state: ConnectionState) {
        if let Some(slot) = self.slot {
            set_state(slot, state, platform::now());
        }
    }

    /// The thread that serves it; 0 none.
    pub fn served_by(&self, thread: ThreadId) {
        if let Some(slot) = self.slot {
            slot.store(connection_field::THREAD, thread.into());
        }
    }

    /// Bytes that wait to be read, and bytes that wait to be sent or acknowledged.
    pub fn queues(&self, to_read: u32, to_send: u32) {
        if let Some(slot) = self.slot {
            slot.store(connection_field::QUEUES, ConnectionEntry::queues_word(to_read, to_send));
        }
    }

    /// It has brought so many bytes more.
    pub fn received(&self, bytes: u64) {
        self.moved(connection_field::BYTES_IN, bytes);
    }

    /// It has taken so many bytes more.
    pub fn sent(&self, bytes: u64) {
        self.moved(connection_field::BYTES_OUT, bytes);
    }

    fn moved(&self, field: usize, bytes: u64) {
        if let Some(slot) = self.slot {
            slot.add(field, bytes);
            slot.store(connection_field::ACTIVE, platform::now());
        }
    }

    /// It has ended. The same happens when it is dropped.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(table) = Table::get().filter(|_| self.id != 0) else { return };
        let now = platform::now();
        if let Some(slot) = self.slot {
            slot.store(connection_field::QUEUES, 0);
            set_state(slot, ConnectionState::Closed, now);
        }
        table.give_back(self.slot, now);
    }
}

fn set_state(slot: Slot, state: ConnectionState, now: u64) {
    let word = slot.load(connection_field::STATE);
    let old = ConnectionState::from_number(word as u8).unwrap_or_default();
    if old == state {
        return;
    }
    slot.store(connection_field::STATE, word & !0xff | state as u64);
    slot.store(connection_field::ACTIVE, now);
    if hook::recording(Class::Net) {
        let _pinned = Pinned::new();
        let words = core::array::from_fn(|i| slot.load(i));
        if let Some(entry) = ConnectionEntry::from_words(&words).entry() {
            record(&entry, old, now);
        }
    }
}

#[cold]
#[inline(never)]
fn record(entry: &ConnectionEntry, old: ConnectionState, now: u64) {
    let record = ConnectionRecord {
        tsc: now,
        thread: platform::thread(),
        id: entry.id,
        protocol: entry.protocol,
        old,
        new: entry.state,
        ends: entry.ends,
        served_by: entry.thread,
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        opened: entry.opened,
    };
    hook::write_counted(&Record::Connection(record), now);
}
