//! Pages that were read lately.

use uniprof_wire::address::GuestPhysical;

use super::PAGE_BYTES;
use crate::memory::{GuestMemory, MemoryError};

/// Pages that are kept: 1 MiB.
const PAGES: usize = 256;

/// A direct-mapped cache of physical pages.
#[derive(Default)]
pub(super) struct PageCache {
    pages: Vec<Option<(u64, Box<[u8]>)>>,
}

impl PageCache {
    /// Reads bytes that lie in one page.
    pub(super) fn read(
        &mut self,
        memory: &dyn GuestMemory,
        at: GuestPhysical,
        into: &mut [u8],
    ) -> Result<(), MemoryError> {
        let page = at.0 - at.0 % PAGE_BYTES;
        let skip = (at.0 - page) as usize;
        if skip + into.len() > PAGE_BYTES as usize {
            return memory.read(at, into);
        }
        if self.pages.is_empty() {
            self.pages.resize_with(PAGES, || None);
        }
        let slot = &mut self.pages[(page / PAGE_BYTES) as usize % PAGES];
        if slot.as_ref().is_none_or(|(kept, _)| *kept != page) {
            let mut bytes = vec![0; PAGE_BYTES as usize].into_boxed_slice();
            if memory.read(GuestPhysical(page), &mut bytes).is_err() {
                // A part of the page may be there all the same.
                return memory.read(at, into);
            }
            *slot = Some((page, bytes));
        }
        if let Some((_, bytes)) = slot {
            into.copy_from_slice(&bytes[skip..skip + into.len()]);
        }
        Ok(())
    }
}
