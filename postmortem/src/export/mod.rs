//! A guest as an ordinary ELF core, which any debugger opens: memory by virtual address, and one set of registers per thread
//! of the guest.
//!
//! ```text
//!  0        ELF header
//!  0x1000   physical memory that is mapped, each page once, pages of zeros as holes of the file
//!           notes: one NT_PRSTATUS per thread
//!           program headers: one PT_NOTE, and one PT_LOAD per run of virtual memory; several may share their bytes
//! ```
//!
//! The headers come last, because only when all memory has been read it is known which of it can be. Memory that the guest's
//! page tables lead to twice is stored once, so that the file is never larger than the guest.

mod elf;
mod runs;
mod threads;

use std::io::{self, Seek, SeekFrom, Write};

use serde::Serialize;
use uniprof_collector::memory::MemoryError;

use crate::subject::Subject;
use elf::{Segment, Writable as _};
use runs::Runs;
pub use threads::{ExportedThread, vcpu_id};

/// Page table entries that are looked at: enough for 4 GiB of small pages.
const MOST_ENTRIES: usize = 1 << 21;
/// Program headers; from 65,535 on, ELF counts them elsewhere, and few tools look there.
const MOST_SEGMENTS: usize = 60_000;

/// Why there is no core.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The guest's memory can't be listed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The file can't be written.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// A debugger needs registers to begin at.
    #[error("no registers are known, of any vCPU or thread: give those of each vCPU with --regs")]
    NoRegisters,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The threads, in the order in which they were written: the first is the one that a debugger begins at.
    pub threads: Vec<ExportedThread>,
    /// Runs of virtual memory.
    pub segments: usize,
    /// Bytes of memory that the core has, holes included.
    pub memory_bytes: u64,
    /// Bytes that are not zero by the page, and so take room on disk.
    pub stored_bytes: u64,
    /// What is missing in the core, in sentences.
    pub lacks: Vec<String>,
}

/// Writes a core of what is looked at. `to` is an empty file: where the core has zeros, it is not written to.
pub fn write(subject: &mut Subject, to: &mut (impl Write + Seek)) -> Result<Exported, ExportError> {
    let (threads, mut lacks) = threads::of(subject);
    if threads.is_empty() {
        return Err(ExportError::NoRegisters);
    }
    let (mappings, whole) = match subject.space.mappings(MOST_ENTRIES) {
        Some(found) => found,
        None => (runs::identity(&*subject.memory)?, true),
    };
    if !whole {
        lacks
            .push(format!("the page tables have more than {MOST_ENTRIES} entries: those after are left out"));
    }
    let runs = Runs::copy(&*subject.memory, &mappings, to)?;
    lacks.extend(runs.remarks());
    let (segments, all) = runs.segments(&mappings, MOST_SEGMENTS);
    if !all {
        lacks.push(format!("more than {MOST_SEGMENTS} runs of memory are mapped: those after are left out"));
    }
    let notes = threads::notes(&threads);
    finish(&notes, &segments, runs.end, to)?;
    Ok(Exported {
        threads: threads.into_iter().map(|thread| thread.told).collect(),
        segments: segments.len(),
        memory_bytes: runs.bytes(),
        stored_bytes: runs.stored,
        lacks,
    })
}

/// Notes and program headers behind the memory, and the ELF header before it.
fn finish(
    notes: &[u8],
    segments: &[Segment],
    end: u64,
    to: &mut (impl Write + Seek),
) -> Result<(), io::Error> {
    to.seek(SeekFrom::Start(end))?;
    to.write_all(notes)?;
    let table = (end + notes.len() as u64).next_multiple_of(8);
    let mut headers = vec![0; (table - end) as usize - notes.len()];
    headers.note(end, notes.len() as u64);
    segments.iter().for_each(|segment| headers.load(segment));
    to.write_all(&headers)?;
    to.seek(SeekFrom::Start(0))?;
    to.write_all(&elf::header(table, segments.len() + 1))?;
    to.flush()
}

#[cfg(test)]
mod tests;
