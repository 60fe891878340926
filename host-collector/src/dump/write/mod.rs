//! Writing a dump of a guest that stands still: kdump-compressed, in its plain form.
//!
//! That is the one container which keeps pages apart, so that a reader can get at any of them without reading the rest, and which
//! others read too: `crash`, libkdumpfile with drgn, makedumpfile. Pages are packed with zlib at its lowest level: every version of
//! those tools unpacks it, while zstd is known only to newer ones, and lzo and snappy only to those built for them; and it is fast
//! enough, see `docs/crash-capture.md`.
//!
//! ```text
//! block 0    main header: version 6, block size, how many blocks follow for what
//! block 1    sub header, then the notes: CORE and QEMU for each vCPU, UNIPROF
//!            bitmap of the memory that there is, twice: every page of it is in the dump
//!            page descriptors, 24 bytes for each page
//!            pages: one of zeros, that the descriptors of all such pages name; then the others
//! ```

mod layout;
mod notes;
mod pages;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::Facts;
use crate::{
    cancel::Cancel,
    cpu::CpuState,
    memory::{GuestMemory, MemoryError},
};
use layout::Layout;
use pages::Pages;

/// How files end that are not whole yet.
pub(crate) const PARTIAL: &str = ".partial";
/// Bytes of a page, and unit of the file.
const BLOCK: u64 = 4096;

/// Why no dump was written. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file can't be written.
    #[error("cannot {doing} the dump {path}: {source}")]
    Io {
        /// `create`, `write`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guest's memory can't be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// There is nothing to write.
    #[error("the guest has no memory that could be dumped")]
    Empty,
    /// The caller's token was set.
    #[error("cancelled")]
    Cancelled,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the guest's memory.
    pub memory_bytes: u64,
    /// Bytes of it that the guest had ever written to.
    pub resident_bytes: u64,
    /// What is not in the dump, in sentences.
    pub remarks: Vec<String>,
}

/// Writes a dump of `memory`, which must not change meanwhile, to `to`: as a whole, or not at all. Only its owner may read it: it has
/// all that the guest knew.
///
/// `progress` is called now and then with how many bytes of memory are done, and of how many.
pub fn write(
    to: &Path,
    memory: &dyn GuestMemory,
    cpus: &[CpuState],
    facts: &Facts,
    cancel: &Cancel,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, WriteError> {
    let (extents, remarks) = layout::extents(memory)?;
    let notes = notes::all(cpus, facts);
    let layout = Layout::new(&extents, notes.len() as u64, cpus.len());
    let partial = Partial::create(to)?;
    let io = |doing| move |source| WriteError::Io { doing, path: to.into(), source };
    layout.write_head(&partial.file, &extents, &notes, facts.taken_ns).map_err(io("write"))?;
    let mut pages = Pages::new(&partial.file, &layout, to);
    pages.write_all(memory, &extents, cancel, &mut progress)?;
    let bytes = pages.finish()?;
    partial.keep(to).map_err(io("rename"))?;
    let total = |of: &dyn Fn(&layout::Extent) -> u64| extents.iter().map(of).sum::<u64>() * BLOCK;
    Ok(Written {
        bytes,
        memory_bytes: total(&|extent| extent.pages.end - extent.pages.start),
        resident_bytes: total(&|extent| extent.resident.iter().map(|run| run.end - run.start).sum()),
        remarks,
    })
}

/// The file while it is written. Dropped before it is kept, it is removed.
struct Partial {
    file: File,
    path: Option<PathBuf>,
}

/// What a dump is called until it is whole.
pub(crate) fn partial_path(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    to.with_file_name(name)
}

/// Whether some process writes that file at this moment. A link is not followed.
pub(crate) fn is_being_written(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    is_file && File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

impl Partial {
    fn create(to: &Path) -> Result<Self, WriteError> {
        let path = partial_path(to);
        let failed = |source| WriteError::Io { doing: "create", path: to.into(), source };
        if to.file_name().is_none() || to.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if is_being_written(&path) {
            return Err(failed(io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it")));
        }
        // What a killed process left. A link is removed, not followed.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        // Held until the file has its name; where files can't be locked, nobody else is told.
        let _ = file.try_lock();
        Ok(Self { file, path: Some(path) })
    }

    fn keep(mut self, to: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            std::fs::rename(path, to)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What can't be removed now stays, under a name that says what it is.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests;
