//! Asking a guest for a sampling rate, for classes, event sites and stack snapshots: one slot of the region's control page, held while
//! the asker lives.
//!
//! The control page is all that a host ever writes, and [`page`] is all that writes it. A request has a lease: a thread
//! renews it several times over, and a guest drops one that is not renewed, so a collector that is killed leaves
//! nothing switched on. Several collectors each hold a slot; the guest serves the highest rate, all classes and sites, the longest
//! snapshots, and keeps to the smallest budget. [`leave`] leaves a request behind that nobody renews; [`asked`] tells who asks for what.

mod effect;
mod page;

use std::{path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use uniprof_wire::{
    address::GuestPhysical,
    layout::{CONTROL_OFFSET, PAGE},
    tables::{CONTROL_SLOTS, CONTROL_WORDS, ControlRequest},
};

use crate::{
    attach::Attached,
    cancel::Cancel,
    clock::HostTime,
    guests::GuestEntry,
    memory::{FoundRegion, MemoryError},
};

pub use effect::{Effect, Looks, vcpus_now};
use page::ControlPage;

/// How long a request lives without renewal. Guests look at the page 40 times a second.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_millis(250);
/// The longest lease that a guest grants.
pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// Why a guest could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The guest's memory can't be written.
    #[error("cannot ask the guest for anything: {path}: {source}")]
    Io {
        /// The file with the region.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Only its own process can write to its memory.
    #[error(
        "guest {name} is only read: its memory belongs to its process alone; `uniprof doctor {name}` says how it could be asked for things"
    )]
    ReadOnly {
        /// Its name.
        name: String,
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
    /// Asks for what `wanted` says; owner, renewals, lease and time are this function's to fill in.
    ///
    /// # Errors
    /// [`ControlError`]; the guest then goes on as it was.
    pub fn request(
        entry: &GuestEntry,
        region: &FoundRegion,
        wanted: ControlRequest,
    ) -> Result<Self, ControlError> {
        let page = Arc::new(ControlPage::map(entry, region)?);
        let request = signed(wanted, LEASE);
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
        Ok(Self { page, slot, owner: request.owner, stop, renewer: Some(renewer) })
    }
}

/// Leaves a request behind that nobody renews: it lives for `lease`, which the guest caps at [`LONGEST_LEASE`].
///
/// # Errors
/// [`ControlError`]; the guest then goes on as it was.
pub fn leave(
    entry: &GuestEntry,
    region: &FoundRegion,
    wanted: ControlRequest,
    lease: Duration,
) -> Result<(), ControlError> {
    ControlPage::map(entry, region)?.claim(signed(wanted, lease)).map(drop)
}

/// The request with what tells this asker from others.
pub(crate) fn signed(wanted: ControlRequest, lease: Duration) -> ControlRequest {
    let asked_ns = HostTime::now().realtime_ns;
    let owner = u64::from(std::process::id()) << 32 | u64::from(asked_ns as u32 | 1);
    let lease_ms = lease.min(LONGEST_LEASE).as_millis() as u32;
    ControlRequest { owner, renewals: 1, lease_ms, asked_ns, ..wanted }
}

/// Somebody who asks a guest for something, or has done so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The slot of the control page.
    pub slot: usize,
    /// What is asked for.
    pub request: ControlRequest,
    /// Whether its lease lives, by this host's clock.
    pub alive: bool,
}

impl Asker {
    /// The process that asks, on the host where it runs.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        (self.request.owner >> 32) as u32
    }
}

/// Who asks for what: the slots of the control page that are not empty.
pub fn asked(attached: &Attached) -> Result<Vec<Asker>, MemoryError> {
    let mut bytes = [0; PAGE];
    if let Some(port) = &attached.port {
        let copy = port.latest();
        let page = copy.as_deref().and_then(|copy| copy.get(CONTROL_OFFSET..CONTROL_OFFSET + PAGE));
        bytes.copy_from_slice(page.ok_or(MemoryError::NotShared)?);
    } else {
        let at = attached.region.at.0.saturating_add(CONTROL_OFFSET as u64);
        attached.memory.read(GuestPhysical(at), &mut bytes)?;
    }
    let words = bytes.as_chunks::<8>().0;
    let now = HostTime::now().realtime_ns;
    let slots = words.chunks_exact(CONTROL_WORDS).take(CONTROL_SLOTS).enumerate();
    Ok(slots
        .filter_map(|(slot, words)| {
            let words = std::array::from_fn(|word| u64::from_le_bytes(words[word]));
            // One that is being written is shown as far as it is.
            let request = ControlRequest::from_words(&words).entry()?;
            Some(Asker { slot, request, alive: is_alive(&request, now) })
        })
        .collect())
}

/// Whether a request's lease lives at a time of this host's clock. A time that is to come is none that anybody asked at.
fn is_alive(request: &ControlRequest, now_ns: u64) -> bool {
    let lease = Duration::from_millis(request.lease_ms.into()).min(LONGEST_LEASE);
    let age = Duration::from_nanos(now_ns.abs_diff(request.asked_ns));
    age <= lease
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use uniprof_wire::{
        address::{GuestPhysical, GuestVirtual},
        layout::{Architecture, Geometry, RegionHeader},
        tables::Slot,
        text::FixedText,
    };

    use super::*;
    use crate::qemu::{Accelerator, Machine, Placement};

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
            ram_in_process: None,
            ram_map: None,
            port: None,
            control_port: None,
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
    fn a_request_that_was_left_behind_keeps_its_slot_for_its_lease() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 * PAGE as u64).unwrap();
        let entry = entry(file.path().into());
        for rate in 1..=CONTROL_SLOTS as u32 {
            leave(&entry, &region(), wanted(rate, 0), Duration::from_secs(3600)).unwrap();
        }
        let full = Control::request(&entry, &region(), wanted(99, 0));
        assert!(matches!(full, Err(ControlError::Full)), "all of them live");
        let request = requests(file.as_file())[0];
        assert_eq!((request.rate, request.lease_ms), (1, 60_000), "a minute at most");
        assert!(is_alive(&request, request.asked_ns + 59_000_000_000));
        assert!(!is_alive(&request, request.asked_ns + 61_000_000_000));
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
