//! A bounded range of guest memory as words.

use std::{
    fs::File,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::process::ProcessWords;

/// Words that somebody else may be writing. They can only be loaded and copied.
#[derive(Debug)]
pub struct Window(Words);

#[derive(Debug)]
enum Words {
    Mapped(Mapping),
    Copied(Box<[AtomicU64]>),
    Process(ProcessWords),
}

#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    /// Where the window begins in the mapping, which begins at a page.
    skip: usize,
    words: usize,
}

// SAFETY: the mapping belongs to this value alone, and all that is done with it is atomic loads.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are what mmap returned and was asked for; no borrow of it outlives `self`.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

impl Window {
    /// Maps `len` bytes of `file` from `offset`, both multiples of 8. The caller has checked that the file reaches that
    /// far: a page past its end would raise SIGBUS when loaded.
    pub(super) fn map(file: &File, offset: u64, len: u64) -> std::io::Result<Self> {
        debug_assert!(offset.is_multiple_of(8) && len.is_multiple_of(8));
        let page = rustix::param::page_size() as u64;
        let begin = offset - offset % page;
        let too_large = || std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        let skip = (offset - begin) as usize;
        let bytes = usize::try_from(len).ok().and_then(|len| len.checked_add(skip)).ok_or_else(too_large)?;
        if len == 0 {
            return Ok(Self::from_words(&[]));
        }
        // SAFETY: a fresh shared mapping at an address of the kernel's choice overlaps nothing.
        let base =
            unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, file, begin) }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(too_large)?;
        Ok(Self(Words::Mapped(Mapping { base, bytes, skip, words: (len / 8) as usize })))
    }

    /// A window over words that nobody writes any more: a copy, a dump.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        Self(Words::Copied(words.iter().map(|word| AtomicU64::new(*word)).collect()))
    }

    /// The same, of words that are in their place already.
    pub(crate) fn copied(words: Box<[AtomicU64]>) -> Self {
        Self(Words::Copied(words))
    }

    /// Words of another process, which are not mapped.
    pub(super) fn of_process(words: ProcessWords) -> Self {
        Self(Words::Process(words))
    }

    /// The words, where they lie in this process's address space.
    fn here(&self) -> Result<&[AtomicU64], &ProcessWords> {
        match &self.0 {
            Words::Copied(words) => Ok(words),
            Words::Mapped(map) => {
                // SAFETY: the range lies in the mapping, which lives as long as the borrow of `self`; `skip` is a
                // multiple of 8 and `base` of the page size, so words are aligned; whoever else writes there is
                // another process, and AtomicU64 allows for that.
                Ok(unsafe { std::slice::from_raw_parts(map.base.as_ptr().add(map.skip).cast(), map.words) })
            }
            Words::Process(words) => Err(words),
        }
    }

    /// The word at `index`, relaxed. `None` outside the window, and where the process that has it is gone.
    #[must_use]
    pub fn load(&self, index: usize) -> Option<u64> {
        match self.here() {
            Ok(words) => words.get(index).map(|word| word.load(Ordering::Relaxed)),
            Err(process) => process.load(index),
        }
    }

    /// The word at `index`; later loads happen after it. A relaxed load and a fence, because Rust allows no other load
    /// on read-only memory.
    #[must_use]
    pub fn load_acquire(&self, index: usize) -> Option<u64> {
        let word = self.load(index);
        fence(Ordering::Acquire);
        word
    }

    /// Copies words from `index` on, each for itself; later loads happen after that. False, and nothing copied, where not all of them
    /// lie in the window, and where the process that has them is gone.
    #[must_use]
    pub fn copy(&self, index: usize, out: &mut [u64]) -> bool {
        match self.here() {
            Ok(words) => {
                let Some(from) = words.get(index..).and_then(|words| words.get(..out.len())) else {
                    return false;
                };
                for (word, from) in out.iter_mut().zip(from) {
                    *word = from.load(Ordering::Relaxed);
                }
                fence(Ordering::Acquire);
                true
            }
            Err(process) => process.copy(index, out),
        }
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.here().map_or_else(ProcessWords::len, <[AtomicU64]>::len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    #[test]
    fn a_window_shows_what_is_written_later_and_starts_anywhere_in_a_page() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(3 * 4096).unwrap();
        let window = Window::map(&file, 4096 + 40, 4096).unwrap();
        assert_eq!(window.len(), 512);
        assert_eq!(window.load(0), Some(0));
        file.seek(SeekFrom::Start(4096 + 48)).unwrap();
        file.write_all(&7u64.to_le_bytes()).unwrap();
        assert_eq!(window.load_acquire(1), Some(7));
        assert_eq!(window.load(512), None);
    }

    #[test]
    fn an_empty_window_has_no_words() {
        let file = tempfile::tempfile().unwrap();
        assert!(Window::map(&file, 0, 0).unwrap().is_empty());
        assert_eq!(Window::from_words(&[1, 2]).load(1), Some(2));
    }
}
