//! Guest RAM and the BAR of an ivshmem device, as one memory.

use std::ops::Range;

use uniprof_wire::{address::GuestPhysical, layout::PAGE};

use super::{GuestMemory, IvshmemFile, MemoryError, Window};

/// No processor has wider physical addresses.
const ADDRESS_BITS: u32 = 52;

/// All of a guest's memory where the region lies in an ivshmem device.
///
/// Where the BAR lies is the guest's own word for it, in the header of the region. So what RAM has is always read from RAM, and a BAR
/// that would lie over it, or where no memory can be, is left out.
pub struct JoinedMemory {
    ram: Box<dyn GuestMemory>,
    bar: IvshmemFile,
}

impl JoinedMemory {
    /// Both.
    #[must_use]
    pub fn new(ram: Box<dyn GuestMemory>, bar: IvshmemFile) -> Self {
        Self { ram, bar }
    }

    /// Where the BAR lies, if the guest has said so, and if that can be.
    pub fn bar(&self) -> Result<Option<Range<GuestPhysical>>, MemoryError> {
        let Some(bar) = self.bar.ranges()?.pop() else { return Ok(None) };
        let possible = bar.start.0.is_multiple_of(PAGE as u64) && bar.end.0 <= 1 << ADDRESS_BITS;
        let free = self.ram.ranges()?.iter().all(|ram| ram.end <= bar.start || bar.end <= ram.start);
        Ok((possible && free).then_some(bar))
    }

    fn with_bar(
        &self,
        mut ranges: Vec<Range<GuestPhysical>>,
    ) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        ranges.extend(self.bar()?);
        ranges.sort_by_key(|range| range.start);
        Ok(ranges)
    }

    /// Whether this is to be read from the BAR.
    fn is_in_bar(&self, at: GuestPhysical) -> Result<bool, MemoryError> {
        let in_ram = self.ram.ranges()?.iter().any(|range| range.contains(&at));
        Ok(!in_ram && self.bar()?.is_some_and(|bar| bar.contains(&at)))
    }
}

impl GuestMemory for JoinedMemory {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        if self.is_in_bar(at)? { self.bar.read(at, into) } else { self.ram.read(at, into) }
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        self.with_bar(self.ram.ranges()?)
    }

    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        self.with_bar(self.ram.resident()?)
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        if self.is_in_bar(at)? { self.bar.window(at, len) } else { self.ram.window(at, len) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::{
        super::{RamExtent, RamFile, RamMap},
        *,
    };

    const MIB: u64 = 1 << 20;

    /// 4 MiB of RAM at 0 that holds 1s at 1 MiB, and a BAR of 64 KiB that says that it lies at `bar`.
    fn joined(bar: u64) -> (JoinedMemory, [tempfile::NamedTempFile; 2]) {
        let file = |bytes: u64| {
            let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
            file.as_file().set_len(bytes).unwrap();
            file
        };
        let files = [file(4 * MIB), file(64 << 10)];
        files[0].as_file().write_all_at(&[1; 4096], MIB).unwrap();
        files[1].as_file().write_all_at(&bar.to_le_bytes(), 32).unwrap();
        files[1].as_file().write_all_at(&[2; 8], 8192).unwrap();
        let map = RamMap::new(vec![RamExtent { gpa: 0, len: 4 * MIB, offset: 0 }]);
        let ram = RamFile::open(files[0].path(), map).unwrap();
        (JoinedMemory::new(Box::new(ram), IvshmemFile::open(files[1].path()).unwrap()), files)
    }

    fn word(memory: &JoinedMemory, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        memory.read(GuestPhysical(at), &mut bytes).ok()?;
        assert_eq!(memory.window(GuestPhysical(at), 8).unwrap().load(0), Some(u64::from_le_bytes(bytes)));
        Some(u64::from_le_bytes(bytes))
    }

    #[test]
    fn each_address_is_read_from_where_it_lies() {
        let (memory, _files) = joined(0xfe00_0000);
        assert_eq!(word(&memory, MIB), Some(0x0101_0101_0101_0101));
        assert_eq!(word(&memory, 0xfe00_2000), Some(0x0202_0202_0202_0202));
        assert_eq!(word(&memory, 8 * MIB), None);
        let bar = GuestPhysical(0xfe00_0000)..GuestPhysical(0xfe01_0000);
        assert_eq!(memory.ranges().unwrap(), [GuestPhysical(0)..GuestPhysical(4 * MIB), bar.clone()]);
        let resident = memory.resident().unwrap();
        assert_eq!(resident, [GuestPhysical(MIB)..GuestPhysical(MIB + 4096), bar]);
    }

    #[test]
    fn a_bar_where_there_is_ram_or_can_be_nothing_is_left_out() {
        for at in [0, MIB, 4 * MIB - 4096, 0xfe00_0010, 1 << 52, u64::MAX - (1 << 20) + 1] {
            let (memory, _files) = joined(at);
            assert_eq!(memory.bar().unwrap(), None, "{at:#x}");
            assert_eq!(word(&memory, MIB), Some(0x0101_0101_0101_0101));
        }
    }
}
