//! Slots of interfaces.

use crate::net::{Direction, VERDICTS, Verdict};
use crate::tables::{Slot, slot};
use crate::text::FixedText;

/// Words of one [`InterfaceEntry`].
pub const INTERFACE_WORDS: usize = 32;

/// Word numbers of [`InterfaceEntry`], for the guest, which adds to single fields.
pub mod interface_field {
    use crate::net::{Direction, VERDICTS, Verdict};

    /// Sequence: 0 while its kernel has told nothing of it.
    pub const SEQUENCE: usize = 0;
    /// MTU in the low half, link type above it.
    pub const SHAPE: usize = 1;
    /// MAC address, the first byte lowest.
    pub const MAC: usize = 2;
    /// Name, four words.
    pub const NAME: usize = 4;

    /// Bytes of all packets of a direction.
    #[must_use]
    pub const fn bytes(direction: Direction) -> usize {
        8 + direction as usize
    }

    /// Packets of a direction that met with that verdict.
    #[must_use]
    pub const fn packets(direction: Direction, verdict: Verdict) -> usize {
        16 + direction as usize * VERDICTS + verdict as usize
    }
}

/// What went one way, counted exactly, whether packets are recorded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of all packets, those that were dropped among them.
    pub bytes: u64,
    /// Packets, by verdict in the order of [`Verdict::ALL`].
    pub by_verdict: [u64; VERDICTS],
}

impl Traffic {
    /// All packets, those that were dropped among them.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.by_verdict.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Packets that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.packets().saturating_sub(self.by_verdict[Verdict::Accepted as usize])
    }
}

/// One network interface of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceEntry {
    /// Its name.
    pub name: FixedText<4>,
    /// Its MAC address; zeros where it has none.
    pub mac: [u8; 6],
    /// Longest payload of one packet.
    pub mtu: u32,
    /// What its packets begin with: pcap's number (`LINKTYPE_`), 1 for Ethernet.
    pub link_type: u16,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

impl InterfaceEntry {
    /// Packets that begin with an Ethernet header.
    pub const ETHERNET: u16 = 1;
    /// Packets that begin with an IP header.
    pub const RAW_IP: u16 = 101;

    /// What went one way.
    #[must_use]
    pub const fn traffic(&self, direction: Direction) -> &Traffic {
        match direction {
            Direction::In => &self.received,
            Direction::Out => &self.sent,
        }
    }

    /// Word [`interface_field::SHAPE`].
    #[must_use]
    pub const fn shape_word(mtu: u32, link_type: u16) -> u64 {
        mtu as u64 | (link_type as u64) << 32
    }

    /// Word [`interface_field::MAC`].
    #[must_use]
    pub const fn mac_word(mac: [u8; 6]) -> u64 {
        let [a, b, c, d, e, f] = mac;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The slot's words after the sequence word.
    #[must_use]
    pub fn to_words(&self) -> [u64; INTERFACE_WORDS - 1] {
        let mut words = [0; INTERFACE_WORDS];
        words[interface_field::SHAPE] = Self::shape_word(self.mtu, self.link_type);
        words[interface_field::MAC] = Self::mac_word(self.mac);
        words[interface_field::NAME..][..4].copy_from_slice(&self.name.to_words());
        for direction in Direction::ALL {
            let traffic = self.traffic(direction);
            words[interface_field::bytes(direction)] = traffic.bytes;
            for verdict in Verdict::ALL {
                words[interface_field::packets(direction, verdict)] = traffic.by_verdict[verdict as usize];
            }
        }
        core::array::from_fn(|i| words[1 + i])
    }

    /// From a copy of the slot.
    #[must_use]
    pub fn from_words(words: &[u64; INTERFACE_WORDS]) -> Slot<Self> {
        let [a, b, c, d, e, f, ..] = words[interface_field::MAC].to_le_bytes();
        let traffic = |direction| Traffic {
            bytes: words[interface_field::bytes(direction)],
            by_verdict: Verdict::ALL.map(|verdict| words[interface_field::packets(direction, verdict)]),
        };
        let entry = Self {
            name: FixedText::from_words(core::array::from_fn(|i| words[interface_field::NAME + i])),
            mac: [a, b, c, d, e, f],
            mtu: words[interface_field::SHAPE] as u32,
            link_type: (words[interface_field::SHAPE] >> 32) as u16,
            received: traffic(Direction::In),
            sent: traffic(Direction::Out),
        };
        slot(words[0], entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        let interface = InterfaceEntry {
            name: FixedText::new(b"eth0"),
            mac: [0x52, 0x54, 0, 1, 2, 3],
            mtu: 1500,
            link_type: InterfaceEntry::ETHERNET,
            received: Traffic { bytes: 1, by_verdict: core::array::from_fn(|i| 10 + i as u64) },
            sent: Traffic { bytes: 2, by_verdict: core::array::from_fn(|i| 20 + i as u64) },
        };
        let words = interface.to_words();
        let words = core::array::from_fn(|i| if i == 0 { 2 } else { words[i - 1] });
        assert_eq!(InterfaceEntry::from_words(&words), Slot::Whole(interface));
        assert_eq!(interface.received.packets(), (10..18).sum());
        assert_eq!(interface.sent.dropped(), (21..28).sum());
        let wild = [u64::MAX; INTERFACE_WORDS];
        assert_eq!(InterfaceEntry::from_words(&wild).entry().map(|i| i.sent.packets()), Some(u64::MAX));
    }
}
