//! Physical memory in the file: each page once, in rising order, and which virtual memory shows it.

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

use uniprof_collector::memory::{GuestMemory, MemoryError};
use uniprof_collector::paging::{Mapping, PAGE_BYTES, Translation};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

use super::ExportError;
use super::elf::{FIRST, Segment};

/// How much is copied at a time.
const BLOCK: u64 = 1 << 20;
/// Runs of memory that are kept track of: damage may leave every other page.
const MOST_RUNS: usize = 1 << 16;
/// Pieces of memory that mappings are compared with: each of many mappings may show each of many pieces.
const MOST_PIECES: usize = 1 << 21;

/// Physical memory that lies in the file in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    offset: u64,
}

/// What of physical memory the file has.
pub(super) struct Runs {
    runs: Vec<Run>,
    /// Where the memory ends in the file.
    pub(super) end: u64,
    /// Bytes that were written, and are not holes.
    pub(super) stored: u64,
    /// Bytes that could not be read, and the first reason.
    missing: u64,
    why: Option<String>,
    /// Bytes after the last run that there was room for.
    left_out: u64,
    /// Not all mappings were followed.
    cut: bool,
}

impl Runs {
    /// Copies what is mapped and can be read.
    pub(super) fn copy(
        memory: &dyn GuestMemory,
        mappings: &[Mapping],
        to: &mut (impl Write + Seek),
    ) -> Result<Self, ExportError> {
        let (wanted, all) = wanted(&memory.ranges()?, mappings);
        let mut found =
            Self { runs: Vec::new(), end: FIRST, stored: 0, missing: 0, why: None, left_out: 0, cut: !all };
        let mut buffer = vec![0; BLOCK as usize];
        let resident = memory.resident()?;
        for range in wanted {
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + BLOCK - at % BLOCK);
                let bytes = &mut buffer[..(end - at) as usize];
                // What was never written to is zeros, or lost: reading tells, and there is nothing to store.
                let has_data = overlaps(&resident, at..end);
                match memory.read(GuestPhysical(at), bytes) {
                    Ok(()) => found.add(at, bytes, has_data, to)?,
                    Err(_) => found.by_page(memory, at, bytes, to)?,
                }
                at = end;
            }
        }
        Ok(found)
    }

    /// The same for a block of which a part can't be read.
    fn by_page(
        &mut self,
        memory: &dyn GuestMemory,
        start: u64,
        block: &mut [u8],
        to: &mut (impl Write + Seek),
    ) -> io::Result<()> {
        for (at, page) in (start..).step_by(PAGE_BYTES as usize).zip(block.chunks_mut(PAGE_BYTES as usize)) {
            match memory.read(GuestPhysical(at), page) {
                Ok(()) => self.add(at, page, true, to)?,
                Err(error) => {
                    self.missing += page.len() as u64;
                    self.why.get_or_insert_with(|| error.to_string());
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, at: u64, bytes: &[u8], has_data: bool, to: &mut (impl Write + Seek)) -> io::Result<()> {
        let len = bytes.len() as u64;
        let full = self.runs.len() == MOST_RUNS;
        match self.runs.last_mut() {
            Some(last) if last.end == at => last.end += len,
            _ if full => {
                self.left_out += len;
                return Ok(());
            }
            _ => {
                self.end = self.end.next_multiple_of(PAGE_BYTES);
                self.runs.push(Run { start: at, end: at + len, offset: self.end });
            }
        }
        if has_data {
            self.stored += store(self.end, bytes, to)?;
        }
        self.end += len;
        Ok(())
    }

    /// Bytes of memory in all.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// What is not there, in sentences.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(why) = &self.why {
            remarks
                .push(format!("{} bytes that the guest had mapped could not be read: {why}", self.missing));
        }
        if self.left_out > 0 {
            remarks.push(format!(
                "memory is in more than {MOST_RUNS} pieces: {} bytes after those are left out",
                self.left_out
            ));
        }
        if self.cut {
            remarks.push(
                "the page tables show more pieces of memory than are followed: the rest is left out".into(),
            );
        }
        remarks
    }

    /// What of each mapping is in the file, and whether `most` were enough.
    pub(super) fn segments(&self, mappings: &[Mapping], most: usize) -> (Vec<Segment>, bool) {
        let mut segments: Vec<Segment> = Vec::new();
        for mapping in mappings {
            let physical = mapping.to.physical.0;
            let first = self.runs.partition_point(|run| run.end <= physical);
            for run in &self.runs[first..] {
                let (start, end) =
                    (run.start.max(physical), run.end.min(physical.saturating_add(mapping.len)));
                if start >= end {
                    break;
                }
                if segments.len() == most {
                    return (segments, false);
                }
                segments.push(Segment {
                    address: mapping.start.0.wrapping_add(start - physical),
                    physical: start,
                    len: end - start,
                    offset: run.offset + (start - run.start),
                    writable: mapping.to.writable,
                    executable: mapping.to.executable,
                });
            }
        }
        (segments, true)
    }
}

/// Writes the pages of `bytes` that have anything in them; how many bytes those are.
fn store(offset: u64, bytes: &[u8], to: &mut (impl Write + Seek)) -> io::Result<u64> {
    let pages: Vec<bool> =
        bytes.chunks(PAGE_BYTES as usize).map(|page| page.iter().any(|byte| *byte != 0)).collect();
    let (mut stored, mut at) = (0, 0);
    for same in pages.chunk_by(|one, other| one == other) {
        let end = bytes.len().min(at + same.len() * PAGE_BYTES as usize);
        if same.first() == Some(&true) {
            to.seek(SeekFrom::Start(offset + at as u64))?;
            to.write_all(&bytes[at..end])?;
            stored += (end - at) as u64;
        }
        at = end;
    }
    Ok(stored)
}

/// The memory that there is and that is mapped, in rising order, without overlaps; and whether that is all.
fn wanted(there: &[Range<GuestPhysical>], mappings: &[Mapping]) -> (Vec<Range<u64>>, bool) {
    let mut wanted: Vec<Range<u64>> = Vec::new();
    for mapping in mappings {
        let (start, end) = (mapping.to.physical.0, mapping.to.physical.0.saturating_add(mapping.len));
        let first = there.partition_point(|range| range.end.0 <= start);
        let room = MOST_PIECES - wanted.len();
        let shown = there[first..].iter().take_while(|range| range.start.0 < end).take(room);
        wanted.extend(shown.map(|range| range.start.0.max(start)..range.end.0.min(end)));
    }
    let all = wanted.len() < MOST_PIECES;
    wanted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in wanted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    (joined, all)
}

fn overlaps(ranges: &[Range<GuestPhysical>], with: Range<u64>) -> bool {
    let first = ranges.partition_point(|range| range.end.0 <= with.start);
    ranges.get(first).is_some_and(|range| range.start.0 < with.end)
}

/// The mappings of a guest without page tables: all memory, under its own addresses.
pub(super) fn identity(memory: &dyn GuestMemory) -> Result<Vec<Mapping>, MemoryError> {
    let mapping = |range: Range<GuestPhysical>| Mapping {
        start: GuestVirtual(range.start.0),
        len: range.end.0 - range.start.0,
        to: Translation { physical: range.start, page_bytes: PAGE_BYTES, writable: true, executable: true },
    };
    Ok(memory.ranges()?.into_iter().map(mapping).collect())
}
