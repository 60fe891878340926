//! Guest RAM in a shared memory-backend file.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, path::Path, path::PathBuf};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use uniprof_wire::address::GuestPhysical;

use super::{GuestMemory, MemoryError, RamMap, Window};

/// The file of `-object memory-backend-file,share=on,mem-path=…`, opened read-only.
///
/// What the guest never touched are holes in that file. Reading a hole of a tmpfs file through a mapping allocates the
/// page, for good; so [`GuestMemory::resident`] finds the data with `SEEK_DATA`, and [`GuestMemory::read`] uses `pread`.
#[derive(Debug)]
pub struct RamFile {
    file: File,
    path: PathBuf,
    len: u64,
    map: RamMap,
}

impl RamFile {
    /// Opens the file; `map` says what lies where in it.
    pub fn open(path: &Path, map: RamMap) -> Result<Self, MemoryError> {
        let (file, len) = open_read_only(path)?;
        Ok(Self { file, path: path.into(), len, map })
    }

    /// Where a range lies in the file, as one run.
    fn locate(&self, at: GuestPhysical, len: u64) -> Result<u64, MemoryError> {
        match self.map.file_offset(at) {
            Some((offset, follow))
                if len <= follow && offset.checked_add(len).is_some_and(|end| end <= self.len) =>
            {
                Ok(offset)
            }
            _ => Err(MemoryError::Absent { at, len }),
        }
    }
}

impl GuestMemory for RamFile {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let offset = self.locate(at, into.len() as u64)?;
        self.file.read_exact_at(into, offset).map_err(|source| io("read", &self.path, source))
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(self.map.addresses_of(0..self.len).collect())
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let mut found = Vec::new();
        for data in
            data_extents(&self.file, self.len).map_err(|source| io("look for data in", &self.path, source))?
        {
            found.extend(self.map.addresses_of(data));
        }
        found.sort_by_key(|range| range.start);
        Ok(found)
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        let offset = self.locate(at, len)?;
        map_window(&self.file, &self.path, at, offset, len)
    }
}

/// Opens a file and learns its size, once: the file's size is what every later range is checked against.
pub(super) fn open_read_only(path: &Path) -> Result<(File, u64), MemoryError> {
    let open = || {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok((file, len))
    };
    open().map_err(|source| io("open", path, source))
}

pub(super) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> MemoryError {
    MemoryError::Io { doing, path: path.into(), source }
}

pub(super) fn map_window(
    file: &File,
    path: &Path,
    at: GuestPhysical,
    offset: u64,
    len: u64,
) -> Result<Window, MemoryError> {
    if !offset.is_multiple_of(8) || !len.is_multiple_of(8) || !at.0.is_multiple_of(8) {
        return Err(MemoryError::Unaligned { at, len });
    }
    Window::map(file, offset, len).map_err(|source| io("map", path, source))
}

/// The parts of a file that are not holes.
pub(crate) fn data_extents(file: &File, len: u64) -> std::io::Result<Vec<Range<u64>>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < len {
        let begin = match seek(file, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(begin))?;
        // A file that shrinks meanwhile must not make this loop for ever.
        if end <= begin {
            break;
        }
        extents.push(begin..end.min(len));
        at = end;
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::{super::RamExtent, *};

    const MIB: u64 = 1 << 20;

    /// 8 MiB of guest RAM, the upper half moved to 4 GiB, with two pages of data.
    fn split_ram() -> (tempfile::NamedTempFile, RamFile) {
        let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
        file.as_file().set_len(8 * MIB).unwrap();
        file.as_file().write_all_at(&[1; 4096], MIB).unwrap();
        file.as_file().write_all_at(&[2; 8], 6 * MIB).unwrap();
        let map = RamMap::new(vec![
            RamExtent { gpa: 4 << 30, len: 4 * MIB, offset: 4 * MIB },
            RamExtent { gpa: 0, len: 4 * MIB, offset: 0 },
        ]);
        let ram = RamFile::open(file.path(), map).unwrap();
        (file, ram)
    }

    #[test]
    fn addresses_above_the_hole_are_found() {
        let (_file, ram) = split_ram();
        let mut word = [0; 8];
        ram.read(GuestPhysical((4 << 30) + 2 * MIB), &mut word).unwrap();
        assert_eq!(word, [2; 8]);
        assert_eq!(ram.window(GuestPhysical(MIB), 4096).unwrap().load(511), Some(0x0101_0101_0101_0101));
        let across = ram.read(GuestPhysical(4 * MIB - 4), &mut word);
        assert!(matches!(across, Err(MemoryError::Absent { .. })), "{across:?}");
        assert!(matches!(ram.window(GuestPhysical(MIB + 4), 8), Err(MemoryError::Unaligned { .. })));
        assert!(ram.window(GuestPhysical(u64::MAX - 7), 8).is_err());
    }

    #[test]
    fn looking_for_data_allocates_none() {
        let (file, ram) = split_ram();
        let blocks = || file.as_file().metadata().unwrap().blocks();
        let before = blocks();
        let resident = ram.resident().unwrap();
        assert_eq!(
            resident,
            [
                GuestPhysical(MIB)..GuestPhysical(MIB + 4096),
                GuestPhysical((4 << 30) + 2 * MIB)..GuestPhysical((4 << 30) + 2 * MIB + 4096)
            ]
        );
        let mut page = [0; 4096];
        ram.read(GuestPhysical(3 * MIB), &mut page).unwrap();
        assert_eq!(blocks(), before);
    }

    #[test]
    fn a_map_larger_than_the_file_cannot_be_read_past_its_end() {
        let (file, _) = split_ram();
        let map = RamMap::new(vec![RamExtent { gpa: 0, len: 16 * MIB, offset: 0 }]);
        let ram = RamFile::open(file.path(), map).unwrap();
        assert!(ram.window(GuestPhysical(8 * MIB - 8), 16).is_err());
        assert!(ram.window(GuestPhysical(8 * MIB - 8), 8).is_ok());
        assert_eq!(ram.ranges().unwrap(), [GuestPhysical(0)..GuestPhysical(8 * MIB)]);
    }
}
