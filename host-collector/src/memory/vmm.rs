//! Guest RAM that only the VMM's process has mapped.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::AtomicU64,
};

use uniprof_wire::address::GuestPhysical;

use super::{GuestMemory, MemoryError, RamMap, Window, ram::io as failed};

/// An entry of `/proc/PID/pagemap`, see the kernel's `admin-guide/mm/pagemap.rst`: the page is present, or it is swapped out.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const ENTRY: u64 = 8;
/// Entries that are read at a time: those of 256 MiB.
const ENTRIES: u64 = 1 << 16;

/// RAM in the address space of another process, read through `/proc/PID/mem`.
///
/// The process is not stopped, nor does it notice: whoever wants memory of one moment stops the guest by other means. What the guest
/// never touched is not in the process's page tables; reading it would put it there, so only pages that `/proc/PID/pagemap` names are
/// read, and all others are zeros. Both files stay with the process that was opened, also when its pid is given to another.
#[derive(Debug)]
pub struct VmmMemory {
    mem: File,
    mem_path: PathBuf,
    pagemap: File,
    pagemap_path: PathBuf,
    page: u64,
    /// Where RAM begins in the process, and how long it is.
    host: Range<u64>,
    map: RamMap,
}

impl VmmMemory {
    /// RAM that lies at `host` in the process; `map` says which guest-physical addresses lie where in it.
    pub fn open(pid: u32, host: Range<u64>, map: RamMap) -> Result<Self, MemoryError> {
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
        Ok(Self { mem, mem_path, pagemap, pagemap_path, page, host, map })
    }

    fn len(&self) -> u64 {
        self.host.end.saturating_sub(self.host.start)
    }

    /// Where a range lies in RAM, as one run.
    fn locate(&self, at: GuestPhysical, len: u64) -> Result<u64, MemoryError> {
        match self.map.file_offset(at) {
            Some((offset, follow))
                if len <= follow && offset.checked_add(len).is_some_and(|end| end <= self.len()) =>
            {
                Ok(offset)
            }
            _ => Err(MemoryError::Absent { at, len }),
        }
    }

    /// The parts of a range of RAM that the process has, in rising order.
    fn touched(&self, ram: Range<u64>) -> Result<Vec<Range<u64>>, MemoryError> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        let first = (self.host.start + ram.start) / self.page;
        let end = (self.host.start + ram.end).div_ceil(self.page);
        let mut entries = vec![0; (ENTRIES.min(end - first) * ENTRY) as usize];
        for chunk in (first..end).step_by(ENTRIES as usize) {
            let entries = &mut entries[..(ENTRIES.min(end - chunk) * ENTRY) as usize];
            self.read_file(&self.pagemap, &self.pagemap_path, entries, chunk * ENTRY)?;
            for (page, entry) in (chunk..).zip(entries.as_chunks::<8>().0) {
                if u64::from_le_bytes(*entry) & (PRESENT | SWAPPED) == 0 {
                    continue;
                }
                let begin = (page * self.page).saturating_sub(self.host.start).max(ram.start);
                let end = ((page + 1) * self.page - self.host.start).min(ram.end);
                match runs.last_mut() {
                    Some(last) if last.end == begin => last.end = end,
                    _ => runs.push(begin..end),
                }
            }
        }
        Ok(runs)
    }

    fn read_file(&self, file: &File, path: &Path, into: &mut [u8], at: u64) -> Result<(), MemoryError> {
        file.read_exact_at(into, at).map_err(|source| {
            // What an address space that is gone answers: nothing.
            let ended = source.kind() == io::ErrorKind::UnexpectedEof;
            failed("read", path, if ended { io::Error::other("the process has ended") } else { source })
        })
    }
}

impl GuestMemory for VmmMemory {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let begin = self.locate(at, into.len() as u64)?;
        into.fill(0);
        for run in self.touched(begin..begin + into.len() as u64)? {
            let part = &mut into[(run.start - begin) as usize..(run.end - begin) as usize];
            self.read_file(&self.mem, &self.mem_path, part, self.host.start + run.start)?;
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(self.map.addresses_of(0..self.len()).collect())
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let touched = self.touched(0..self.len())?;
        let mut found: Vec<_> = touched.into_iter().flat_map(|run| self.map.addresses_of(run)).collect();
        found.sort_by_key(|range| range.start);
        Ok(found)
    }

