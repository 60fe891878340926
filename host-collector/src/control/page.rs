//! The control page of a guest, mapped for writing: all that a host ever writes.

use std::{
    fs::OpenOptions,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use uniprof_wire::{
    layout::{CONTROL_OFFSET, PAGE},
    tables::{CONTROL_SLOTS, CONTROL_WORDS, ControlRequest, Slot},
};

use super::{ControlError, RENEW_EVERY, is_alive};
use crate::{clock::HostTime, guests::GuestEntry, memory::FoundRegion};

/// The control page of a guest, mapped for writing.
#[derive(Debug)]
pub(super) struct ControlPage(NonNull<AtomicU64>);

// SAFETY: the mapping belongs to this value, and all that is done with it is atomic.
unsafe impl Send for ControlPage {}
// SAFETY: as above.
unsafe impl Sync for ControlPage {}

impl Drop for ControlPage {
    fn drop(&mut self) {
        // SAFETY: what mmap returned; no borrow of it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

impl ControlPage {
    pub(super) fn map(entry: &GuestEntry, region: &FoundRegion) -> Result<Self, ControlError> {
        let read_only = || ControlError::ReadOnly { name: entry.name.clone() };
        let (path, first) = entry.file_of(region).ok_or_else(read_only)?;
        let path = &path;
        let failed = |source| ControlError::Io { path: path.clone(), source };
        let absent = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let offset = first.checked_add(CONTROL_OFFSET as u64);
        let offset =
            offset.filter(|offset| offset.is_multiple_of(PAGE as u64)).ok_or_else(|| failed(absent()))?;
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        // A page past the file's end would raise SIGBUS.
        if file.metadata().map_err(failed)?.len() < offset.saturating_add(PAGE as u64) {
            return Err(failed(absent()));
        }
        let read_write = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh shared mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap(std::ptr::null_mut(), PAGE, read_write, MapFlags::SHARED, &file, offset) };
        let base = base.map_err(|error| failed(error.into()))?;
        Ok(Self(NonNull::new(base.cast()).ok_or_else(|| failed(absent()))?))
    }

    fn word(&self, slot: usize, word: usize) -> &AtomicU64 {
        debug_assert!(slot < CONTROL_SLOTS && word < CONTROL_WORDS);
        // SAFETY: the page holds CONTROL_SLOTS × CONTROL_WORDS words, and is mapped as long as `self`.
        unsafe { self.0.add(slot * CONTROL_WORDS + word).as_ref() }
    }

    fn read(&self, slot: usize) -> ([u64; ControlRequest::WORDS], Slot<ControlRequest>) {
        let words = std::array::from_fn(|word| self.word(slot, word).load(Ordering::Acquire));
        (words, ControlRequest::from_words(&words))
    }

    /// Takes a slot that is empty, or whose owner is dead.
    pub(super) fn claim(&self, request: ControlRequest) -> Result<usize, ControlError> {
        let before: [_; CONTROL_SLOTS] = std::array::from_fn(|slot| self.read(slot));
        let empty = |slot: &usize| before[*slot].1 == Slot::Empty;
        if let Some(slot) =
            (0..CONTROL_SLOTS).filter(empty).find(|slot| self.take(*slot, before[*slot].0[0], request))
        {
            return Ok(slot);
        }
        let now = HostTime::now().realtime_ns;
        let dead: Vec<usize> = (0..CONTROL_SLOTS)
            .filter(|slot| before[*slot].1.entry().is_some_and(|request| !is_alive(&request, now)))
            .collect();
        if dead.is_empty() {
            return Err(ControlError::Full);
        }
        // The clock may have been set: whoever lives renews meanwhile.
        std::thread::sleep(RENEW_EVERY * 2);
        let silent = |slot: &usize| self.read(*slot).0 == before[*slot].0;
        let taken =
            dead.into_iter().filter(silent).find(|slot| self.take(*slot, before[*slot].0[0], request));
        taken.ok_or(ControlError::Full)
    }

    /// Writes the request if the slot still shows `sequence`: other collectors may want it, too.
    fn take(&self, slot: usize, sequence: u64, request: ControlRequest) -> bool {
        let odd = sequence | 1;
        // One who died while writing has left it odd; then this takes over as it is.
        let mine =
            self.word(slot, 0).compare_exchange(sequence, odd, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if mine {
            self.write(slot, request);
        }
        mine
    }

    pub(super) fn write(&self, slot: usize, request: ControlRequest) {
        let sequence = self.word(slot, 0).load(Ordering::Acquire) | 1;
        self.word(slot, 0).store(sequence, Ordering::Release);
        for (word, value) in request.to_words().into_iter().enumerate() {
            self.word(slot, 1 + word).store(value, Ordering::Release);
        }
        self.word(slot, 0).store(sequence.wrapping_add(1), Ordering::Release);
    }

    pub(super) fn owner(&self, slot: usize) -> u64 {
        self.word(slot, 1).load(Ordering::Acquire)
    }

    /// Keeps the request alive. A guest that has restarted has emptied the slot: it is asked again. Another collector may
    /// hold it by now, if this process was stopped for longer than its lease: then it is no longer ours.
    pub(super) fn renew(&self, slot: usize, request: ControlRequest) {
        let (words, found) = self.read(slot);
        if self.owner(slot) == request.owner {
            self.word(slot, 2).fetch_add(1, Ordering::Release);
            let now = HostTime::now().realtime_ns;
            self.word(slot, ControlRequest::ASKED_WORD).store(now, Ordering::Release);
        } else if found == Slot::Empty {
            self.take(slot, words[0], request);
        }
    }
}
