//! Asking a guest for a sampling rate, for classes and for stack snapshots: one slot of the region's control page, held while the asker lives.
//!
//! The control page is all that a host ever writes, and this file is all that writes it. A request has a lease: a thread
//! renews it several times over, and a guest drops one that is not renewed, so a collector that is killed leaves
//! nothing switched on. Several collectors each hold a slot; the guest serves the highest rate, all classes and the longest
//! snapshots.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use uniprof_wire::{
    layout::{CONTROL_OFFSET, PAGE},
    tables::{CONTROL_SLOTS, CONTROL_WORDS, ControlRequest, Slot},
};

use crate::{cancel::Cancel, guests::GuestEntry, memory::FoundRegion, qemu::Placement};

/// How long a request lives without renewal. Guests look at the page 20 times a second.
const LEASE: Duration = Duration::from_secs(2);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_millis(250);

/// Why a guest could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The guest's memory can't be written.
    #[error("cannot ask the guest for another rate: {path}: {source}")]
    Io {
        /// The file with the region.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// All slots are held by collectors that live.
    #[error("{CONTROL_SLOTS} other collectors already ask this guest for something: end one of them")]
    Full,
}

/// A request that a guest serves; withdrawn when dropped.
#[derive(Debug)]
pub struct Control {
    page: Arc<ControlPage>,
    slot: usize,
    owner: u64,
    stop: Cancel,
    renewer: Option<JoinHandle<()>>,
}

