//! The heap: all usable memory behind the kernel's image.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU64, Ordering};

use talc::TalcLock;
use talc::source::Manual;

use crate::arch::{BootInfo, MemoryRange};
use crate::crash::out_of_memory;
use crate::probes;
use crate::sync::RawSpinLock;

/// What boot maps. Memory above is not used.
const MAPPED_END: u64 = 4 << 30;
const PAGE: u64 = 4096;

/// Its lock tells of waits only: every allocation would pay for telling who made others wait.
static HEAP: TalcLock<RawSpinLock<false>, Manual> = TalcLock::new(Manual);

/// What `alloc` and its users get. It ends the kernel where memory runs out, so that the crash record says so: their own
/// way out is a panic like any other. Who can do without asks [`try_alloc`].
struct Heap;

#[global_allocator]
static GLOBAL: Heap = Heap;

// SAFETY: `TalcLock` keeps the contract; what is added does not return, or only counts.
unsafe impl GlobalAlloc for Heap {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { if probes::watching_heap() { observed::alloc(layout) } else { plain::alloc(layout) } }
    }

    /// Counts as giving back and allocating anew, wherever the block ends up.
    #[inline(always)]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let observed = probes::watching_heap();
        // SAFETY: as the caller promises.
        unsafe {
            if observed {
                observed::realloc(memory, layout, bytes)
            } else {
                plain::realloc(memory, layout, bytes)
            }
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe {
            if probes::watching_heap() {
                observed::dealloc(memory, layout)
            } else {
                plain::dealloc(memory, layout)
            }
        }
    }
}

/// A new block, or the end.
#[inline(always)]
fn or_end(memory: *mut u8, bytes: usize, align: usize) -> *mut u8 {
    if memory.is_null() {
        out_of_memory(bytes, align);
    }
    memory
}

/// The heap for itself. Not inlined, nor is [`observed`]: who is not observed pays for a look whether he is, and for nothing else.
mod plain {
    use super::{GlobalAlloc, HEAP, Layout, or_end};

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    pub(super) unsafe fn alloc(layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        or_end(unsafe { HEAP.alloc(layout) }, layout.size(), layout.align())
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    pub(super) unsafe fn realloc(memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        or_end(unsafe { HEAP.realloc(memory, layout, bytes) }, bytes, layout.align())
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    pub(super) unsafe fn dealloc(memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { HEAP.dealloc(memory, layout) }
    }
}

/// The heap, and what observers are told of it.
mod observed {
    use super::{Layout, plain, probes};

    /// # Safety
    /// As for [`super::GlobalAlloc::alloc`].
    #[inline(never)]
    pub(super) unsafe fn alloc(layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let memory = unsafe { plain::alloc(layout) };
        probes::allocated(memory.addr(), layout.size());
        memory
    }

    /// # Safety
    /// As for [`super::GlobalAlloc::realloc`].
    #[inline(never)]
    pub(super) unsafe fn realloc(memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        probes::freed(memory.addr(), layout.size());
        // SAFETY: as the caller promises.
        let memory = unsafe { plain::realloc(memory, layout, bytes) };
        probes::allocated(memory.addr(), bytes);
        memory
    }

    /// # Safety
    /// As for [`super::GlobalAlloc::dealloc`].
    #[inline(never)]
    pub(super) unsafe fn dealloc(memory: *mut u8, layout: Layout) {
        probes::freed(memory.addr(), layout.size());
        // SAFETY: as the caller promises.
        unsafe { plain::dealloc(memory, layout) }
    }
}

/// Memory from the heap, or null: for those who can go on without. `alloc::alloc::dealloc` takes it back.
///
/// # Safety
/// The layout must not be empty.
pub(crate) unsafe fn try_alloc(layout: Layout) -> *mut u8 {
    // SAFETY: as the caller promises.
    let memory = unsafe { HEAP.alloc(layout) };
    if !memory.is_null() {
        probes::allocated(memory.addr(), layout.size());
    }
    memory
}

/// Bytes that the heap was given.
static BYTES: AtomicU64 = AtomicU64::new(0);

/// How large the heap is.
pub(crate) fn bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}

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
    BYTES.store(range.end - range.start, Ordering::Relaxed);
    // SAFETY: usable memory, mapped one to one, behind the image; the caller says that nobody else uses it.
    unsafe { HEAP.lock().claim(range.start as *mut u8, (range.end - range.start) as usize) }.is_some()
}
