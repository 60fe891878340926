//! The bytes that a dump is read from: a file, bytes in memory, or another container around it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::memory::data_extents;

/// Bytes at offsets. What lies past the end, or in a gap, is [`ErrorKind::UnexpectedEof`].
pub trait ReadAt: Send + Sync {
    /// The offset behind the last byte.
    fn size(&self) -> u64;

    /// Fills `into` from `offset`, or fails.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// The parts that were ever written; all else reads as zeros.
    fn data(&self) -> io::Result<Vec<Range<u64>>>;

    /// Whether all bytes of a range can be read.
    fn has(&self, range: Range<u64>) -> bool {
        range.end <= self.size()
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let begin = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let end = begin.checked_add(into.len()).ok_or(ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(self.get(begin..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        Ok(std::iter::once(0..self.size()).collect())
    }
}

/// A regular file, with the size that it had when it was opened.
pub(super) struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens a file; what is no regular file could block, or has no size.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        data_extents(&self.file, self.size)
    }
}

/// Reads `len` bytes, or as many as there are.
pub(super) fn read_up_to(source: &dyn ReadAt, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let there = source.size().saturating_sub(offset).min(len as u64) as usize;
    let mut bytes = vec![0; there];
    if there > 0 {
        source.read_exact_at(&mut bytes, offset)?;
    }
    Ok(bytes)
}

/// The little-endian number of two bytes at `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number of four bytes at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number of eight bytes at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