impl Control {
    /// Asks for what `wanted` says; owner, renewals and lease are this function's to fill in.
    ///
    /// # Errors
    /// [`ControlError`]; the guest then goes on as it was.
    pub fn request(
        entry: &GuestEntry,
        region: &FoundRegion,
        wanted: ControlRequest,
    ) -> Result<Self, ControlError> {
        let page = Arc::new(ControlPage::map(entry, region)?);
        let owner = u64::from(std::process::id()) << 32
            | u64::from(crate::clock::HostTime::now().realtime_ns as u32 | 1);
        let lease_ms = LEASE.as_millis() as u32;
        let request = ControlRequest { owner, renewals: 1, lease_ms, ..wanted };
        let slot = page.claim(request)?;
        let stop = Cancel::new();
        let renewer = {
            let (page, stop) = (page.clone(), stop.clone());
            std::thread::spawn(move || {
                while stop.sleep(RENEW_EVERY) {
                    page.renew(slot, request);
                }
            })
        };
        Ok(Self { page, slot, owner, stop, renewer: Some(renewer) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(renewer) = self.renewer.take() {
            // It only sleeps and stores: there is nothing that it could report.
            let _ = renewer.join();
        }
        if self.page.owner(self.slot) == self.owner {
            self.page.write(self.slot, ControlRequest::default());
        }
    }
}

/// The control page of a guest, mapped for writing.
#[derive(Debug)]
struct ControlPage(NonNull<AtomicU64>);

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
    fn map(entry: &GuestEntry, region: &FoundRegion) -> Result<Self, ControlError> {
        let path = &entry.memory_file;
        let failed = |source| ControlError::Io { path: path.clone(), source };
        let absent = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let first = match entry.placement {
            Placement::Ivshmem => Some(0),
            Placement::Ram => {
                let map = entry.ram_map.as_ref();
                map.and_then(|map| map.file_offset(region.at)).map(|(offset, _)| offset)
            }
        };
        let offset = first.and_then(|first| first.checked_add(CONTROL_OFFSET as u64));
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

    /// Takes a slot that is empty, or whose owner has let its lease pass.
    fn claim(&self, request: ControlRequest) -> Result<usize, ControlError> {
        let before: [_; CONTROL_SLOTS] = std::array::from_fn(|slot| self.read(slot));
        let empty = |slot: &usize| before[*slot].1 == Slot::Empty;
        if let Some(slot) =
            (0..CONTROL_SLOTS).filter(empty).find(|slot| self.take(*slot, before[*slot].0[0], request))
        {
            return Ok(slot);
        }
        std::thread::sleep(LEASE + RENEW_EVERY);
        let silent = |slot: &usize| self.read(*slot).0 == before[*slot].0;
        let taken =
            (0..CONTROL_SLOTS).filter(silent).find(|slot| self.take(*slot, before[*slot].0[0], request));
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

    fn write(&self, slot: usize, request: ControlRequest) {
        let sequence = self.word(slot, 0).load(Ordering::Acquire) | 1;
        self.word(slot, 0).store(sequence, Ordering::Release);
        for (word, value) in request.to_words().into_iter().enumerate() {
            self.word(slot, 1 + word).store(value, Ordering::Release);
        }
        self.word(slot, 0).store(sequence.wrapping_add(1), Ordering::Release);
    }

    fn owner(&self, slot: usize) -> u64 {
        self.word(slot, 1).load(Ordering::Acquire)
    }

    /// Keeps the request alive. A guest that has restarted has emptied the slot: it is asked again. Another collector may
    /// hold it by now, if this process was stopped for longer than its lease: then it is no longer ours.
    fn renew(&self, slot: usize, request: ControlRequest) {
        let (words, found) = self.read(slot);
        if self.owner(slot) == request.owner {
            self.word(slot, 2).fetch_add(1, Ordering::Release);
        } else if found == Slot::Empty {
            self.take(slot, words[0], request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use uniprof_wire::{
        address::{GuestPhysical, GuestVirtual},
        layout::{Architecture, Geometry, RegionHeader},
        text::FixedText,
    };

    use super::*;
    use crate::qemu::{Accelerator, Machine};

    fn region() -> FoundRegion {
        let header = RegionHeader {
            architecture: Architecture::X86_64,
            boot_id: 1,
            region_gpa: GuestPhysical(0),
            region_gva: GuestVirtual(0),
            geometry: Geometry::with_ring_bytes(1, 64 << 10).unwrap(),
            tsc_hz: 1,
            boot_tsc: 0,
            boot_wall_ns: 0,
            sites: (GuestVirtual(0), GuestVirtual(0)),
            name: FixedText::new(b"test"),
        };
        FoundRegion { at: GuestPhysical(0), header }
    }

    fn entry(memory_file: PathBuf) -> GuestEntry {
        GuestEntry {
            name: "test".into(),
            pid: 1,
            pid_start: 1,
            owner_pid: 1,
            qmp: PathBuf::new(),
            kernel: PathBuf::new(),
            machine: Machine::Q35,
            memory_bytes: 0,
            vcpus: 1,
            placement: Placement::Ivshmem,
            memory_file,
            ram_file: None,
            ram_map: None,
            accelerator: Accelerator { name: "tcg".into(), reason: String::new() },
            qemu_version: String::new(),
            command_line: Vec::new(),
            started_ns: 0,
        }
    }

    fn wanted(rate: u32, classes: u64) -> ControlRequest {
        ControlRequest { rate, classes, snapshot_bytes: rate * 8, ..ControlRequest::default() }
    }

    fn requests(file: &std::fs::File) -> Vec<ControlRequest> {
        let mut bytes = [0; PAGE];
        file.read_exact_at(&mut bytes, CONTROL_OFFSET as u64).unwrap();
        let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let slots = words.as_chunks::<CONTROL_WORDS>().0;
        slots
            .iter()
            .filter_map(|slot| match ControlRequest::from_words(&std::array::from_fn(|i| slot[i])) {
                Slot::Whole(request) => Some(request),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_request_stands_is_renewed_and_is_withdrawn() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 * PAGE as u64).unwrap();
        let entry = entry(file.path().into());
        let first = Control::request(&entry, &region(), wanted(999, 1)).unwrap();
        let second = Control::request(&entry, &region(), wanted(50, 2)).unwrap();
        let seen = requests(file.as_file());
        let values = seen.iter().map(|r| (r.rate, r.classes, r.snapshot_bytes)).collect::<Vec<_>>();
        assert_eq!(values, [(999, 1, 999 * 8), (50, 2, 400)]);
        std::thread::sleep(RENEW_EVERY * 3);
        assert!(requests(file.as_file())[0].renewals > seen[0].renewals);
        drop(first);
        assert_eq!(requests(file.as_file()).iter().map(|r| r.rate).collect::<Vec<_>>(), [50]);
        drop(second);
        assert!(requests(file.as_file()).is_empty());
    }

    #[test]
    fn slots_of_the_dead_are_taken_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 * PAGE as u64).unwrap();
        let entry = entry(file.path().into());
        let page = ControlPage::map(&entry, &region()).unwrap();
        let dead = ControlRequest { owner: 7, renewals: 1, lease_ms: 10, ..wanted(1, 0) };
        (0..CONTROL_SLOTS).for_each(|slot| page.write(slot, dead));
        let _control = Control::request(&entry, &region(), wanted(5, 0)).unwrap();
        assert_eq!(requests(file.as_file()).iter().filter(|r| r.rate == 5).count(), 1);
    }

    #[test]
    fn a_file_without_a_control_page_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(PAGE as u64).unwrap();
        let refused = Control::request(&entry(file.path().into()), &region(), wanted(5, 0));
        assert!(matches!(refused, Err(ControlError::Io { .. })));
    }

    #[test]
    fn a_slot_that_another_has_taken_is_left_alone_and_an_emptied_one_is_taken_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 * PAGE as u64).unwrap();
        let entry = entry(file.path().into());
        let rates = || requests(file.as_file()).iter().map(|r| r.rate).collect::<Vec<_>>();
        let request = Control::request(&entry, &region(), wanted(999, 1)).unwrap();
        file.as_file().write_all_at(&[0; PAGE], CONTROL_OFFSET as u64).unwrap();
        std::thread::sleep(RENEW_EVERY * 3);
        assert_eq!(rates(), [999]);
        let other = ControlRequest { owner: 7, renewals: 1, lease_ms: 1000, ..wanted(50, 1) };
        request.page.write(request.slot, other);
        std::thread::sleep(RENEW_EVERY * 3);
        assert_eq!(requests(file.as_file()), [other]);
        drop(request);
        assert_eq!(rates(), [50]);
    }
}
