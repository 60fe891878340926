//! A section that is read page by page, as far as somebody looks.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use gimli::{Error, LittleEndian, ReaderOffsetId};

use crate::store::{Content, Store};

/// The unit of reading. Small, because finding the compilation unit of an address looks at a few bytes of each.
const PAGE: usize = 4096;
/// How many pages are read at once where reading goes on.
const AHEAD: usize = 16;

/// `None` where it cannot be read.
type Page = Option<Box<[u8]>>;

/// The bytes of one section. A page that cannot be read stays unreadable: the answers do not depend on luck.
#[derive(Debug)]
enum Source {
    /// It had to be unpacked, or is in memory anyway.
    Whole(Content),
    Paged {
        file: Store,
        range: Range<usize>,
        pages: Box<[OnceLock<Page>]>,
    },
}

impl Source {
    /// What lies from `at` to the end of its page, at most.
    fn at(&self, at: usize) -> Result<&[u8], Error> {
        match self {
            Self::Whole(content) => content.get(at..).ok_or(Error::Io),
            Self::Paged { file, range, pages } => {
                let (page, within) = (at / PAGE, at % PAGE);
                let wanted = pages.get(page).ok_or(Error::Io)?;
                if wanted.get().is_none() {
                    // Who has read the page before will go on reading.
                    let goes_on = page.checked_sub(1).is_some_and(|before| pages[before].get().is_some());
                    let count = if goes_on { AHEAD } else { 1 };
                    let start = range.start + page * PAGE;
                    let end = range.end.min(start + count * PAGE);
                    match file.bytes(start..end) {
                        Ok(bytes) => {
                            for (place, bytes) in pages[page..].iter().zip(bytes.chunks(PAGE)) {
                                let _ = place.set(Some(bytes.into()));
                            }
                        }
                        Err(_) => wanted.set(None).unwrap_or_default(),
                    }
                }
                let bytes = wanted.get().and_then(Option::as_deref);
                bytes.and_then(|bytes| bytes.get(within..)).ok_or(Error::Io)
            }
        }
    }
}

/// Reads on in a section; what gimli needs.
#[derive(Debug, Clone)]
pub(crate) struct LazyReader {
    bytes: Arc<Source>,
    start: usize,
    end: usize,
}

impl LazyReader {
    pub(crate) fn whole(content: Content) -> Self {
        let len = content.len();
        Self { bytes: Arc::new(Source::Whole(content)), start: 0, end: len }
    }

    pub(crate) fn paged(file: Store, range: Range<usize>) -> Self {
        let len = range.len();
        let pages = (0..len.div_ceil(PAGE)).map(|_| OnceLock::new()).collect();
        Self { bytes: Arc::new(Source::Paged { file, range, pages }), start: 0, end: len }
    }

    /// What comes next and lies together; empty only at the end.
    fn run(&self) -> Result<&[u8], Error> {
        if self.start == self.end {
            return Ok(&[]);
        }
        let run = self.bytes.at(self.start)?;
        Ok(&run[..run.len().min(self.end - self.start)])
    }

    fn short(&self) -> Error {
        Error::UnexpectedEof(self.offset_id())
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId(self.start as u64)
    }
}

impl gimli::Reader for LazyReader {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    fn empty(&mut self) {
        self.end = self.start;
    }

    fn truncate(&mut self, len: usize) -> Result<(), Error> {
        if self.len() < len {
            return Err(self.short());
        }
        self.end = self.start + len;
        Ok(())
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.start.wrapping_sub(base.start)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.offset_id()
    }

    fn lookup_offset_id(&self, _: ReaderOffsetId) -> Option<usize> {
        None
    }

    fn find(&self, byte: u8) -> Result<usize, Error> {
        let mut rest = self.clone();
        loop {
            let run = rest.run()?;
            if run.is_empty() {
                return Err(self.short());
            }
            if let Some(at) = run.iter().position(|found| *found == byte) {
                return Ok(rest.start - self.start + at);
            }
            rest.start += run.len();
        }
    }

    fn skip(&mut self, len: usize) -> Result<(), Error> {
        if self.len() < len {
            return Err(self.short());
        }
        self.start += len;
        Ok(())
    }

    fn split(&mut self, len: usize) -> Result<Self, Error> {
        let mut head = self.clone();
        head.truncate(len)?;
        self.start += len;
        Ok(head)
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>, Error> {
        let run = self.run()?;
        if run.len() == self.len() {
            return Ok(Cow::Borrowed(run));
        }
        let mut bytes = vec![0; self.len()];
        self.clone().read_slice(&mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    fn to_string(&self) -> Result<Cow<'_, str>, Error> {
        match self.to_slice()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Error::BadUtf8),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Error::BadUtf8),
        }
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>, Error> {
        Ok(match self.to_slice()? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    fn read_slice(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if self.len() < buffer.len() {
            return Err(self.short());
        }
        let mut done = 0;
        while done < buffer.len() {
            let run = self.run()?;
            let part = run.len().min(buffer.len() - done);
            if part == 0 {
                return Err(self.short());
            }
            buffer[done..done + part].copy_from_slice(&run[..part]);
            done += part;
            self.start += part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::Reader as _;

    fn numbers() -> Vec<u8> {
        (0..3 * PAGE + 100).map(|at| (at % 251) as u8).collect()
    }

    /// Reads like the slice, across the borders of pages too.
    #[test]
    fn pages_read_as_one() {
        let file: Arc<[u8]> = numbers().into();
        let range = 10..file.len() - 5;
        let all = &file[range.clone()];
        let reader = LazyReader::paged(Store::Memory(Arc::clone(&file)), range);
        assert_eq!(&*reader.to_slice().expect("readable"), all);
        for at in [0, 1, PAGE - 3, PAGE, 2 * PAGE - 1, all.len() - 9] {
            let mut rest = reader.clone();
            rest.skip(at).expect("inside");
            let mut head = rest.split(9).expect("inside");
            assert_eq!(&*head.to_slice().expect("readable"), &all[at..at + 9]);
            assert_eq!(head.find(all[at + 7]), Ok(7));
            assert_eq!(head.read_u64(), Ok(u64::from_le_bytes(*all[at..].first_chunk().expect("8 bytes"))));
            assert_eq!(head.len(), 1);
            assert!(head.read_u16().is_err());
            assert_eq!(rest.len(), all.len() - at - 9);
        }
        assert!(reader.clone().skip(all.len() + 1).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let file: Arc<[u8]> = numbers().into();
        let reader = LazyReader::paged(Store::Memory(Arc::clone(&file)), 0..file.len() + PAGE);
        assert_eq!(reader.to_slice(), Err(Error::Io));
        assert!(reader.clone().read_u64().is_ok(), "the first page is there");
    }
}
