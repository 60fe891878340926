//! The heap table: some of the blocks that are allocated now, each with where it was allocated and how many bytes it stands for.
//!
//! ```text
//!  keys     one word for each slot: 0 free, 1 being written, else the block's address
//!  entries  32 words for each slot
//! ```
//!
//! A block's slot is one of the 16 of two buckets, which its address decides ([`heap_buckets`]): giving a block back costs two cache lines,
//! whether it was sampled or not. Several vCPUs write: one claims a slot by changing its key from 0 to 1, and stores the address last.

use super::Slot;
use crate::address::GuestVirtual;

/// Words of one [`HeapEntry`].
pub const HEAP_WORDS: usize = 32;
/// Slots that a guest with room for them makes.
pub const HEAP_SLOTS: u32 = 1024;
/// Fewest slots of a heap table.
pub const MIN_HEAP_SLOTS: u32 = 64;
/// Most slots of a heap table.
pub const MAX_HEAP_SLOTS: u32 = 1 << 16;
/// Slots of a bucket: their keys are one cache line.
pub const HEAP_WAYS: u32 = 8;
/// Return addresses of one entry.
pub const HEAP_FRAMES: usize = HEAP_WORDS - FIRST_FRAME;
/// Key of a free slot.
pub const HEAP_FREE: u64 = 0;
/// Key of a slot that is being written.
pub const HEAP_CLAIMED: u64 = 1;

const FIRST_FRAME: usize = 5;

/// The two buckets where a block at `address` may be, in a table of `slots` slots (a power of two, at least [`MIN_HEAP_SLOTS`]).
#[must_use]
pub const fn heap_buckets(address: u64, slots: u32) -> [u32; 2] {
    let mask = slots / HEAP_WAYS - 1;
    let hash = (address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (first, second) = ((hash >> 40) as u32 & mask, (hash >> 22) as u32 & mask);
    [first, if second == first { second ^ 1 } else { second }]
}

/// One block that is allocated now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapEntry {
    /// The block.
    pub address: GuestVirtual,
    /// How long it is.
    pub bytes: u64,
    /// For how many allocated bytes it stands: `bytes` divided by the probability that a block of this size is sampled.
    pub weight: u64,
    /// When it was allocated.
    pub tsc: u64,
    /// On which thread.
    pub thread: u32,
    /// By whom.
    pub callers: HeapCallers,
}

/// Return addresses of the call that allocated a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapCallers {
    depth: u32,
    frames: [u64; HEAP_FRAMES],
}

impl HeapCallers {
    /// From return addresses, the innermost first; those beyond [`HEAP_FRAMES`] are left out.
    #[must_use]
    pub fn new(frames: &[u64]) -> Self {
        let depth = frames.len().min(HEAP_FRAMES);
        let mut kept = [0; HEAP_FRAMES];
        kept[..depth].copy_from_slice(&frames[..depth]);
        Self { depth: depth as u32, frames: kept }
    }

    /// Return addresses, the innermost first.
    #[must_use]
    pub fn addresses(&self) -> &[u64] {
        self.frames.get(..self.depth as usize).unwrap_or(&self.frames)
    }
}

impl HeapEntry {
    /// The slot's words.
    #[must_use]
    pub fn to_words(&self) -> [u64; HEAP_WORDS] {
        let mut words = [0; HEAP_WORDS];
        words[0] = self.address.0;
        words[1] = self.bytes;
        words[2] = self.weight;
        words[3] = self.tsc;
        words[4] = u64::from(self.thread) | u64::from(self.callers.depth) << 32;
        words[FIRST_FRAME..].copy_from_slice(&self.callers.frames);
        words
    }

    /// From a copy of a slot's key and words. Torn is what was being written when it was copied, and what does not fit together.
    #[must_use]
    pub fn from_words(key: u64, words: &[u64; HEAP_WORDS]) -> Slot<Self> {
        if key == HEAP_FREE {
            return Slot::Empty;
        }
        let depth = (words[4] >> 32) as u32;
        let entry = Self {
            address: GuestVirtual(words[0]),
            bytes: words[1],
            weight: words[2],
            tsc: words[3],
            thread: words[4] as u32,
            callers: HeapCallers {
                depth: depth.min(HEAP_FRAMES as u32),
                frames: core::array::from_fn(|i| words[FIRST_FRAME + i]),
            },
        };
        let fits = key == words[0] && depth as usize <= HEAP_FRAMES && entry.weight >= entry.bytes;
        if fits { Slot::Whole(entry) } else { Slot::Torn(entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> HeapEntry {
        HeapEntry {
            address: GuestVirtual(0x7000),
            bytes: 48,
            weight: 524_312,
            tsc: 9,
            thread: 3,
            callers: HeapCallers::new(&[1, 2, 3]),
        }
    }

    #[test]
    fn entries_round_trip_with_any_number_of_frames() {
        for depth in 0..=HEAP_FRAMES {
            let frames: [u64; HEAP_FRAMES] = core::array::from_fn(|i| 0x1000 + i as u64);
            let entry = HeapEntry { callers: HeapCallers::new(&frames[..depth]), ..entry() };
            assert_eq!(HeapEntry::from_words(0x7000, &entry.to_words()), Slot::Whole(entry));
            assert_eq!(entry.callers.addresses(), &frames[..depth]);
        }
        let many = [7; HEAP_FRAMES + 1];
        assert_eq!(HeapCallers::new(&many).addresses(), &many[..HEAP_FRAMES]);
    }

    #[test]
    fn a_slot_is_whole_only_with_its_own_address_as_key() {
        let words = entry().to_words();
        assert_eq!(HeapEntry::from_words(HEAP_FREE, &words), Slot::Empty);
        assert_eq!(HeapEntry::from_words(HEAP_CLAIMED, &words), Slot::Torn(entry()));
        assert!(matches!(HeapEntry::from_words(0x8000, &words), Slot::Torn(_)));
        let mut forged = words;
        forged[4] |= 0xffff << 32;
        let Slot::Torn(torn) = HeapEntry::from_words(0x7000, &forged) else { panic!("so many frames?") };
        assert_eq!(torn.callers.addresses().len(), HEAP_FRAMES);
    }

    #[test]
    fn buckets_differ_and_lie_inside() {
        for slots in [MIN_HEAP_SLOTS, HEAP_SLOTS, MAX_HEAP_SLOTS] {
            for address in (0x10_0000..0x20_0000).step_by(48) {
                let [first, second] = heap_buckets(address, slots);
                assert!(first != second && first.max(second) < slots / HEAP_WAYS, "{address:#x} of {slots}");
            }
        }
    }
}
