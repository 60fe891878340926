//! The guest's hands on the network table.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{
    CONNECTION_WORDS, INTERFACE_SLOTS, INTERFACE_WORDS, NET_HEAD_WORDS, NET_TOTALS_WORDS, connection_field,
    net_field,
};

pub(super) use uniprof_wire::tables::interface_field;

use crate::region::{Region, Words};

/// The table's first word; null: there is none.
static TABLE: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());
static SLOTS: AtomicU32 = AtomicU32::new(0);
/// Connections that have a slot, or are about to get one.
static HELD: AtomicU32 = AtomicU32::new(0);
/// Where to look for a free slot next: behind the last that was taken, so that what has ended stays readable for as long as possible.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Counters and connections are kept from now on; from `init`.
pub(crate) fn start(region: &Region) {
    let slots = region.geometry.connections();
    if slots != 0 {
        SLOTS.store(slots, Ordering::Relaxed);
        TABLE.store(region.words.at_byte(region.geometry.net_table()).as_ptr(), Ordering::Release);
    }
}

/// The whole table.
#[derive(Clone, Copy)]
pub(super) struct Table(Words);

/// An interface's slot, or a connection's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(Words);

impl Table {
    #[inline(always)]
    pub(super) fn get() -> Option<Self> {
        let first = TABLE.load(Ordering::Acquire);
        (!first.is_null()).then(|| Self(Words::from_ptr(first)))
    }

    pub(super) fn count(self, field: usize) {
        self.0.atomic(field).fetch_add(1, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn interface(self, index: u8) -> Option<Slot> {
        let index = usize::from(index);
        let first = NET_TOTALS_WORDS + index * INTERFACE_WORDS;
        (index < INTERFACE_SLOTS).then(|| Slot(self.0.at_byte(first * 8)))
    }

    fn connection(self, index: u32) -> Slot {
        Slot(self.0.at_byte((NET_HEAD_WORDS + index as usize * CONNECTION_WORDS) * 8))
    }

    /// A slot that is being written and nobody else's. `None`: all are taken, which is counted.
    pub(super) fn claim(self) -> Option<Slot> {
        self.count(net_field::OPENED);
        let slots = SLOTS.load(Ordering::Relaxed);
        if HELD.fetch_add(1, Ordering::Relaxed) < slots {
            let first = NEXT.load(Ordering::Relaxed);
            // Whoever gives a slot back says so before others may count on it, so one of them is free; others may take it first, and
            // leave one behind that has been passed.
            for index in (0..slots.saturating_mul(2)).map(|ahead| first.wrapping_add(ahead) % slots) {
                let slot = self.connection(index);
                if slot.take() {
                    NEXT.store(index + 1, Ordering::Relaxed);
                    return Some(slot);
                }
            }
        }
        HELD.fetch_sub(1, Ordering::Relaxed);
        self.count(net_field::NO_ROOM);
        None
    }

    /// A connection has ended: its slot is free, once all the rest has been said about it.
    pub(super) fn give_back(self, slot: Option<Slot>, now: u64) {
        self.count(net_field::CLOSED);
        match slot {
            Some(slot) => {
                slot.store(connection_field::ENDED, now.max(1));
                HELD.fetch_sub(1, Ordering::Release);
            }
            None => self.count(net_field::NO_ROOM_CLOSED),
        }
    }
}

impl Slot {
    /// Where it is: what [`Slot::at_address`] takes.
    pub(super) fn address(self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// # Safety
    /// What [`Slot::address`] gave.
    pub(super) unsafe fn at_address(address: u64) -> Self {
        Self(Words::from_ptr(address as usize as *mut u64))
    }

    pub(super) fn load(self, field: usize) -> u64 {
        self.0.load(field)
    }

    pub(super) fn store(self, field: usize, value: u64) {
        self.0.store(field, value);
    }

    /// On any vCPU, at any moment.
    #[inline(always)]
    pub(super) fn add(self, field: usize, value: u64) {
        self.0.atomic(field).fetch_add(value, Ordering::Relaxed);
    }

    /// Makes the sequence of a free slot odd. False: it is not free, or somebody else was first.
    fn take(self) -> bool {
        let word = self.0.atomic(connection_field::SEQUENCE);
        let sequence = word.load(Ordering::Acquire);
        let free = sequence == 0 || (sequence.is_multiple_of(2) && self.load(connection_field::ENDED) != 0);
        free && word.compare_exchange(sequence, sequence + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets `change` change fields, with an odd sequence meanwhile; one that is odd already becomes even with that.
    pub(super) fn change(self, change: impl FnOnce(Words)) {
        let sequence = self.load(connection_field::SEQUENCE) | 1;
        self.store(connection_field::SEQUENCE, sequence);
        change(self.0);
        self.store(connection_field::SEQUENCE, sequence + 1);
    }
}
