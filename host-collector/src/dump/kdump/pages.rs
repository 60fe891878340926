//! Page descriptors, and pages that were read lately.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::unpack::Unpacker;
use crate::dump::source::{ReadAt, u32_at, u64_at};

/// `page_desc`: offset (8 bytes), size (4), flags (4), the kernel's page flags (8).
const DESCRIPTOR: u64 = 24;
/// Descriptors that are read at a time where pages are wanted one by one, and where all are.
const FEW: u64 = 170;
const MANY: u64 = 8192;
/// How many descriptors are looked at to see whether the pages are there to the end, and at how many places before.
const LAST: u64 = 40_000;
const PLACES: u64 = 64;

const NOT_THERE: &str = "it is not in the file";

/// [`Kept::page`] or [`Kept::start`]. The inner error is what is wrong with the page.
pub(super) type Unpack =
    fn(&mut Kept, &Descriptors, (u64, Stored), usize, &mut [u8]) -> io::Result<Result<(), String>>;

/// How a page lies in the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    at: u64,
    len: u32,
    flags: u32,
}

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descriptor {
    /// The page is in the dump.
    Stored(Stored),
    /// It has only zeros.
    Zeros,
    /// The file ends before it, or before its descriptor.
    Cut,
    /// Its descriptor was never written.
    Unwritten,
    /// It contradicts itself.
    Odd,
}

/// The table of descriptors.
pub(super) struct Descriptors {
    source: Arc<dyn ReadAt>,
    at: u64,
    count: u64,
    block: u64,
    /// Where the page lies that all pages of zeros share.
    zeros_at: Option<u64>,
}

impl Descriptors {
    /// The table at `at`. Writers put a page of zeros right behind it; whether that is one, is looked at.
    pub(super) fn new(source: Arc<dyn ReadAt>, at: u64, count: u64, block: u64) -> Self {
        let mut page = vec![0xff; block as usize];
        let behind = at.saturating_add(count.saturating_mul(DESCRIPTOR));
        let zeros = source.read_exact_at(&mut page, behind).is_ok() && page.iter().all(|byte| *byte == 0);
        Self { source, at, count, block, zeros_at: zeros.then_some(behind) }
    }

    fn judge(&self, bytes: &[u8]) -> Descriptor {
        let (Some(at), Some(len), Some(flags)) = (u64_at(bytes, 0), u32_at(bytes, 8), u32_at(bytes, 12))
        else {
            return Descriptor::Cut;
        };
        let len64 = u64::from(len);
        if at == 0 {
            return Descriptor::Unwritten;
        }
        if flags == 0 && len64 == self.block && Some(at) == self.zeros_at {
            return Descriptor::Zeros;
        }
        // What does not get smaller is stored as it is; no writer keeps more.
        if len == 0 || len64 > 2 * self.block {
            return Descriptor::Odd;
        }
        match at.checked_add(len64) {
            None => Descriptor::Odd,
            Some(end) if end > self.source.size() => Descriptor::Cut,
            Some(_) => Descriptor::Stored(Stored { at, len, flags }),
        }
    }

    /// The bytes of some descriptors; those that are in no file, and those behind them, are left out.
    fn bytes(&self, from: u64, count: u64) -> io::Result<Vec<u8>> {
        let count = count.min(self.count.saturating_sub(from));
        let at = self.at.saturating_add(from.saturating_mul(DESCRIPTOR));
        let there = self.source.size().saturating_sub(at).min(count * DESCRIPTOR);
        let mut bytes = vec![0; there as usize];
        match self.source.read_exact_at(&mut bytes, at) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Vec::new()),
            other => other.map(|()| bytes),
        }
    }

    /// All of them, in order; what can't be read is [`Descriptor::Cut`].
    pub(super) fn all(&self) -> impl Iterator<Item = io::Result<Descriptor>> + '_ {
        let (mut chunk, mut index) = (Vec::new(), 0);
        std::iter::from_fn(move || {
            if index == self.count {
                return None;
            }
            if index.is_multiple_of(MANY) {
                match self.bytes(index, MANY) {
                    Ok(bytes) => chunk = bytes,
                    Err(error) => return Some(Err(error)),
                }
            }
            let begin = (index % MANY * DESCRIPTOR) as usize;
            index += 1;
            Some(Ok(self.judge(chunk.get(begin..).unwrap_or_default())))
        })
    }

    /// How many pages are not there because the file was cut off, if there is a sign of that. Pages are written in the order of
    /// their descriptors, so the last ones tell, and samples where those are all of zeros.
    pub(super) fn lost_pages(&self) -> Option<u64> {
        let lost = |from: u64, count: u64| {
            let bytes = self.bytes(from, count).unwrap_or_default();
            let expected = count.min(self.count - from);
            (0..expected).any(|index| {
                let at = (index * DESCRIPTOR) as usize;
                matches!(self.judge(bytes.get(at..).unwrap_or_default()), Descriptor::Cut)
            })
        };
        let step = (self.count / PLACES).max(1);
        let mut samples = (0..self.count).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        if lost(self.count.saturating_sub(LAST), LAST) || samples.any(|from| lost(from, FEW)) {
            return Some(self.all().filter(|one| matches!(one, Ok(Descriptor::Cut) | Err(_))).count() as u64);
        }
        None
    }
}

