//! Guest memory that lies in a file in uncompressed runs.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use uniprof_wire::address::GuestPhysical;

use super::layers::{Piece, Place};
use super::source::ReadAt;
use crate::memory::{GuestMemory, Home, MemoryError, Window};

/// Where one run of memory holds more data extents than this, the rest of it is taken for one.
const MOST_EXTENTS: usize = 1 << 20;
/// A window is copied, because a dump's offsets are rarely those of pages. One ring may have 1 GiB by the wire format.
const MOST_WINDOW: u64 = 1 << 30;

/// Runs of physical memory in a file.
pub(super) struct Runs {
    source: Arc<dyn ReadAt>,
    path: PathBuf,
    pieces: Vec<Piece>,
    home: Home,
}

impl Runs {
    /// Memory of these pieces, which rise; those that are stored lie inside of the source.
    pub(super) fn new(source: Arc<dyn ReadAt>, path: PathBuf, pieces: Vec<Piece>) -> Self {
        Self { source, path, pieces, home: Home::AnyPage }
    }

    /// The same, of a memory that was made for the region.
    pub(super) fn at_home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    fn piece_of(&self, at: u64) -> Option<&Piece> {
        let next = self.pieces.partition_point(|piece| piece.start <= at);
        self.pieces.get(next.checked_sub(1)?).filter(|piece| at < piece.end)
    }

    fn io(&self, doing: &'static str, source: std::io::Error) -> MemoryError {
        MemoryError::Io { doing, path: self.path.clone(), source }
    }
}

impl GuestMemory for Runs {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let (mut at, mut rest) = (at.0, into);
        while !rest.is_empty() {
            let len = rest.len() as u64;
            let absent = MemoryError::Absent { at: GuestPhysical(at), len };
            let Some(piece) = self.piece_of(at) else { return Err(absent) };
            let (now, later) = rest.split_at_mut((piece.end - at).min(len) as usize);
            match piece.place_of(at) {
                Place::Stored(offset) => {
                    self.source.read_exact_at(now, offset).map_err(|source| self.io("read", source))?;
                }
                Place::Zeros => now.fill(0),
                Place::Lost(why) => {
                    return Err(MemoryError::Missing { at: GuestPhysical(at), len: now.len() as u64, why });
                }
            }
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let mut joined = Vec::new();
        for piece in &self.pieces {
            push(&mut joined, piece.start..piece.end);
        }
        Ok(joined)
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let extents = self.source.data().map_err(|source| self.io("look for data in", source))?;
        let mut found = Vec::new();
        for piece in &self.pieces {
            let Place::Stored(offset) = piece.place else { continue };
            let end = offset + (piece.end - piece.start);
            if found.len() > MOST_EXTENTS {
                push(&mut found, piece.start..piece.end);
                continue;
            }
            let first = extents.partition_point(|extent| extent.end <= offset);
            for extent in extents[first..].iter().take_while(|extent| extent.start < end) {
                let begin = extent.start.max(offset) - offset;
                let until = extent.end.min(end) - offset;
                push(&mut found, piece.start + begin..piece.start + until);
            }
        }
        Ok(found)
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        copied_window(self, at, len)
    }

    fn home(&self) -> Home {
        self.home
    }
}

/// Adds a range behind others; one that continues the last makes that longer.
pub(super) fn push(ranges: &mut Vec<Range<GuestPhysical>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end.0 == range.start => last.end = GuestPhysical(range.end),
        _ => ranges.push(GuestPhysical(range.start)..GuestPhysical(range.end)),
    }
}

/// A window over a copy of guest memory.
pub(super) fn copied_window(
    memory: &dyn GuestMemory,
    at: GuestPhysical,
    len: u64,
) -> Result<Window, MemoryError> {
    if !len.is_multiple_of(8) || !at.0.is_multiple_of(8) {
        return Err(MemoryError::Unaligned { at, len });
    }
    if len > MOST_WINDOW {
        return Err(MemoryError::Missing { at, len, why: "that is more than a dump is copied at a time" });
    }
    let mut words = Vec::new();
    let mut chunk = vec![0; len.min(1 << 16) as usize];
    let mut done = 0;
    while done < len {
        let bytes = &mut chunk[..(len - done).min(1 << 16) as usize];
        memory.read(GuestPhysical(at.0.wrapping_add(done)), bytes)?;
        words.extend(bytes.as_chunks::<8>().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))));
        done += bytes.len() as u64;
    }
    Ok(Window::copied(words.into_boxed_slice()))
}
