//! The guest's network, out of its region: interfaces with their counters, and connections, as they were at one moment.

use uniprof_wire::address::GuestPhysical;
use uniprof_wire::layout::Geometry;
use uniprof_wire::tables::{
    CONNECTION_WORDS, ConnectionEntry, INTERFACE_SLOTS, INTERFACE_WORDS, InterfaceEntry, MAX_CONNECTIONS,
    NET_HEAD_WORDS, NET_TOTALS_WORDS, NetTotals, Slot, connection_field,
};

use crate::memory::{GuestMemory, MemoryError};

/// Looks at a table whose slots change hands meanwhile; what has changed hands at the last of them is left out.
const LOOKS: usize = 4;
/// Words of the totals in a recording, with those of what was torn, and the number of interfaces.
const HEAD: usize = 6;

/// What the network table held when it was looked at.
///
/// ```
/// use uniprof_collector::network::Network;
///
/// let mut network = Network::default();
/// network.totals.opened = 7;
/// assert_eq!(Network::from_words(&network.to_words()), network);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Connections since the guest's boot.
    pub totals: NetTotals,
    /// Interfaces that the guest has told of, each with its number.
    pub interfaces: Vec<(u8, InterfaceEntry)>,
    /// Connections, by number; those that have ended are among them for as long as nobody needed their slot.
    pub connections: Vec<ConnectionEntry>,
    /// Slots that were being written, and are left out.
    pub torn: u64,
}

impl Network {
    /// Reads that of a region at `at`, whose guest may be running meanwhile. `None`: it has no network table.
    pub fn read(
        memory: &dyn GuestMemory,
        at: GuestPhysical,
        geometry: Geometry,
    ) -> Result<Option<Self>, MemoryError> {
        if geometry.connections() == 0 {
            return Ok(None);
        }
        let first = GuestPhysical(at.0.saturating_add(geometry.net_table() as u64));
        let mut bytes = vec![0; geometry.net_bytes()];
        let mut look = || -> Result<Vec<u64>, MemoryError> {
            memory.read(first, &mut bytes)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
        };
        let mut before = look()?;
        for attempt in 1.. {
            let table = look()?;
            let after = look()?;
            let read = Self::of(&table, geometry, |slot| {
                let sequence = slot + connection_field::SEQUENCE;
                before.get(sequence) == after.get(sequence)
            });
            if read.torn == 0 || attempt == LOOKS {
                return Ok(Some(read));
            }
            before = after;
        }
        Ok(None)
    }

    /// Reads that of the region's part that has nothing else, of which each word was copied once. `None`: there is no network table.
    pub(crate) fn of_table(table: &[u64], geometry: Geometry) -> Option<Self> {
        (geometry.connections() > 0).then(|| Self::of(table, geometry, |_| true))
    }

    /// The same, as [`Port::area`](crate::port::Port::area) gives it.
    #[must_use]
    pub fn of_bytes(table: &[u8], geometry: Geometry) -> Option<Self> {
        let words = table.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        Self::of_table(&words.collect::<Vec<u64>>(), geometry)
    }

    /// `is_settled` says whether the slot that begins with that word belonged to one connection while it was copied.
    fn of(table: &[u64], geometry: Geometry, is_settled: impl Fn(usize) -> bool) -> Self {
        let (head, slots) = table.split_at_checked(NET_HEAD_WORDS).unwrap_or((table, &[]));
        let mut all = Self::default();
        let Some((totals, interfaces)) = head.split_first_chunk::<NET_TOTALS_WORDS>() else { return all };
        all.totals = NetTotals::from_words(totals);
        for (number, words) in (0..).zip(interfaces.as_chunks::<INTERFACE_WORDS>().0) {
            // Its name is written once; its counters are right at any moment.
            if let Some(interface) = InterfaceEntry::from_words(words).entry() {
                all.interfaces.push((number, interface));
            }
        }
        let slots = slots.as_chunks::<CONNECTION_WORDS>().0.iter().take(geometry.connections() as usize);
        for (index, words) in slots.enumerate() {
            match ConnectionEntry::from_words(words) {
                Slot::Whole(entry) if is_settled(NET_HEAD_WORDS + index * CONNECTION_WORDS) => {
                    all.connections.push(entry);
                }
                Slot::Empty => {}
                Slot::Whole(_) | Slot::Torn(_) => all.torn += 1,
            }
        }
        all.connections.sort_by_key(|connection| connection.id);
        all
    }

    /// Connections that have not ended.
    pub fn living(&self) -> impl Iterator<Item = &ConnectionEntry> {
        self.connections.iter().filter(|connection| connection.ended == 0)
    }

    /// The same without connections that have ended.
    #[must_use]
    pub fn without_ended(mut self) -> Self {
        self.connections.retain(|connection| connection.ended == 0);
        self
    }

