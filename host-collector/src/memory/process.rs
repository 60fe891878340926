//! Memory of another process, read through `/proc/PID/mem`, and only where it has any.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering, fence},
    },
};

use super::{MemoryError, ram::io as failed};

/// An entry of `/proc/PID/pagemap`, see the kernel's `admin-guide/mm/pagemap.rst`: the page is present, or it is swapped out.
pub(super) const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const ENTRY: u64 = 8;
/// Entries that are read at a time: those of 256 MiB.
const ENTRIES: u64 = 1 << 16;
/// How often a word is read until two looks agree.
const LOOKS: usize = 64;

/// A process whose memory is open for reading.
///
/// It is not stopped, nor does it notice. What it never touched is not in its page tables; reading that would put it there, so only pages
/// that `/proc/PID/pagemap` names are read. Both files stay with the process that was opened, also when its pid is given to another.
#[derive(Debug)]
pub(super) struct ProcessMemory {
    mem: File,
    mem_path: PathBuf,
    pagemap: File,
    pagemap_path: PathBuf,
    page: u64,
}

impl ProcessMemory {
    pub(super) fn open(pid: u32) -> Result<Self, MemoryError> {
        let open = |name: &str| {
            let path = PathBuf::from(format!("/proc/{pid}/{name}"));
            match File::open(&path) {
                Ok(file) => Ok((file, path)),
                Err(source) => Err(failed("open", &path, source)),
            }
        };
        let (mem, mem_path) = open("mem")?;
        let (pagemap, pagemap_path) = open("pagemap")?;
        let page = rustix::param::page_size() as u64;
        Ok(Self { mem, mem_path, pagemap, pagemap_path, page })
    }

    /// The parts of a range that the process has, in rising order.
    pub(super) fn touched(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, MemoryError> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        let first = range.start / self.page;
        let end = range.end.div_ceil(self.page);
        let mut entries = vec![0; (ENTRIES.min(end.saturating_sub(first)) * ENTRY) as usize];
        for chunk in (first..end).step_by(ENTRIES as usize) {
            let entries = &mut entries[..(ENTRIES.min(end - chunk) * ENTRY) as usize];
            self.read_file(&self.pagemap, &self.pagemap_path, entries, chunk * ENTRY)?;
            for (page, entry) in (chunk..).zip(entries.as_chunks::<8>().0) {
                if u64::from_le_bytes(*entry) & (PRESENT | SWAPPED) == 0 {
                    continue;
                }
                let begin = (page * self.page).max(range.start);
                let end = ((page + 1) * self.page).min(range.end);
                match runs.last_mut() {
                    Some(last) if last.end == begin => last.end = end,
                    _ => runs.push(begin..end),
                }
            }
        }
        Ok(runs)
    }

    /// Copies bytes that the process has: see [`ProcessMemory::touched`].
    pub(super) fn read_touched(&self, at: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        self.read_file(&self.mem, &self.mem_path, into, at)
    }

    /// Copies bytes; those that the process never touched are zeros.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        into.fill(0);
        for run in self.touched(at..at + into.len() as u64)? {
            let part = &mut into[(run.start - at) as usize..(run.end - at) as usize];
            self.read_touched(run.start, part)?;
        }
        Ok(())
    }

    fn read_file(&self, file: &File, path: &Path, into: &mut [u8], at: u64) -> Result<(), MemoryError> {
        file.read_exact_at(into, at).map_err(|source| match source.kind() {
            // What an address space that is gone answers: nothing.
            io::ErrorKind::UnexpectedEof => MemoryError::Ended,
            _ => failed("read", path, source),
        })
    }
}

/// Words of another process that it may be writing: each look is a system call.
#[derive(Debug)]
pub(super) struct ProcessWords {
    process: Arc<ProcessMemory>,
    base: u64,
    words: usize,
    /// A bit for each page from that of `base` on: the process has it. Memory that a guest has once touched it keeps.
    touched: Box<[AtomicU64]>,
}

impl ProcessWords {
    /// `words` words from `base` on, which is a multiple of 8.
    pub(super) fn new(process: Arc<ProcessMemory>, base: u64, words: usize) -> Self {
        let pages = (base % process.page + words as u64 * 8).div_ceil(process.page);
        let touched = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { process, base, words, touched }
    }

    pub(super) const fn len(&self) -> usize {
        self.words
    }

    /// One word. The kernel does not promise to copy a word in one piece, so it counts when two looks agree; of one that changes all
    /// the time the last look does.
    pub(super) fn load(&self, index: usize) -> Option<u64> {
        let mut before = self.look(index)?;
        for _ in 0..LOOKS {
            let now = self.look(index)?;
            if now == before {
                break;
            }
            before = now;
        }
        Some(before)
    }

    fn look(&self, index: usize) -> Option<u64> {
        let mut word = [0];
        self.copy(index, &mut word).then_some(word[0])
    }

    /// Words from `index` on; false where they do not all lie in the window, or the process is gone.
    pub(super) fn copy(&self, index: usize, out: &mut [u64]) -> bool {
        if index.checked_add(out.len()).is_none_or(|end| end > self.words) {
            return false;
        }
        let at = self.base + index as u64 * 8;
        let mut bytes = vec![0; out.len() * 8];
        if self.read(at, &mut bytes).is_err() {
            return false;
        }
        for (word, bytes) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        fence(Ordering::Acquire);
        true
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        let page = self.process.page;
        let range = at / page * page..(at + into.len() as u64).next_multiple_of(page);
        let first = self.base / page;
        let place = |address: u64| (((address / page - first) / 64) as usize, (address / page - first) % 64);
        let known = |address: u64| {
            let (word, bit) = place(address);
            self.touched.get(word).is_some_and(|bits| bits.load(Ordering::Relaxed) >> bit & 1 == 1)
        };
        if range.clone().step_by(page as usize).all(known) {
            return self.process.read_touched(at, into);
        }
        for run in self.process.touched(range)? {
            for address in run.step_by(page as usize) {
                let (word, bit) = place(address);
                if let Some(bits) = self.touched.get(word) {
                    bits.fetch_or(1 << bit, Ordering::Relaxed);
                }
            }
        }
        self.process.read(at, into)
    }
}
