//! A region whose header page was written over, read as if it were whole.

use std::ops::Range;
use std::sync::Arc;

use uniprof_collector::memory::{GuestMemory, Home, MemoryError, Window};
use uniprof_wire::address::GuestPhysical;
use uniprof_wire::layout::{HEADER_WORDS, RegionHeader};

const WORD: u64 = 8;

/// Guest memory with the first words of a region put right.
pub(crate) struct Mended {
    memory: Arc<dyn GuestMemory>,
    at: GuestPhysical,
    header: [u64; HEADER_WORDS],
}

impl Mended {
    /// Looks at a place where a region should be. `None` where too little of its header is left, or nothing is wrong with it.
    pub(crate) fn at(memory: &Arc<dyn GuestMemory>, at: GuestPhysical) -> Option<Self> {
        let ranges = memory.ranges().ok()?;
        let range = ranges.iter().find(|range| range.contains(&at) && at.0.is_multiple_of(WORD))?;
        let mut bytes = [0; HEADER_WORDS * WORD as usize];
        memory.read(at, &mut bytes).ok()?;
        let words = bytes.as_chunks::<8>().0;
        let found = std::array::from_fn(|index| u64::from_le_bytes(words[index]));
        let (_, header) = RegionHeader::mended(&found, at, range.end.0 - at.0)?;
        (header != found).then(|| Self { memory: Arc::clone(memory), at, header })
    }
}

impl GuestMemory for Mended {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        self.memory.read(at, into)?;
        let first = self.at.0.max(at.0);
        let end = (self.at.0 + HEADER_WORDS as u64 * WORD).min(at.0.saturating_add(into.len() as u64));
        for address in first..end {
            let (word, byte) = ((address - self.at.0) / WORD, (address - self.at.0) % WORD);
            into[(address - at.0) as usize] = self.header[word as usize].to_le_bytes()[byte as usize];
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        self.memory.ranges()
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        self.memory.resident()
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        let end = at.checked_add(len).ok_or(MemoryError::Absent { at, len })?;
        if end.0 <= self.at.0 || at.0 >= self.at.0 + HEADER_WORDS as u64 * WORD {
            return self.memory.window(at, len);
        }
        // What the memory below maps tells whether all of it is there, before so much is copied.
        let below = self.memory.window(at, len)?;
        let mut words: Vec<u64> = (0..below.len()).filter_map(|index| below.load(index)).collect();
        for (index, word) in words.iter_mut().enumerate() {
            let ahead = (at.0 + index as u64 * WORD).checked_sub(self.at.0);
            if let Some(mended) = ahead.and_then(|ahead| self.header.get((ahead / WORD) as usize)) {
                *word = *mended;
            }
        }
        Ok(Window::from_words(&words))
    }

    fn home(&self) -> Home {
        self.memory.home()
    }
}
