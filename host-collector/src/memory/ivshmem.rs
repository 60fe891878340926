//! The shared memory behind an ivshmem device.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use uniprof_wire::{address::GuestPhysical, layout::HEADER_WORDS};

use super::{
    GuestMemory, Home, MemoryError, Window,
    ram::{data_extents, io, map_window, open_read_only},
};

/// Word of the header that names the region's own guest-physical address.
pub(crate) const REGION_GPA_WORD: u64 = 4;

/// The backing file of an ivshmem BAR, opened read-only. It holds a region at its start and nothing else.
///
/// The guest's firmware or kernel chooses the BAR's address, so the host knows it only from the header: until a guest
/// has written one there are no addresses here, and [`GuestMemory::ranges`] is empty.
#[derive(Debug)]
pub struct IvshmemFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl IvshmemFile {
    /// Opens the file, which has its final size.
    pub fn open(path: &Path) -> Result<Self, MemoryError> {
        let (file, len) = open_read_only(path)?;
        Ok(Self { file, path: path.into(), len })
    }

    /// Where the guest says that the file's first byte lies. Read anew each time: nothing is kept that a reboot changes.
    fn base(&self) -> Result<Option<GuestPhysical>, MemoryError> {
        if self.len < HEADER_WORDS as u64 * 8 {
            return Ok(None);
        }
        let mut word = [0; 8];
        self.file
            .read_exact_at(&mut word, REGION_GPA_WORD * 8)
            .map_err(|source| io("read", &self.path, source))?;
        let base = u64::from_le_bytes(word);
        Ok((base != 0 && base.checked_add(self.len).is_some()).then_some(GuestPhysical(base)))
    }

    fn locate(&self, at: GuestPhysical, len: u64) -> Result<u64, MemoryError> {
        let offset = self.base()?.and_then(|base| at.offset_from(base));
        match offset {
            Some(offset) if offset.checked_add(len).is_some_and(|end| end <= self.len) => Ok(offset),
            _ => Err(MemoryError::Absent { at, len }),
        }
    }
}

impl GuestMemory for IvshmemFile {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let offset = self.locate(at, into.len() as u64)?;
        self.file.read_exact_at(into, offset).map_err(|source| io("read", &self.path, source))
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(self.base()?.map(|base| base..GuestPhysical(base.0 + self.len)).into_iter().collect())
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        // An untouched file is not even asked for its header: that page would be allocated by no one but us.
        let data = data_extents(&self.file, self.len)
            .map_err(|source| io("look for data in", &self.path, source))?;
        if data.is_empty() { Ok(Vec::new()) } else { self.ranges() }
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        let offset = self.locate(at, len)?;
        map_window(&self.file, &self.path, at, offset, len)
    }

    fn home(&self) -> Home {
        Home::Start
    }
}