    /// A copy: what the guest writes later is not seen in it.
    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        if !at.0.is_multiple_of(8) || !len.is_multiple_of(8) {
            return Err(MemoryError::Unaligned { at, len });
        }
        self.locate(at, len)?;
        let mut bytes = vec![0; len as usize];
        self.read(at, &mut bytes)?;
        let words = bytes.as_chunks::<8>().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word)));
        Ok(Window::copied(words.collect()))
    }
}

#[cfg(test)]
mod tests {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::{super::RamExtent, *};

    const MIB: u64 = 1 << 20;

    /// 8 MiB of this very process, the upper half moved to 4 GiB, with two pages that were written to.
    fn with_memory(test: impl FnOnce(&VmmMemory, Range<u64>)) {
        let len = 8 * MIB as usize;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe {
            mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }
        .unwrap()
        .cast::<u8>();
        // SAFETY: both places lie in the mapping, which nobody else knows.
        unsafe {
            base.add(MIB as usize).write_bytes(1, 4096);
            base.add(6 * MIB as usize + 8).write(2);
        }
        let host = base as u64..base as u64 + len as u64;
        let map = RamMap::new(vec![
            RamExtent { gpa: 4 << 30, len: 4 * MIB, offset: 4 * MIB },
            RamExtent { gpa: 0, len: 4 * MIB, offset: 0 },
        ]);
        test(&VmmMemory::open(std::process::id(), host.clone(), map).unwrap(), host);
        // SAFETY: what mmap returned and was asked for; nothing refers to it any more.
        unsafe { munmap(base.cast(), len) }.unwrap();
    }

    /// How many pages of a range this process has.
    fn pages(host: &Range<u64>) -> usize {
        let mut entries = vec![0; ((host.end - host.start) / 4096 * 8) as usize];
        File::open("/proc/self/pagemap").unwrap().read_exact_at(&mut entries, host.start / 4096 * 8).unwrap();
        let present = |entry: &&[u8; 8]| u64::from_le_bytes(**entry) & PRESENT != 0;
        entries.as_chunks::<8>().0.iter().filter(present).count()
    }

    #[test]
    fn what_was_touched_is_read_and_what_was_not_stays_untouched() {
        with_memory(|memory, host| {
            // With transparent huge pages a touch is one of 2 MiB.
            let before = pages(&host);
            let resident = memory.resident().unwrap();
            let holds = |at: u64| resident.iter().any(|range| range.contains(&GuestPhysical(at)));
            assert!(holds(MIB) && holds((4 << 30) + 2 * MIB) && !holds(3 * MIB), "{resident:x?}");
            let mut all = vec![9; 4 * MIB as usize];
            memory.read(GuestPhysical(0), &mut all).unwrap();
            let page = MIB as usize..MIB as usize + 4096;
            assert!((0..all.len()).all(|at| all[at] == u8::from(page.contains(&at))));
            memory.read(GuestPhysical(4 << 30), &mut all).unwrap();
            assert_eq!(all.iter().position(|byte| *byte != 0), Some(2 * MIB as usize + 8));
            assert_eq!(pages(&host), before);
        });
    }

    #[test]
    fn a_read_may_begin_anywhere_and_not_leave_memory() {
        with_memory(|memory, _| {
            let mut bytes = [9; 12];
            memory.read(GuestPhysical(MIB - 5), &mut bytes).unwrap();
            assert_eq!(bytes, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
            assert_eq!(memory.window(GuestPhysical((4 << 30) + 2 * MIB + 8), 8).unwrap().load(0), Some(2));
            assert!(memory.read(GuestPhysical(4 * MIB - 4), &mut bytes).is_err());
            assert!(memory.window(GuestPhysical(0), 1 << 60).is_err());
            assert!(memory.window(GuestPhysical(4), 8).is_err());
        });
    }
}
