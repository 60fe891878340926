//! The pages themselves, and a descriptor for each.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

use flate2::{Compress, Compression, FlushCompress, Status};
use uniprof_wire::address::GuestPhysical;

use super::{
    BLOCK, WriteError,
    layout::{DESCRIPTOR, Extent, Layout, ZLIB},
};
use crate::{
    cancel::Cancel,
    memory::{GuestMemory, MemoryError},
};

/// Pages that one thread packs at a time, and how many threads do.
const BATCH: u64 = 1024;
const THREADS: u64 = 2;
/// Descriptors are collected up to so many bytes.
const PENDING: usize = 1 << 20;

/// What is written behind the head of a dump.
pub(super) struct Pages<'a> {
    file: &'a File,
    path: &'a Path,
    zeros_at: u64,
    /// Where the next page goes.
    at: u64,
    /// Descriptors that are not written yet, and where they go.
    pending: Vec<u8>,
    pending_at: u64,
}

/// Pages packed one after another.
struct Packed {
    bytes: Vec<u8>,
    /// Of each page: how many bytes it has become and how, or nothing for one of zeros.
    pages: Vec<Option<(u32, u32)>>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(file: &'a File, layout: &Layout, path: &'a Path) -> Self {
        let zeros_at = layout.pages_at();
        Self {
            file,
            path,
            zeros_at,
            at: zeros_at + BLOCK,
            pending: Vec::with_capacity(PENDING),
            pending_at: layout.descriptors_at(),
        }
    }

    /// Writes all pages. Only what was ever written to is read.
    pub(super) fn write_all(
        &mut self,
        memory: &dyn GuestMemory,
        extents: &[Extent],
        cancel: &Cancel,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), WriteError> {
        self.write(&[0; BLOCK as usize], self.zeros_at)?;
        let runs = || extents.iter().flat_map(|extent| &extent.resident);
        let all: u64 = runs().map(|run| run.end - run.start).sum();
        let mut done = 0;
        for extent in extents {
            let mut next = extent.pages.start;
            for run in &extent.resident {
                self.zeros(run.start - next)?;
                let mut at = run.start;
                while at < run.end {
                    if cancel.is_cancelled() {
                        return Err(WriteError::Cancelled);
                    }
                    let end = run.end.min(at + THREADS * BATCH);
                    for packed in pack_batches(memory, at..end)? {
                        self.packed(&packed)?;
                    }
                    done += end - at;
                    progress(done * BLOCK, all * BLOCK);
                    at = end;
                }
                next = run.end;
            }
            self.zeros(extent.pages.end - next)?;
        }
        Ok(())
    }

    /// Writes what is left; how many bytes the file has now.
    pub(super) fn finish(mut self) -> Result<u64, WriteError> {
        self.flush()?;
        Ok(self.at)
    }

    fn packed(&mut self, packed: &Packed) -> Result<(), WriteError> {
        let mut at = self.at;
        self.write(&packed.bytes, at)?;
        for page in &packed.pages {
            match page {
                Some((size, flags)) => {
                    self.descriptor(at, *size, *flags)?;
                    at += u64::from(*size);
                }
                None => self.descriptor(self.zeros_at, BLOCK as u32, 0)?,
            }
        }
        self.at = at;
        Ok(())
    }

    fn zeros(&mut self, pages: u64) -> Result<(), WriteError> {
        (0..pages).try_for_each(|_| self.descriptor(self.zeros_at, BLOCK as u32, 0))
    }

    fn descriptor(&mut self, at: u64, size: u32, flags: u32) -> Result<(), WriteError> {
        if self.pending.len() + DESCRIPTOR as usize > PENDING {
            self.flush()?;
        }
        self.pending.extend(at.to_le_bytes());
        self.pending.extend(size.to_le_bytes());
        self.pending.extend(flags.to_le_bytes());
        self.pending.extend([0; 8]);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.write(&self.pending, self.pending_at)?;
        self.pending_at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), WriteError> {
        self.file.write_all_at(bytes, at).map_err(|source| WriteError::Io {
            doing: "write",
            path: self.path.into(),
            source,
        })
    }
}

/// Reads and packs pages, in as many parts as there are threads.
fn pack_batches(memory: &dyn GuestMemory, pages: Range<u64>) -> Result<Vec<Packed>, WriteError> {
    let parts = pages.clone().step_by(BATCH as usize).map(|at| at..pages.end.min(at + BATCH));
    std::thread::scope(|scope| {
        // The last part is packed here: most runs of pages are short, and then no thread is made.
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else { return Ok(Vec::new()) };
        let others: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || pack(memory, part))).collect();
        let last = pack(memory, last);
        let mut packed = Vec::with_capacity(others.len() + 1);
        for other in others {
            let died = |_| WriteError::Memory(dead_thread());
            packed.push(other.join().map_err(died)??);
        }
        packed.push(last?);
        Ok(packed)
    })
}

fn dead_thread() -> MemoryError {
    let source = io::Error::other("the thread that packed it has died");
    MemoryError::Io { doing: "pack", path: "memory".into(), source }
}

fn pack(memory: &dyn GuestMemory, pages: Range<u64>) -> Result<Packed, WriteError> {
    let count = (pages.end - pages.start) as usize;
    let mut raw = vec![0; count * BLOCK as usize];
    memory.read(GuestPhysical(pages.start * BLOCK), &mut raw)?;
    let mut packed = Packed { bytes: Vec::with_capacity(raw.len() / 2), pages: Vec::with_capacity(count) };
    let mut zlib = Compress::new(Compression::fast(), true);
    let mut room = [0; BLOCK as usize];
    for page in raw.chunks_exact(BLOCK as usize) {
        if page.iter().all(|byte| *byte == 0) {
            packed.pages.push(None);
            continue;
        }
        zlib.reset();
        let ended = zlib.compress(page, &mut room, FlushCompress::Finish);
        let size = zlib.total_out() as usize;
        // A page that does not get smaller is kept as it is.
        let (bytes, flags) = match (ended, room.get(..size)) {
            (Ok(Status::StreamEnd), Some(bytes)) if size < page.len() => (bytes, ZLIB),
            _ => (page, 0),
        };
        packed.pages.push(Some((bytes.len() as u32, flags)));
        packed.bytes.extend_from_slice(bytes);
    }
    Ok(packed)
}
