//! Memory for stacks.

use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use core::ops::Range;

const BYTES: usize = 64 << 10;
const ALIGN: usize = 4096;
/// Written at the low end: a stack that grew over it has run over.
const CANARY: u64 = 0x5afe_57ac_4b07_7011;

/// A stack, from the heap or given.
pub(super) struct Stack {
    range: Range<usize>,
    owned: bool,
}

impl Stack {
    fn layout() -> Layout {
        Layout::from_size_align(BYTES, ALIGN).expect("a power of two")
    }

    pub(super) fn new() -> Self {
        // SAFETY: the layout is not empty.
        let low = unsafe { alloc(Self::layout()) };
        if low.is_null() {
            handle_alloc_error(Self::layout());
        }
        let stack = Self { range: low.addr()..low.addr() + BYTES, owned: true };
        // SAFETY: the memory was just allocated, and is aligned to a page.
        unsafe { stack.canary().write(CANARY) };
        stack
    }

    /// # Safety
    /// `range` must be a stack that stays for ever, aligned to 16 bytes, whose lowest word is not in use.
    pub(super) unsafe fn given(range: Range<usize>) -> Self {
        let stack = Self { range, owned: false };
        // SAFETY: the caller says that the lowest word is free.
        unsafe { stack.canary().write(CANARY) };
        stack
    }

    fn canary(&self) -> *mut u64 {
        self.range.start as *mut u64
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(super) fn ran_over(&self) -> bool {
        // SAFETY: the lowest word of the stack, as written when it was made.
        unsafe { self.canary().read_volatile() != CANARY }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: allocated in `new` with this layout, and given back once.
            unsafe { dealloc(self.range.start as *mut u8, Self::layout()) }
        }
    }
}
