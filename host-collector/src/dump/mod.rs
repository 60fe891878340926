//! Dumps of guests: files with all of a guest's memory, and the registers of its vCPUs.
//!
//! Whatever the container, what comes of it is one more [`GuestMemory`]. Nothing is loaded whole: opening reads headers and
//! notes, and pages are read when they are asked for.

mod facts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cpu::CpuState;
use crate::memory::GuestMemory;

pub use facts::{FACTS_NOTE, Facts};

/// The kinds of dump that can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// QEMU's and libvirt's `dump-guest-memory` as an ELF core.
    QemuElf,
    /// kdump-compressed: page by page, as `makedumpfile` and QEMU write it.
    Kdump,
    /// kdump-compressed, in pieces that say where they belong, as for a pipe.
    FlattenedKdump,
    /// The sparse ELF core of Solo5's `hvt` tender.
    Solo5Elf,
    /// The ELF core of Xen's `xl dump-core`.
    XenElf,
    /// Physical memory and nothing else, from address 0.
    Raw,
    /// A copy of an ivshmem file: the observation region alone.
    Region,
}

/// A dump that is open.
pub struct Dump {
    /// What it is.
    pub format: Format,
    /// The memory.
    pub memory: Arc<dyn GuestMemory>,
    /// The vCPUs, in the order of their numbers; none where the container has no place for registers.
    pub cpus: Vec<CpuState>,
    /// The text of a VMCOREINFO note.
    pub vmcoreinfo: Option<String>,
    /// What `uniprof` knew when it took the dump.
    pub facts: Option<Facts>,
    /// What is wrong with it, or missing in it, in sentences.
    pub remarks: Vec<String>,
}

/// What a user knows of a dump that does not tell it itself.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Take the file for physical memory, whatever it looks like.
    pub raw: bool,
    /// Registers to use in place of the dump's.
    pub cpus: Vec<CpuState>,
}

/// Why a dump can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file can't be read.
    #[error("cannot {doing} the dump {path}: {source}")]
    Io {
        /// `open`, `read`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no dump that is known here.
    #[error("{path} is no dump that uniprof knows: {why}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        why: String,
    },
    /// It is damaged beyond use.
    #[error("the dump {path} can't be used: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Which kind of dump a file is, from its first bytes; `None` for anything else, such as a recording. [`Format::Raw`] is never
/// the answer: physical memory has no mark.
#[must_use]
pub fn sniff(path: &Path) -> Option<Format> {
    let _ = path;
    None
}

/// Opens a dump.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Dump, DumpError> {
    let _ = options;
    Err(DumpError::Unknown { path: path.into(), why: "no format is read yet".into() })
}
