//! The bytes of an image's file: in memory, or read when they are asked for.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use object::ReadRef;

/// How much is read at a time where all is read.
const CHUNK: usize = 1 << 20;

/// A file, or something like it, that is read in parts. Images of tens of megabytes give their first name after reading
/// a few of them.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills the buffer with what begins at `offset`.
    ///
    /// # Errors
    ///
    /// Where reading fails, or the file ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether it still is what it was when it was opened. A table made of a file that changes is not kept.
    fn is_unchanged(&self) -> bool {
        true
    }
}

/// Where the bytes of an image are.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Memory(Arc<[u8]>),
    File(Arc<dyn ReadAt>),
}

/// A part of a store, or other memory.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) memory: Arc<[u8]>,
    pub(crate) range: Range<usize>,
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { memory: bytes.into(), range }
    }
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(file) => usize::try_from(file.size()).unwrap_or(usize::MAX),
        }
    }

    /// A part that can be kept.
    pub(crate) fn content(&self, range: Range<usize>) -> io::Result<Content> {
        match self {
            Self::Memory(memory) if memory.get(range.clone()).is_some() => {
                Ok(Content { memory: Arc::clone(memory), range })
            }
            Self::Memory(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::File(_) => Ok(self.bytes(range)?.into_owned().into()),
        }
    }

    /// A part, borrowed where it is in memory already.
    pub(crate) fn bytes(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Memory(memory) => {
                memory.get(range).map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::File(file) => {
                if range.start > range.end || range.end > self.len() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mut bytes = vec![0; range.len()];
                file.read_at(range.start as u64, &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    pub(crate) fn is_unchanged(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::File(file) => file.is_unchanged(),
        }
    }

    /// The CRC-32 of all bytes, as `.gnu_debuglink` has it.
    pub(crate) fn checksum(&self) -> io::Result<u32> {
        let mut hash = crc32fast::Hasher::new();
        let mut at = 0;
        while at < self.len() {
            let next = self.len().min(at + CHUNK);
            hash.update(&self.bytes(at..next)?);
            at = next;
        }
        Ok(hash.finalize())
    }
}

/// The piece with number `n` is kept in row `log2(n + 1)`: rows never move, so references to pieces stay good.
type Row = Box<[OnceCell<Box<[u8]>>]>;
const ROWS: usize = 24;

/// What has been read of a file while it is parsed. References into it last as long as it does.
pub(crate) struct Pieces<'f> {
    file: &'f dyn ReadAt,
    rows: [OnceCell<Row>; ROWS],
    count: Cell<usize>,
    left: Cell<u64>,
}

impl<'f> Pieces<'f> {
    pub(crate) fn new(file: &'f dyn ReadAt) -> Self {
        // Tables that overlap would be read again and again.
        let left = Cell::new(file.size().saturating_mul(2).saturating_add(1 << 20));
        Self { file, rows: std::array::from_fn(|_| OnceCell::new()), count: Cell::new(0), left }
    }

    fn read(&self, offset: u64, size: u64) -> Option<&[u8]> {
        let end = offset.checked_add(size)?;
        if end > self.file.size() {
            return None;
        }
        self.left.set(self.left.get().checked_sub(size)?);
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.file.read_at(offset, &mut bytes).ok()?;
        let number = self.count.get() + 1;
        let row = self.rows.get(number.ilog2() as usize)?;
        let cells = row.get_or_init(|| (0..1 << number.ilog2()).map(|_| OnceCell::new()).collect());
        self.count.set(number);
        Some(cells.get(number - (1 << number.ilog2()))?.get_or_init(|| bytes.into()))
    }
}

impl<'a> ReadRef<'a> for &'a Pieces<'_> {
    fn len(self) -> Result<u64, ()> {
        Ok(self.file.size())
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size == 0 { Ok(&[]) } else { self.read(offset, size).ok_or(()) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let bytes = self.read_bytes_at(range.start, range.end.checked_sub(range.start).ok_or(())?)?;
        let end = bytes.iter().position(|byte| *byte == delimiter).ok_or(())?;
        Ok(&bytes[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Numbers;

    impl ReadAt for Numbers {
        fn size(&self) -> u64 {
            250
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            buffer.iter_mut().zip(offset..).for_each(|(byte, at)| *byte = at as u8);
            Ok(())
        }
    }

    #[test]
    fn pieces_stay_where_they_are() {
        let pieces = Pieces::new(&Numbers);
        let kept: Vec<&[u8]> = (0..240).map(|at| (&pieces).read_bytes_at(at, 10).expect("inside")).collect();
        for (at, piece) in kept.iter().enumerate() {
            assert!(piece.iter().copied().eq(at as u8..at as u8 + 10));
        }
        assert_eq!((&pieces).read_bytes_at(241, 10), Err(()), "beyond the end");
        assert_eq!((&pieces).read_bytes_at_until(3..20, 7), Ok(&[3, 4, 5, 6][..]));
    }

    #[test]
    fn reading_the_same_again_and_again_ends() {
        let pieces = Pieces::new(&Numbers);
        let reads = (0..).take_while(|_| (&pieces).read_bytes_at(0, 250).is_ok()).count();
        assert!((4000..5000).contains(&reads), "{reads}");
    }
}
