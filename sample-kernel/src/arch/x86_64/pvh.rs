//! What the loader hands over: `hvm_start_info` of the PVH protocol.
//! Layout: `xen/include/public/arch-x86/hvm/start_info.h`.

use core::slice;

const MAGIC: u32 = 0x336e_c578;
const USABLE: u32 = 1;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// Usable guest-physical memory.
#[derive(Clone, Copy)]
pub(crate) struct MemoryRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The loader's gift, in memory that the kernel may reuse once it has read it.
#[derive(Clone, Copy)]
pub(crate) struct BootInfo {
    start_info: &'static StartInfo,
}

impl BootInfo {
    /// `None` where `address` does not hold what the protocol says.
    ///
    /// # Safety
    /// `address` must be what the loader passed, mapped one to one, and nobody may write there while the result is used.
    pub(super) unsafe fn at(address: usize) -> Option<Self> {
        if address == 0 || !address.is_multiple_of(4) {
            return None;
        }
        // SAFETY: the caller vouches for the address. The structure holds integers only.
        let start_info = unsafe { &*(address as *const StartInfo) };
        (start_info.magic == MAGIC).then_some(Self { start_info })
    }

    /// The kernel command line without its final zero, at most `limit` bytes of it.
    pub(crate) fn command_line(&self, limit: usize) -> &'static [u8] {
        let start = self.start_info.command_line as *const u8;
        if start.is_null() {
            return &[];
        }
        let mut length = 0;
        // SAFETY: the protocol says: a string with a final zero, in memory below 4 GiB, which is mapped.
        unsafe {
            while length < limit && start.add(length).read_volatile() != 0 {
                length += 1;
            }
            slice::from_raw_parts(start, length)
        }
    }

    /// The machine's usable memory; empty before version 1 of the protocol.
    pub(crate) fn usable_memory(&self) -> impl Iterator<Item = MemoryRange> {
        let map = self.start_info.memory_map as *const MemoryMapEntry;
        let entries: &'static [MemoryMapEntry] = if self.start_info.version == 0 || map.is_null() {
            &[]
        } else {
            // SAFETY: the protocol says: an array of so many entries, in memory that is mapped.
            unsafe { slice::from_raw_parts(map, self.start_info.memory_map_entries as usize) }
        };
        entries
            .iter()
            .filter(|entry| entry.kind == USABLE)
            .map(|entry| MemoryRange { start: entry.address, end: entry.address.saturating_add(entry.size) })
    }
}
