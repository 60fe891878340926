//! Slots of connections.

use crate::net::{ConnectionState, Endpoints, Protocol};
use crate::tables::{Slot, slot};

/// Words of one [`ConnectionEntry`].
pub const CONNECTION_WORDS: usize = 16;

/// Word numbers of [`ConnectionEntry`], for the guest, which changes single fields.
pub mod connection_field {
    /// Sequence: 0 empty, odd while the slot is given to another connection.
    pub const SEQUENCE: usize = 0;
    /// The connection's number.
    pub const ID: usize = 1;
    /// State, protocol and families, a byte each.
    pub const STATE: usize = 2;
    /// Thread that serves it.
    pub const THREAD: usize = 3;
    /// Ports, then the addresses.
    pub const ENDPOINTS: usize = 4;
    /// Bytes to be read in the low half, to be sent in the high half.
    pub const QUEUES: usize = 9;
    /// Bytes received.
    pub const BYTES_IN: usize = 10;
    /// Bytes sent.
    pub const BYTES_OUT: usize = 11;
    /// TSC at which it was opened.
    pub const OPENED: usize = 12;
    /// TSC of its latest change.
    pub const ACTIVE: usize = 13;
    /// TSC at which it ended; 0 while it lives. A slot whose connection has ended is free.
    pub const ENDED: usize = 14;
    /// The connection's number again, for readers who get the words of a slot at two moments.
    pub const ID_AGAIN: usize = 15;
}

/// One connection, or one socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEntry {
    /// Its number: no other connection of the same boot has it.
    pub id: u64,
    /// Its state.
    pub state: ConnectionState,
    /// What it speaks.
    pub protocol: Protocol,
    /// From where to where.
    pub ends: Endpoints,
    /// The thread that serves it; 0 none, or unknown.
    pub thread: u32,
    /// Bytes that have come and that nobody has read.
    pub rx_queue: u32,
    /// Bytes that were written and have not been sent, or not been acknowledged.
    pub tx_queue: u32,
    /// Bytes that it has brought.
    pub bytes_in: u64,
    /// Bytes that it has taken away.
    pub bytes_out: u64,
    /// When it was opened, TSC.
    pub opened: u64,
    /// When it last changed or moved bytes, TSC.
    pub active: u64,
    /// When it ended, TSC; 0: it lives.
    pub ended: u64,
}

impl ConnectionEntry {
    /// Word [`connection_field::STATE`].
    #[must_use]
    pub const fn state_word(state: ConnectionState, protocol: Protocol, ends: &Endpoints) -> u64 {
        state as u64 | (protocol as u64) << 8 | (ends.families() as u64) << 16
    }

    /// Word [`connection_field::QUEUES`].
    #[must_use]
    pub const fn queues_word(rx_queue: u32, tx_queue: u32) -> u64 {
        rx_queue as u64 | (tx_queue as u64) << 32
    }

    /// The slot's words after the sequence word.
    #[must_use]
    pub const fn to_words(&self) -> [u64; CONNECTION_WORDS - 1] {
        let [ports, local_low, local_high, remote_low, remote_high] = self.ends.to_words();
        [
            self.id,
            Self::state_word(self.state, self.protocol, &self.ends),
            self.thread as u64,
            ports,
            local_low,
            local_high,
            remote_low,
            remote_high,
            Self::queues_word(self.rx_queue, self.tx_queue),
            self.bytes_in,
            self.bytes_out,
            self.opened,
            self.active,
            self.ended,
            self.id,
        ]
    }

    /// From a copy of the slot. Torn is what was being written when it was copied, and what makes no sense.
    #[must_use]
    pub fn from_words(words: &[u64; CONNECTION_WORDS]) -> Slot<Self> {
        use connection_field::{
            ACTIVE, BYTES_IN, BYTES_OUT, ENDED, ENDPOINTS, ID, ID_AGAIN, OPENED, QUEUES, STATE, THREAD,
        };
        let state = ConnectionState::from_number(words[STATE] as u8);
        let ends = core::array::from_fn(|i| words[ENDPOINTS + i]);
        let ends = Endpoints::from_words((words[STATE] >> 16) as u8, ends);
        let makes_sense = state.is_some() && ends.is_some() && words[ID] == words[ID_AGAIN];
        let entry = Self {
            id: words[ID],
            state: state.unwrap_or_default(),
            protocol: Protocol::from_number((words[STATE] >> 8) as u8),
            ends: ends.unwrap_or(Endpoints::UNSPECIFIED),
            thread: words[THREAD] as u32,
            rx_queue: words[QUEUES] as u32,
            tx_queue: (words[QUEUES] >> 32) as u32,
            bytes_in: words[BYTES_IN],
            bytes_out: words[BYTES_OUT],
            opened: words[OPENED],
            active: words[ACTIVE],
            ended: words[ENDED],
        };
        slot(if makes_sense || words[0] == 0 { words[0] } else { words[0] | 1 }, entry)
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::*;

    fn entry() -> ConnectionEntry {
        ConnectionEntry {
            id: 9,
            state: ConnectionState::CloseWait,
            protocol: Protocol::Tcp,
            ends: Endpoints {
                local: SocketAddr::new(Ipv4Addr::new(10, 0, 2, 15).into(), 80),
                remote: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 40_000),
            },
            thread: 3,
            rx_queue: u32::MAX,
            tx_queue: 5,
            bytes_in: 6,
            bytes_out: 7,
            opened: 8,
            active: 10,
            ended: 11,
        }
    }

    fn with_sequence(sequence: u64, entry: &ConnectionEntry) -> [u64; CONNECTION_WORDS] {
        let words = entry.to_words();
        core::array::from_fn(|i| if i == 0 { sequence } else { words[i - 1] })
    }

    #[test]
    fn entries_round_trip() {
        let entry = entry();
        assert_eq!(ConnectionEntry::from_words(&with_sequence(2, &entry)), Slot::Whole(entry));
        assert_eq!(ConnectionEntry::from_words(&with_sequence(3, &entry)), Slot::Torn(entry));
        assert_eq!(ConnectionEntry::from_words(&with_sequence(0, &entry)), Slot::Empty);
    }

    #[test]
    fn what_makes_no_sense_is_torn() {
        let mut words = with_sequence(2, &entry());
        words[connection_field::ID_AGAIN] += 1;
        assert!(matches!(ConnectionEntry::from_words(&words), Slot::Torn(_)));
        for damage in [0xff, 0x77 << 16] {
            let mut words = with_sequence(2, &entry());
            words[connection_field::STATE] |= damage;
            assert!(matches!(ConnectionEntry::from_words(&words), Slot::Torn(_)), "{damage:#x}");
        }
        assert_eq!(ConnectionEntry::from_words(&[0; CONNECTION_WORDS]), Slot::Empty);
    }
}
