//! The sampled blocks of a guest's heap, out of its region: those that were allocated at one moment.

use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::Geometry;
use uniprof_wire::tables::{HEAP_FRAMES, HEAP_WORDS, HeapCallers, HeapEntry, MAX_HEAP_SLOTS, Slot};

use crate::memory::{GuestMemory, MemoryError};

/// Words of one block before its return addresses, in a recording.
const HEAD: usize = 5;

/// What the heap table held when it was looked at.
///
/// ```
/// use uniprof_collector::live_blocks::LiveBlocks;
/// use uniprof_wire::address::GuestVirtual;
/// use uniprof_wire::tables::{HeapCallers, HeapEntry};
///
/// let callers = HeapCallers::new(&[0x10_0000, 0x10_0800]);
/// let block = HeapEntry { address: GuestVirtual(0x7000), bytes: 48, weight: 4096, tsc: 9, thread: 3, callers };
/// let blocks = LiveBlocks { entries: vec![block], torn: 0 };
/// assert_eq!(LiveBlocks::from_words(&blocks.to_words()), blocks);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBlocks {
    /// The blocks, by rising address.
    pub entries: Vec<HeapEntry>,
    /// Slots that were being written, and are left out.
    pub torn: u64,
}

impl LiveBlocks {
    /// Reads those of a region at `at`, whose guest may be running meanwhile. `None`: it has no heap table.
    pub fn read(
        memory: &dyn GuestMemory,
        at: GuestPhysical,
        geometry: Geometry,
    ) -> Result<Option<Self>, MemoryError> {
        let slots = geometry.heap_slots() as usize;
        if slots == 0 {
            return Ok(None);
        }
        let words = |offset: usize, count: usize| -> Result<Vec<u64>, MemoryError> {
            let mut bytes = vec![0; count * 8];
            memory.read(GuestPhysical(at.0.saturating_add(offset as u64)), &mut bytes)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
        };
        let before = words(geometry.heap_keys(), slots)?;
        let table = words(geometry.heap_entries(), slots * HEAP_WORDS)?;
        let after = words(geometry.heap_keys(), slots)?;
        Ok(Some(Self::of(before.iter().zip(&after).zip(table.as_chunks::<HEAP_WORDS>().0))))
    }

    /// Reads those of the region's part that has nothing else, of which each word was copied once. `None`: there is no heap table.
    pub(crate) fn of_table(table: &[u64], geometry: Geometry) -> Option<Self> {
        let slots = geometry.heap_slots() as usize;
        let keys = table.get(..slots).filter(|_| slots > 0)?;
        let entries = table.get((geometry.heap_entries() - geometry.heap_keys()) / 8..)?;
        Some(Self::of(keys.iter().zip(keys).zip(entries.as_chunks::<HEAP_WORDS>().0)))
    }

    /// Of the key of each slot before and after its words were copied.
    fn of<'a>(slots: impl Iterator<Item = ((&'a u64, &'a u64), &'a [u64; HEAP_WORDS])>) -> Self {
        let mut all = Self::default();
        // What came or went meanwhile is not told: a look takes a moment, and blocks that come later have records of their own.
        let still = slots.filter(|((before, after), _)| before == after);
        for ((key, _), words) in still {
            match HeapEntry::from_words(*key, words) {
                Slot::Whole(entry) => all.entries.push(entry),
                Slot::Torn(_) => all.torn += 1,
                Slot::Empty => {}
            }
        }
        all.entries.sort_by_key(|entry| entry.address);
        all
    }

    /// For a recording: `torn`, then for each block `address │ bytes │ weight │ TSC │ thread:32 depth:32`, then `depth` return addresses.
    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        let mut words = vec![self.torn];
        for entry in &self.entries {
            let callers = entry.callers.addresses();
            let thread = u64::from(entry.thread) | (callers.len() as u64) << 32;
            words.extend([entry.address.0, entry.bytes, entry.weight, entry.tsc, thread]);
            words.extend(callers);
        }
        words
    }

    /// Out of a recording. What makes no sense ends it: what came before is good.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        let Some((&torn, mut words)) = words.split_first() else { return Self::default() };
        let mut all = Self { entries: Vec::new(), torn };
        while let Some((&[address, bytes, weight, tsc, thread], rest)) = words.split_first_chunk::<HEAD>() {
            let depth = (thread >> 32) as usize;
            let Some((callers, rest)) = rest.split_at_checked(depth).filter(|_| depth <= HEAP_FRAMES) else {
                break;
            };
            words = rest;
            let callers = HeapCallers::new(callers);
            let (address, thread) = (GuestVirtual(address), thread as u32);
            all.entries.push(HeapEntry { address, bytes, weight, tsc, thread, callers });
            if all.entries.len() == MAX_HEAP_SLOTS as usize {
                break;
            }
        }
        all
    }

    /// Most words that [`LiveBlocks::to_words`] gives.
    pub(crate) const MOST_WORDS: usize = 1 + MAX_HEAP_SLOTS as usize * HEAP_WORDS;
}

const _: () = assert!(HEAD + HEAP_FRAMES <= HEAP_WORDS, "a block in a recording is no longer than a slot");

#[cfg(test)]
mod tests {
    use uniprof_wire::tables::{HEAP_CLAIMED, HEAP_FREE};

    use super::*;

    fn block(address: u64, callers: &[u64]) -> HeapEntry {
        let callers = HeapCallers::new(callers);
        HeapEntry { address: GuestVirtual(address), bytes: 64, weight: 640, tsc: 5, thread: 2, callers }
    }

    #[test]
    fn only_slots_that_nobody_wrote_meanwhile_are_blocks() {
        let [one, other] = [block(0x7000, &[1, 2]), block(0x6000, &[])];
        let words = [one, other, one, one, one].map(|entry| entry.to_words());
        let before = [0x7000, 0x6000, HEAP_FREE, HEAP_CLAIMED, 0x5000];
        let after = [0x7000, 0x6000, 0x7000, HEAP_CLAIMED, 0x5000];
        let seen = LiveBlocks::of(before.iter().zip(&after).zip(&words));
        assert_eq!(seen, LiveBlocks { entries: vec![other, one], torn: 2 });
        assert_eq!(LiveBlocks::from_words(&seen.to_words()), seen);
    }

    #[test]
    fn words_of_any_kind_are_read_as_far_as_they_make_sense() {
        let blocks = LiveBlocks { entries: vec![block(1, &[1, 2, 3]), block(2, &[4])], torn: 0 };
        let words = blocks.to_words();
        for len in 0..words.len() {
            assert!(LiveBlocks::from_words(&words[..len]).entries.len() < 2, "{len} words");
        }
        assert!(LiveBlocks::from_words(&[0, 1, 1, 1, 1, u64::MAX, 7, 7]).entries.is_empty());
        let most = LiveBlocks::from_words(&vec![0; LiveBlocks::MOST_WORDS]);
        assert_eq!(most.entries.len(), MAX_HEAP_SLOTS as usize);
    }
}
