//! The heap: all usable memory behind the kernel's image.

use talc::TalcLock;
use talc::source::Manual;

use crate::arch::{BootInfo, MemoryRange};
use crate::sync::RawSpinLock;

/// What boot maps. Memory above is not used.
const MAPPED_END: u64 = 4 << 30;
const PAGE: u64 = 4096;

#[global_allocator]
static HEAP: TalcLock<RawSpinLock, Manual> = TalcLock::new(Manual);

unsafe extern "C" {
    static __kernel_end: u8;
}

/// Bytes of usable memory that the machine has.
pub(crate) fn usable_bytes(info: &BootInfo) -> u64 {
    info.usable_memory().map(|range| range.end - range.start).sum()
}

/// Gives the heap its memory: the largest usable range behind the image. False when there is none.
///
/// # Safety
/// Once, before the first allocation, when nothing of the loader's is needed any more: the heap overwrites it.
pub(crate) unsafe fn init(info: &BootInfo) -> bool {
    let image_end = (&raw const __kernel_end).addr() as u64;
    let largest = info
        .usable_memory()
        .map(|range| MemoryRange {
            start: range.start.max(image_end),
            end: range.end.min(MAPPED_END) & !(PAGE - 1),
        })
        .filter(|range| range.start < range.end)
        .max_by_key(|range| range.end - range.start);
    let Some(range) = largest else { return false };
    // SAFETY: usable memory, mapped one to one, behind the image; the caller says that nobody else uses it.
    unsafe { HEAP.lock().claim(range.start as *mut u8, (range.end - range.start) as usize) }.is_some()
}
