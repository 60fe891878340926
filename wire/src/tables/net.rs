//! The network table: interfaces with their counters, and connections.
//!
//! ```text
//!  totals       16 words    connections opened and ended, and those that found no slot
//!  interfaces    8 slots of 32 words
//!  connections   so many slots of 16 words as the header page says
//! ```
//!
//! All vCPUs write, without locks: a slot is claimed by making its sequence odd with a compare-exchange; after that each
//! word changes by itself, so that a reader who finds the same even sequence before and after its copy has words of one connection.

mod connection;
mod interface;

pub use connection::{CONNECTION_WORDS, ConnectionEntry, connection_field};
pub use interface::{INTERFACE_WORDS, InterfaceEntry, Traffic, interface_field};

/// Words of [`NetTotals`].
pub const NET_TOTALS_WORDS: usize = 16;
/// Interfaces of one guest.
pub const INTERFACE_SLOTS: usize = 8;
/// Fewest connections of a table.
pub const MIN_CONNECTIONS: u32 = 64;
/// Most connections of a table.
pub const MAX_CONNECTIONS: u32 = 1 << 16;

/// Words before the first connection.
pub const NET_HEAD_WORDS: usize = NET_TOTALS_WORDS + INTERFACE_SLOTS * INTERFACE_WORDS;

/// Word numbers of [`NetTotals`].
pub mod net_field {
    /// Connections that were opened.
    pub const OPENED: usize = 0;
    /// Connections that ended.
    pub const CLOSED: usize = 1;
    /// Connections that found no slot when they were opened.
    pub const NO_ROOM: usize = 2;
    /// Those of them that ended.
    pub const NO_ROOM_CLOSED: usize = 3;
}

/// Connections since the guest's boot, those among them that the table had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetTotals {
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Connections that found no slot when they were opened.
    pub no_room: u64,
    /// Those of them that ended.
    pub no_room_closed: u64,
}

impl NetTotals {
    /// From a copy of the table's first words.
    #[must_use]
    pub const fn from_words(words: &[u64; NET_TOTALS_WORDS]) -> Self {
        Self {
            opened: words[net_field::OPENED],
            closed: words[net_field::CLOSED],
            no_room: words[net_field::NO_ROOM],
            no_room_closed: words[net_field::NO_ROOM_CLOSED],
        }
    }

    /// Connections that exist and are not in the table.
    #[must_use]
    pub const fn not_shown(&self) -> u64 {
        self.no_room.saturating_sub(self.no_room_closed)
    }
}