    /// For a recording: `opened │ ended │ no room │ those of them that ended │ torn │ n`, then n interfaces of 32 words, of which the first is
    /// its number, then connections of 15 words.
    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        let NetTotals { opened, closed, no_room, no_room_closed } = self.totals;
        let mut words =
            vec![opened, closed, no_room, no_room_closed, self.torn, self.interfaces.len() as u64];
        for (number, interface) in &self.interfaces {
            words.push(u64::from(*number));
            words.extend(interface.to_words());
        }
        words.extend(self.connections.iter().flat_map(ConnectionEntry::to_words));
        words
    }

    /// Out of a recording. What makes no sense is left out.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        let Some((&[opened, closed, no_room, no_room_closed, torn, interfaces], words)) =
            words.split_first_chunk::<HEAD>()
        else {
            return Self::default();
        };
        let totals = NetTotals { opened, closed, no_room, no_room_closed };
        let mut all = Self { totals, torn, ..Self::default() };
        let interfaces = usize::try_from(interfaces).unwrap_or(usize::MAX).min(INTERFACE_SLOTS);
        let Some((interfaces, connections)) = words.split_at_checked(interfaces * INTERFACE_WORDS) else {
            return all;
        };
        for words in interfaces.as_chunks::<INTERFACE_WORDS>().0 {
            let mut slot = *words;
            slot[0] = 2;
            if let (Ok(number), Some(entry)) =
                (u8::try_from(words[0]), InterfaceEntry::from_words(&slot).entry())
            {
                all.interfaces.push((number, entry));
            }
        }
        let connections = connections.as_chunks::<{ CONNECTION_WORDS - 1 }>().0;
        for words in connections.iter().take(MAX_CONNECTIONS as usize) {
            let slot = std::array::from_fn(|i| if i == 0 { 2 } else { words[i - 1] });
            match ConnectionEntry::from_words(&slot) {
                Slot::Whole(entry) => all.connections.push(entry),
                Slot::Torn(_) | Slot::Empty => all.torn = all.torn.saturating_add(1),
            }
        }
        all
    }

    /// Most words that [`Network::to_words`] gives.
    pub(crate) const MOST_WORDS: usize =
        HEAD + INTERFACE_SLOTS * INTERFACE_WORDS + MAX_CONNECTIONS as usize * (CONNECTION_WORDS - 1);
}

#[cfg(test)]
mod tests {
    use uniprof_wire::layout::Geometry;
    use uniprof_wire::net::{ConnectionState, Endpoints, Protocol};
    use uniprof_wire::tables::Traffic;
    use uniprof_wire::text::FixedText;

    use super::*;

    fn connection(id: u64, ended: u64) -> ConnectionEntry {
        ConnectionEntry {
            id,
            state: if ended == 0 { ConnectionState::Established } else { ConnectionState::Closed },
            protocol: Protocol::Tcp,
            ends: Endpoints {
                local: "10.0.2.15:80".parse().unwrap(),
                remote: "[fe80::2]:40000".parse().unwrap(),
            },
            thread: 3,
            rx_queue: 1,
            tx_queue: 2,
            bytes_in: 3,
            bytes_out: 4,
            opened: 5,
            active: 6,
            ended,
        }
    }

    fn network() -> Network {
        let received = Traffic { bytes: 9, by_verdict: [3; 8] };
        let name = FixedText::new(b"eth0");
        let interface =
            InterfaceEntry { name, mac: [1; 6], mtu: 1500, received, ..InterfaceEntry::default() };
        Network {
            totals: NetTotals { opened: 9, closed: 6, no_room: 2, no_room_closed: 1 },
            interfaces: vec![(0, interface), (5, interface)],
            connections: vec![connection(1, 0), connection(2, 77), connection(4, 0)],
            torn: 1,
        }
    }

    #[test]
    fn a_recording_gives_back_what_was_seen() {
        let network = network();
        assert_eq!(Network::from_words(&network.to_words()), network);
        assert_eq!(network.living().map(|one| one.id).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(network.totals.not_shown(), 1);
        let words = network.to_words();
        for len in 0..words.len() {
            let part = Network::from_words(&words[..len]);
            assert!(part.connections.len() < 3 && part.interfaces.len() <= 2, "{len} words");
        }
        let wild = Network::from_words(&vec![u64::MAX; Network::MOST_WORDS + 100]);
        assert!(wild.connections.is_empty());
    }

    #[test]
    fn a_slot_that_changed_hands_meanwhile_is_torn() {
        let geometry = Geometry::with_ring_bytes(1, 8 << 10).unwrap().with_connections(64).unwrap();
        let mut table = vec![0; geometry.net_bytes() / 8];
        for (slot, sequence) in [(0, 2), (7, 4), (63, 5)] {
            let first = NET_HEAD_WORDS + slot * CONNECTION_WORDS;
            table[first] = sequence;
            table[first + 1..][..CONNECTION_WORDS - 1]
                .copy_from_slice(&connection(100 - slot as u64, 0).to_words());
        }
        let seen = Network::of_table(&table, geometry).unwrap();
        assert_eq!(
            (seen.connections.iter().map(|c| c.id).collect::<Vec<_>>(), seen.torn),
            (vec![93, 100], 1)
        );
        let seen = Network::of(&table, geometry, |slot| slot != NET_HEAD_WORDS);
        assert_eq!((seen.connections.len(), seen.torn), (1, 2));
        assert_eq!(Network::of(&table[..3], geometry, |_| true), Network::default());
    }
}
