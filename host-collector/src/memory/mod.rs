//! Guest memory from the outside, read-only: one trait, whatever the memory lies in.
//!
//! | source | what it reads | where an address lies in it |
//! |---|---|---|
//! | [`IvshmemFile`] | the backing file of an ivshmem BAR, which holds the region and nothing else | at the address less the one that the header names as its own |
//! | [`JoinedMemory`] | both | as each of them says; RAM where they contradict each other |
//! | [`RamFile`] | guest RAM in a shared memory-backend file | as QEMU's own memory map says, see [`RamMap`] |
//! | [`VmmMemory`] | guest RAM that only the VMM's process has mapped | likewise |
//!
//! Two ways to read: [`GuestMemory::read`] copies bytes and is right for headers and tables; [`GuestMemory::window`] maps
//! a bounded range for the rings, whose words are then loaded one by one, atomically. What only another process has can't be mapped:
//! each look at such a window is a system call. Files are opened read-only: nothing here can write to a guest.

mod find;
mod ivshmem;
mod joined;
mod map;
mod process;
mod ram;
mod vmm;
mod window;

use std::{ops::Range, path::PathBuf};

pub(crate) use find::header_words;
pub use find::{FoundRegion, Search, find_region};
pub use ivshmem::IvshmemFile;
pub(crate) use ivshmem::REGION_GPA_WORD;
pub use joined::JoinedMemory;
pub use map::{RamExtent, RamMap};
pub use ram::RamFile;
pub(crate) use ram::data_extents;
use uniprof_wire::address::GuestPhysical;
pub use vmm::VmmMemory;
pub use window::Window;

/// Why guest memory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file behind it can't be opened, read or mapped.
    #[error("cannot {doing} the guest's memory in {path}: {source}")]
    Io {
        /// `open`, `read`, `map`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The guest has no memory there.
    #[error("the guest has no memory at {at} (+{len:#x})")]
    Absent {
        /// The first address.
        at: GuestPhysical,
        /// How many bytes.
        len: u64,
    },
    /// It is nobody's but the guest's.
    #[error(
        "this guest shares no memory with the host (it was started with --transport virtio-serial), so it can't be looked into: `uniprof record` it \
         and look at the recording; `ctl`, `list` and `trace --follow` ask it over its port"
    )]
    NotShared,
    /// Nothing but its process had it.
    #[error("the guest's process has ended, and its memory with it")]
    Ended,
    /// The guest had memory there, and the dump lacks it: cut off, or left out when it was taken.
    #[error("the dump lacks the guest's memory at {at} (+{len:#x}): {why}")]
    Missing {
        /// The first address.
        at: GuestPhysical,
        /// How many bytes.
        len: u64,
        /// Why.
        why: &'static str,
    },
    /// The dump has something there that can't be made into memory again.
    #[error("the dump is damaged where it holds the guest's memory at {at}: {why}")]
    Damaged {
        /// The address.
        at: GuestPhysical,
        /// What is wrong.
        why: String,
    },
    /// The range is not made of whole words.
    #[error("a window must be made of aligned 8-byte words, not {at} (+{len:#x})")]
    Unaligned {
        /// The first address.
        at: GuestPhysical,
        /// How many bytes.
        len: u64,
    },
    /// QEMU's description of its memory was not understood.
    #[error("QEMU's memory map has no RAM that comes from the memory backend {backend:?}")]
    NoRam {
        /// The backend's id.
        backend: String,
    },
}

/// The memory of a guest that shares none.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl GuestMemory for NoMemory {
    fn read(&self, _: GuestPhysical, _: &mut [u8]) -> Result<(), MemoryError> {
        Err(MemoryError::NotShared)
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(Vec::new())
    }

    fn window(&self, _: GuestPhysical, _: u64) -> Result<Window, MemoryError> {
        Err(MemoryError::NotShared)
    }
}

/// Where an observation region can lie in a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// At its start, wherever the guest has mapped it: the memory was made for the region.
    Start,
    /// On any page.
    AnyPage,
}

/// Guest-physical memory that can be read.
pub trait GuestMemory: Send + Sync {
    /// Copies bytes from `at`. All of them, or an error. Not atomic: use it for what is checked afterwards.
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError>;

    /// What memory there is, in rising order.
    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError>;

    /// The part of it that was ever written to: all else reads as zeros, and reading it might allocate it.
    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        self.ranges()
    }

    /// `len` bytes from `at` as words, for as long as the window lives.
    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError>;

    /// Where a region can lie.
    fn home(&self) -> Home {
        Home::AnyPage
    }

    /// The first word of a page, where that is cheaper to get at than the page because pages are packed one by one; `None`
    /// elsewhere. What is wrong with the rest of the page is not seen: for searching only.
    fn peek(&self, page: GuestPhysical) -> Option<Result<u64, MemoryError>> {
        let _ = page;
        None
    }
}

impl<M: GuestMemory + ?Sized> GuestMemory for std::sync::Arc<M> {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        (**self).read(at, into)
    }
    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        (**self).ranges()
    }
    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        (**self).resident()
    }
    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        (**self).window(at, len)
    }
    fn home(&self) -> Home {
        (**self).home()
    }
    fn peek(&self, page: GuestPhysical) -> Option<Result<u64, MemoryError>> {
        (**self).peek(page)
    }
}