/// What was read lately: 64 runs of descriptors, and 1 MiB of pages.
pub(super) struct Kept {
    descriptors: Vec<Option<(u64, Vec<u8>)>>,
    pages: Vec<Option<(u64, Box<[u8]>)>>,
    packed: Vec<u8>,
    unpacker: Unpacker,
}

impl Kept {
    pub(super) fn new(block: u64) -> Self {
        let empty = |count: u64| std::iter::repeat_with(|| None).take(count as usize).collect();
        Self {
            descriptors: std::iter::repeat_with(|| None).take(64).collect(),
            pages: empty(((1 << 20) / block).max(1)),
            packed: Vec::new(),
            unpacker: Unpacker::default(),
        }
    }

    /// One descriptor.
    pub(super) fn descriptor(&mut self, table: &Descriptors, index: u64) -> io::Result<Descriptor> {
        let run = index / FEW;
        let slots = self.descriptors.len() as u64;
        let slot = &mut self.descriptors[(run % slots) as usize];
        if slot.as_ref().is_none_or(|(kept, _)| *kept != run) {
            *slot = Some((run, table.bytes(run * FEW, FEW)?));
        }
        let bytes = slot.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        Ok(table.judge(bytes.get((index % FEW * DESCRIPTOR) as usize..).unwrap_or_default()))
    }

    /// Copies a part of a page.
    pub(super) fn page(
        &mut self,
        table: &Descriptors,
        (page, stored): (u64, Stored),
        skip: usize,
        into: &mut [u8],
    ) -> io::Result<Result<(), String>> {
        let slots = self.pages.len() as u64;
        let slot = (page % slots) as usize;
        if let Some((_, bytes)) = self.pages[slot].as_ref().filter(|(kept, _)| *kept == page) {
            into.copy_from_slice(&bytes[skip..skip + into.len()]);
            return Ok(Ok(()));
        }
        if !self.read(table, stored)? {
            return Ok(Err(NOT_THERE.into()));
        }
        if into.len() as u64 == table.block {
            // Whole pages are read in order, and once: they need no place here.
            return Ok(self.unpacker.unpack(stored.flags, &self.packed, into));
        }
        let mut bytes = match self.pages[slot].take() {
            Some((_, bytes)) => bytes,
            None => vec![0; table.block as usize].into_boxed_slice(),
        };
        let unpacked = self.unpacker.unpack(stored.flags, &self.packed, &mut bytes);
        if unpacked.is_ok() {
            into.copy_from_slice(&bytes[skip..skip + into.len()]);
            self.pages[slot] = Some((page, bytes));
        }
        Ok(unpacked)
    }

    /// Copies the start of a page without unpacking the rest, where that can be done.
    pub(super) fn start(
        &mut self,
        table: &Descriptors,
        (page, stored): (u64, Stored),
        skip: usize,
        into: &mut [u8],
    ) -> io::Result<Result<(), String>> {
        if !self.read(table, stored)? {
            return Ok(Err(NOT_THERE.into()));
        }
        if skip == 0 && self.unpacker.start(stored.flags, &self.packed, into) {
            return Ok(Ok(()));
        }
        self.page(table, (page, stored), skip, into)
    }

    /// Reads a page as it is packed; whether it is there.
    fn read(&mut self, table: &Descriptors, stored: Stored) -> io::Result<bool> {
        self.packed.resize(stored.len as usize, 0);
        match table.source.read_exact_at(&mut self.packed, stored.at) {
            // A piece of a flattened file that is missing.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            other => other.map(|()| true),
        }
    }
}
