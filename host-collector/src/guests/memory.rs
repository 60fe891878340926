//! The memory of a guest, by what its entry says of it.

use std::{path::PathBuf, sync::Arc};

use super::GuestEntry;
use crate::{
    memory::{FoundRegion, GuestMemory, IvshmemFile, JoinedMemory, MemoryError, RamFile, VmmMemory},
    qemu::Placement,
};

impl GuestEntry {
    /// Opens the memory that holds the region.
    pub fn open_memory(&self) -> Result<Box<dyn GuestMemory>, MemoryError> {
        if self.port.is_some() {
            return Err(MemoryError::NotShared);
        }
        if !self.is_ours() {
            return self.open_found();
        }
        Ok(match self.placement {
            Placement::Ivshmem => Box::new(IvshmemFile::open(&self.memory_file)?),
            Placement::Ram => {
                Box::new(RamFile::open(&self.memory_file, self.ram_map.clone().unwrap_or_default())?)
            }
        })
    }

    /// Opens all of the guest's memory: RAM, and the BAR where the region lies in one. Only the region where RAM is no shared file.
    pub fn open_all_memory(&self) -> Result<Arc<dyn GuestMemory>, MemoryError> {
        let (true, Placement::Ivshmem, Some(_)) = (self.is_ours(), self.placement, &self.ram_file) else {
            return self.open_memory().map(Arc::from);
        };
        let Some(ram) = self.open_ram()? else { return self.open_memory().map(Arc::from) };
        Ok(Arc::new(JoinedMemory::new(ram, IvshmemFile::open(&self.memory_file)?)))
    }

    /// RAM, however it can be reached, and the BAR of an ivshmem device: a guest that something else has started may have its region in
    /// either.
    fn open_found(&self) -> Result<Box<dyn GuestMemory>, MemoryError> {
        let bar = match self.placement {
            Placement::Ivshmem => Some(IvshmemFile::open(&self.memory_file)?),
            Placement::Ram => None,
        };
        match (self.open_ram()?, bar) {
            (Some(ram), Some(bar)) => Ok(Box::new(JoinedMemory::new(ram, bar))),
            (Some(ram), None) => Ok(ram),
            (None, Some(bar)) => Ok(Box::new(bar)),
            (None, None) => Err(MemoryError::NotShared),
        }
    }

    fn open_ram(&self) -> Result<Option<Box<dyn GuestMemory>>, MemoryError> {
        let map = self.ram_map.clone().unwrap_or_default();
        Ok(match (&self.ram_file, &self.ram_in_process) {
            (Some(file), _) => Some(Box::new(RamFile::open(file, map)?)),
            (None, Some(host)) => Some(Box::new(VmmMemory::open(self.pid, host.clone(), map)?)),
            (None, None) => None,
        })
    }

    /// Where a region that was found lies.
    #[must_use]
    pub fn placement_of(&self, region: &FoundRegion) -> Placement {
        let in_ram = || self.ram_map.as_ref().is_some_and(|map| map.file_offset(region.at).is_some());
        match self.placement {
            Placement::Ivshmem if !self.is_ours() && in_ram() => Placement::Ram,
            placement => placement,
        }
    }

    /// The file that can be mapped to write to a region's control page, and where in it the region begins; `None` where the region lies in
    /// memory that no other process can map.
    pub(crate) fn file_of(&self, region: &FoundRegion) -> Option<(PathBuf, u64)> {
        match self.placement_of(region) {
            Placement::Ivshmem => Some((self.memory_file.clone(), 0)),
            Placement::Ram => {
                let (offset, _) = self.ram_map.as_ref()?.file_offset(region.at)?;
                let file = if self.is_ours() { Some(&self.memory_file) } else { self.ram_file.as_ref() };
                Some((file?.clone(), offset))
            }
        }
    }
}
