//! Where the RAM of a QEMU that something else has started can be read.

use std::{fs::File, ops::Range, path::PathBuf};

use super::{Candidate, Vmm};
use crate::memory::{GuestMemory, MemoryError, RamExtent, RamFile, RamMap, VmmMemory};

/// A mapping of the process, taken for RAM.
pub(super) struct Place {
    pub(super) reach: Reach,
    /// Which guest-physical addresses lie where in it.
    pub(super) map: RamMap,
}

/// How it is read.
pub(super) enum Reach {
    /// From the file that the process shares with others: that can be mapped, and shows its holes.
    File(PathBuf),
    /// In the process.
    Process(Range<u64>),
}

impl Place {
    pub(super) fn of(vmm: &Vmm, candidate: &Candidate, map: &RamMap) -> Self {
        let shared = candidate.shared.as_ref().and_then(|shared| Some((shared, vmm.descriptor(shared)?)));
        // Whoever may read the process may not be allowed to open its files.
        match shared.filter(|(_, path)| File::open(path).is_ok()) {
            Some((shared, path)) => {
                let moved = |run: &RamExtent| RamExtent { offset: run.offset + shared.offset, ..*run };
                Self { reach: Reach::File(path), map: RamMap::new(map.extents().iter().map(moved).collect()) }
            }
            None => Self { reach: Reach::Process(candidate.host.clone()), map: map.clone() },
        }
    }

    pub(super) fn open(&self, pid: u32) -> Result<Box<dyn GuestMemory>, MemoryError> {
        Ok(match &self.reach {
            Reach::File(path) => Box::new(RamFile::open(path, self.map.clone())?),
            Reach::Process(host) => Box::new(VmmMemory::open(pid, host.clone(), self.map.clone())?),
        })
    }
}
