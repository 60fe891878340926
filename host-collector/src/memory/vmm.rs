//! Guest RAM that only the VMM's process has mapped.

use std::{ops::Range, sync::Arc};

use uniprof_wire::address::GuestPhysical;

use super::{
    GuestMemory, MemoryError, RamMap, Window,
    process::{ProcessMemory, ProcessWords},
};

/// RAM in the address space of another process.
///
/// The process is not stopped, nor does it notice: whoever wants memory of one moment stops the guest by other means. What the guest
/// never touched is not read, and seen as zeros: reading it would make the process larger.
#[derive(Debug)]
pub struct VmmMemory {
    process: Arc<ProcessMemory>,
    /// Where RAM begins in the process, and how long it is.
    host: Range<u64>,
    map: RamMap,
}

impl VmmMemory {
    /// RAM that lies at `host` in the process; `map` says which guest-physical addresses lie where in it.
    pub fn open(pid: u32, host: Range<u64>, map: RamMap) -> Result<Self, MemoryError> {
        Ok(Self { process: Arc::new(ProcessMemory::open(pid)?), host, map })
    }

    fn len(&self) -> u64 {
        self.host.end.saturating_sub(self.host.start)
    }

    /// Where a range lies in the process, as one run.
    fn locate(&self, at: GuestPhysical, len: u64) -> Result<u64, MemoryError> {
        match self.map.file_offset(at) {
            Some((offset, follow))
                if len <= follow && offset.checked_add(len).is_some_and(|end| end <= self.len()) =>
            {
                Ok(self.host.start + offset)
            }
            _ => Err(MemoryError::Absent { at, len }),
        }
    }
}

impl GuestMemory for VmmMemory {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let begin = self.locate(at, into.len() as u64)?;
        self.process.read(begin, into)
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        Ok(self.map.addresses_of(0..self.len()).collect())
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let touched = self.process.touched(self.host.clone())?;
        let in_ram = touched.into_iter().map(|run| run.start - self.host.start..run.end - self.host.start);
        let mut found: Vec<_> = in_ram.flat_map(|run| self.map.addresses_of(run)).collect();
        found.sort_by_key(|range| range.start);
        Ok(found)
    }

    /// Every look at it is a system call.
    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        let host = self.locate(at, len)?;
        if !host.is_multiple_of(8) || !at.0.is_multiple_of(8) || !len.is_multiple_of(8) {
            return Err(MemoryError::Unaligned { at, len });
        }
        Ok(Window::of_process(ProcessWords::new(Arc::clone(&self.process), host, (len / 8) as usize)))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::{
        super::{RamExtent, process::PRESENT},
        *,
    };

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
    fn a_window_shows_what_is_written_later_and_touches_nothing() {
        with_memory(|memory, host| {
            let window = memory.window(GuestPhysical(0), 4 * MIB).unwrap();
            let before = pages(&host);
            assert_eq!(
                (window.load(0), window.load((MIB / 8) as usize)),
                (Some(0), Some(0x0101_0101_0101_0101))
            );
            let mut words = [7; 1024];
            assert!(window.copy((MIB / 8) as usize - 512, &mut words));
            assert!(words[..512].iter().all(|word| *word == 0) && words[512..].iter().all(|word| *word != 0));
            assert_eq!(pages(&host), before);
            for place in [MIB, 3 * MIB] {
                // SAFETY: a word in the mapping that the closure's caller keeps; nobody else writes there.
                unsafe { ((host.start + place) as *mut u64).write_volatile(5) };
                assert_eq!(window.load_acquire((place / 8) as usize), Some(5));
            }
            let len = window.len();
            assert!(window.load(len).is_none() && !window.copy(len - 1, &mut words));
        });
    }

    #[test]
    fn memory_of_a_process_that_has_ended_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // It has a heap as soon as it is the program that it is to be.
        let start = loop {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
            let is_sleep = maps.lines().next().is_some_and(|line| line.ends_with("/sleep"));
            let heap = maps.lines().find(|line| line.ends_with("[heap]")).filter(|_| is_sleep);
            if let Some(heap) = heap {
                break u64::from_str_radix(heap.split('-').next().unwrap(), 16).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let map = RamMap::new(vec![RamExtent { gpa: 0, len: 8192, offset: 0 }]);
        let memory = VmmMemory::open(child.id(), start..start + 8192, map).unwrap();
        let window = memory.window(GuestPhysical(0), 8192).unwrap();
        assert!(window.load(0).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(window.load(0), None);
        assert!(!window.copy(0, &mut [0; 4]));
        assert!(matches!(memory.resident(), Err(MemoryError::Ended)));
        assert!(matches!(memory.read(GuestPhysical(0), &mut [0; 8]), Err(MemoryError::Ended)));
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
