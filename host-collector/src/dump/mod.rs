//! Dumps of guests: files with all of a guest's memory, and the registers of its vCPUs.
//!
//! Whatever the container, what comes of it is one more [`GuestMemory`]. Nothing is loaded whole: opening reads headers and
//! notes, and pages are read when they are asked for.

mod elf;
mod facts;
mod flattened;
mod kdump;
mod layers;
mod notes;
mod raw;
mod runs;
mod source;
mod write;
mod xen;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uniprof_wire::layout::MAGIC;

use crate::cpu::CpuState;
use crate::memory::GuestMemory;

use flattened::Flattened;
use source::FileSource;

pub use facts::{FACTS_NOTE, Facts};
pub(crate) use notes::page_table_root;
pub use source::ReadAt;
pub(crate) use write::{PARTIAL, is_being_written, partial_path};
pub use write::{WriteError, Written, write};

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
    format_of(&FileSource::open(path).ok()?)
}

/// Opens a dump.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Dump, DumpError> {
    let source = FileSource::open(path).map_err(|source| DumpError::Io {
        doing: "open",
        path: path.into(),
        source,
    })?;
    open_source(Arc::new(source), path, options)
}

/// Opens a dump in bytes that come from anywhere; `path` is what errors call it.
pub fn open_source(source: Arc<dyn ReadAt>, path: &Path, options: &OpenOptions) -> Result<Dump, DumpError> {
    let format = if options.raw { Some(Format::Raw) } else { format_of(&*source) };
    let Some(format) = format else { return Err(unknown(&*source).at(path)) };
    let opened = open_as(source, path, format).map_err(|fault| fault.at(path))?;
    let cpus = if options.cpus.is_empty() { opened.cpus } else { options.cpus.clone() };
    Ok(Dump {
        format,
        memory: opened.memory,
        cpus,
        vmcoreinfo: opened.vmcoreinfo,
        facts: opened.facts,
        remarks: opened.remarks,
    })
}

fn open_as(source: Arc<dyn ReadAt>, path: &Path, format: Format) -> Result<Opened, Fault> {
    match format {
        Format::QemuElf | Format::Solo5Elf => elf::open(&source, path, format),
        Format::Kdump => kdump::open(&source, path),
        Format::FlattenedKdump => {
            let mut remarks = Vec::new();
            let inner: Arc<dyn ReadAt> = Arc::new(Flattened::open(source, &mut remarks)?);
            let mut opened = match format_of(&*inner) {
                Some(Format::Kdump) => kdump::open(&inner, path)?,
                Some(format @ (Format::QemuElf | Format::Solo5Elf)) => elf::open(&inner, path, format)?,
                _ => return Err(Fault::Damaged("what it holds in flattened form is no dump".into())),
            };
            remarks.append(&mut opened.remarks);
            Ok(Opened { remarks, ..opened })
        }
        Format::Raw => raw::open(&source, path),
        Format::Region => raw::open_region(&source, path),
        Format::XenElf => xen::open(&source, path),
    }
}

fn format_of(source: &dyn ReadAt) -> Option<Format> {
    let mut start = [0; 16];
    source.read_exact_at(&mut start, 0).ok()?;
    match start {
        start if start.starts_with(elf::MAGIC) => Some(elf::Header::read(source).ok()?.format()),
        start if start.starts_with(kdump::MAGIC) => Some(Format::Kdump),
        start if start == flattened::MAGIC => Some(Format::FlattenedKdump),
        start if start.starts_with(&MAGIC.to_le_bytes()) => Some(Format::Region),
        _ => None,
    }
}

/// Why a file is none of the known formats.
fn unknown(source: &dyn ReadAt) -> Fault {
    let mut start = [0; 4];
    match source.read_exact_at(&mut start, 0) {
        Ok(()) if start.starts_with(elf::MAGIC) => match elf::Header::read(source) {
            Err(fault) => fault,
            Ok(_) => Fault::Unknown("its ELF header contradicts itself".into()),
        },
        Ok(()) => Fault::Unknown(
            "it is neither an ELF core, nor kdump-compressed, nor a region; if it is physical memory from address 0, say --raw"
                .into(),
        ),
        Err(_) => Fault::Damaged(format!("it has {} bytes", source.size())),
    }
}

/// What a container comes to.
struct Opened {
    memory: Arc<dyn GuestMemory>,
    cpus: Vec<CpuState>,
    vmcoreinfo: Option<String>,
    facts: Option<Facts>,
    remarks: Vec<String>,
}

/// [`DumpError`] before it knows the file's name.
#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Unknown(String),
    Damaged(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    fn at(self, path: &Path) -> DumpError {
        let path = path.into();
        match self {
            Self::Io(source) => DumpError::Io { doing: "read", path, source },
            Self::Unknown(why) => DumpError::Unknown { path, why },
            Self::Damaged(why) => DumpError::Damaged { path, why },
        }
    }
}

/// A number of bytes for people.
fn amount(bytes: u64) -> String {
    match bytes {
        0..=0xffff => format!("{bytes} bytes"),
        0x1_0000..=0xf_ffff_ffff => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests;
