//! Guest-virtual memory: page tables walked in guest memory, and memory read through them.
//!
//! Page tables are the guest's, so anything may stand in them: a walk takes at most five steps and allocates nothing, and the
//! enumeration of [`AddressSpace::mappings`] is bounded by the entries that it looks at.

mod cache;
mod x86_64;

use std::cell::RefCell;
use std::sync::Arc;

use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use crate::cpu::CpuState;
use crate::memory::{GuestMemory, MemoryError};

use cache::PageCache;
pub use x86_64::{PageTables, Unmapped};

/// Bytes of the smallest page.
pub const PAGE_BYTES: u64 = 4096;

/// Where a guest-virtual address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// In physical memory.
    pub physical: GuestPhysical,
    /// Bytes of the page that it belongs to.
    pub page_bytes: u64,
    /// Whether it can be written to.
    pub writable: bool,
    /// Whether it can be executed.
    pub executable: bool,
}

/// A run of guest-virtual memory that is contiguous in guest-physical memory, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: GuestVirtual,
    /// How many bytes.
    pub len: u64,
    /// Where it begins in physical memory, and what may be done with it.
    pub to: Translation,
}

/// Why guest-virtual memory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VirtualError {
    /// The page tables lead nowhere.
    #[error("{at} is not mapped: {why}")]
    Unmapped {
        /// The address.
        at: GuestVirtual,
        /// Where the walk ended.
        why: Unmapped,
    },
    /// The page tables lead to memory that is not there.
    #[error("{at}: {source}")]
    Memory {
        /// The address.
        at: GuestVirtual,
        /// What is wrong with the physical memory.
        source: MemoryError,
    },
}

/// Memory as the guest's code sees it. Pages that were read are kept, so the guest should stand still.
pub struct AddressSpace {
    memory: Arc<dyn GuestMemory>,
    tables: Option<PageTables>,
    cache: RefCell<PageCache>,
}

impl AddressSpace {
    /// The address space of page tables; without any, virtual addresses are physical ones.
    #[must_use]
    pub fn new(memory: Arc<dyn GuestMemory>, tables: Option<PageTables>) -> Self {
        Self { memory, tables, cache: RefCell::default() }
    }

    /// The address space that a vCPU used.
    #[must_use]
    pub fn of(memory: Arc<dyn GuestMemory>, cpu: &CpuState) -> Self {
        Self::new(memory, PageTables::of(cpu))
    }

    /// The physical memory below.
    #[must_use]
    pub fn memory(&self) -> &Arc<dyn GuestMemory> {
        &self.memory
    }

    /// The page tables; `None` where virtual addresses are physical ones.
    #[must_use]
    pub fn tables(&self) -> Option<PageTables> {
        self.tables
    }

    /// Where an address lies.
    pub fn translate(&self, at: GuestVirtual) -> Result<Translation, VirtualError> {
        let Some(tables) = self.tables else {
            let physical = GuestPhysical(at.0);
            return Ok(Translation { physical, page_bytes: PAGE_BYTES, writable: true, executable: true });
        };
        tables.walk(at, |entry| self.physical_word(entry)).map_err(|why| VirtualError::Unmapped { at, why })
    }

    /// Copies bytes. All of them, or an error that names the first that is missing.
    pub fn read(&self, at: GuestVirtual, into: &mut [u8]) -> Result<(), VirtualError> {
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let in_page = (PAGE_BYTES - at.0 % PAGE_BYTES).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(in_page);
            let physical = self.translate(at)?.physical;
            self.physical(physical, now).map_err(|source| VirtualError::Memory { at, source })?;
            rest = later;
            at = GuestVirtual(at.0.wrapping_add(in_page as u64));
        }
        Ok(())
    }

    /// The little-endian number of eight bytes at any address, as the unwinder asks for it.
    #[must_use]
    pub fn word(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(GuestVirtual(at), &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// All that is mapped, in rising order, adjacent pages joined. `None` without page tables. `most` bounds how many page
    /// table entries are looked at; whether that was enough is the second value.
    #[must_use]
    pub fn mappings(&self, most: usize) -> Option<(Vec<Mapping>, bool)> {
        Some(self.tables?.mappings(most, |entry| self.physical_word(entry)))
    }

    /// The pages that hold the page tables, rising, at most `most`; none without page tables.
    #[must_use]
    pub fn table_pages(&self, most: usize) -> Vec<GuestPhysical> {
        self.tables.map(|tables| tables.pages(most, |entry| self.physical_word(entry))).unwrap_or_default()
    }

    fn physical_word(&self, at: GuestPhysical) -> Option<u64> {
        let mut bytes = [0; 8];
        self.physical(at, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Reads within one page, through the cache where the whole page can be had.
    fn physical(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        self.cache.borrow_mut().read(&*self.memory, at, into)
    }
}
