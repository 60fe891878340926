//! Requests: what collectors ask of a guest.

use super::{CONTROL_WORDS, Slot, slot};
use crate::pattern;
use crate::record::CLASSES;
use crate::text::FixedText;

/// What one collector asks of the guest. The guest serves the highest rate, the union of the classes and patterns, the longest
/// snapshots and packets and the smallest budget of all requests whose lease lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRequest {
    /// Who asks: any number but 0 that no other collector uses.
    pub owner: u64,
    /// Goes up while the collector lives; a request that shows no new value for `lease_ms` is dropped.
    pub renewals: u64,
    /// How long a request lives without renewal, in milliseconds; the guest caps it at a minute.
    pub lease_ms: u32,
    /// Samples per second and vCPU; the guest caps it.
    pub rate: u32,
    /// Classes wanted, a bit each.
    pub classes: u64,
    /// Bytes of stack that each sample shall take along, for the host to unwind; 0: return addresses that the guest finds by
    /// frame pointers. The guest caps it.
    pub snapshot_bytes: u32,
    /// Bytes of each packet that its record shall take along; 0: [`DEFAULT_PACKET_BYTES`](crate::record::DEFAULT_PACKET_BYTES). The guest
    /// caps it.
    pub packet_bytes: u32,
    /// What all probes of a vCPU may cost, in millionths of its time; 0: whatever it takes.
    pub budget_ppm: u32,
    /// Sites wanted by name, whatever their class, and sites that this collector does not want although it asks for their class
    /// ([`pattern::selects`]).
    pub patterns: FixedText<32>,
    /// Number of the mark that this collector has last asked for; a new one makes the guest write the mark.
    pub mark: u32,
    /// Number of the flush that it has last asked for: a guest that pushes its records does so at once.
    pub flush: u32,
    /// What the mark says.
    pub mark_text: FixedText<8>,
    /// Wall clock of the asker's host, in nanoseconds since the Unix epoch, when it last wrote or renewed this. Not for the guest: other
    /// collectors of that host see by it who has died.
    pub asked_ns: u64,
}

impl ControlRequest {
    /// Words of a slot that are in use, with the sequence word.
    pub const WORDS: usize = 49;
    /// The word of a slot that [`ControlRequest::asked_ns`] is in.
    pub const ASKED_WORD: usize = 48;
    /// A request that asks for nothing.
    pub const NOTHING: Self = Self {
        owner: 0,
        renewals: 0,
        lease_ms: 0,
        rate: 0,
        classes: 0,
        snapshot_bytes: 0,
        packet_bytes: 0,
        budget_ppm: 0,
        patterns: FixedText::EMPTY,
        mark: 0,
        flush: 0,
        mark_text: FixedText::EMPTY,
        asked_ns: 0,
    };

    /// Whether it wants the site of that name and class.
    #[must_use]
    pub fn wants(&self, name: &[u8], class_bit: u64) -> bool {
        let of_class = self.classes & class_bit != 0;
        pattern::selects(self.patterns.bytes(), name).unwrap_or(of_class)
    }

    /// The slot's words after the sequence word.
    #[must_use]
    pub fn to_words(&self) -> [u64; Self::WORDS - 1] {
        const { assert!(Self::WORDS <= CONTROL_WORDS) };
        let mut words = [0; Self::WORDS - 1];
        words[0] = self.owner;
        words[1] = self.renewals;
        words[2] = self.lease_ms.into();
        words[3] = u64::from(self.rate) | u64::from(self.packet_bytes) << 32;
        words[4] = self.classes;
        words[5] = u64::from(self.snapshot_bytes) | u64::from(self.budget_ppm) << 32;
        words[6] = u64::from(self.mark) | u64::from(self.flush) << 32;
        words[7..39].copy_from_slice(&self.patterns.to_words());
        words[39..47].copy_from_slice(&self.mark_text.to_words());
        words[47] = self.asked_ns;
        words
    }

    /// From the first words of the slot.
    #[must_use]
    pub fn from_words(words: &[u64; Self::WORDS]) -> Slot<Self> {
        let entry = Self {
            owner: words[1],
            renewals: words[2],
            lease_ms: words[3] as u32,
            rate: words[4] as u32,
            packet_bytes: (words[4] >> 32) as u32,
            classes: words[5] & ((1 << CLASSES) - 1),
            snapshot_bytes: words[6] as u32,
            budget_ppm: (words[6] >> 32) as u32,
            mark: words[7] as u32,
            flush: (words[7] >> 32) as u32,
            patterns: FixedText::from_words(core::array::from_fn(|i| words[8 + i])),
            mark_text: FixedText::from_words(core::array::from_fn(|i| words[40 + i])),
            asked_ns: words[Self::ASKED_WORD],
        };
        if entry.owner == 0 { Slot::Empty } else { slot(words[0], entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        let request = ControlRequest {
            owner: 1,
            renewals: 2,
            lease_ms: 3,
            rate: 4,
            classes: 5,
            snapshot_bytes: 6,
            packet_bytes: 11,
            budget_ppm: 7,
            patterns: FixedText::new(b"http.*,-http.raw"),
            mark: 8,
            flush: 9,
            mark_text: FixedText::new(b"deploy"),
            asked_ns: 10,
        };
        let words = request.to_words();
        let words = core::array::from_fn(|i| if i == 0 { 2 } else { words[i - 1] });
        assert_eq!(ControlRequest::from_words(&words), Slot::Whole(request));
    }

    #[test]
    fn patterns_go_over_classes() {
        let request = ControlRequest {
            classes: 0b10,
            patterns: FixedText::new(b"http.*,-kv.*"),
            ..ControlRequest::default()
        };
        assert!(request.wants(b"http.get", 0b100));
        assert!(request.wants(b"net.rx", 0b10));
        assert!(!request.wants(b"net.rx", 0b100));
        assert!(!request.wants(b"kv.get", 0b10));
    }
}
