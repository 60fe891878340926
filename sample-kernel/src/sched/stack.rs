//! Memory for stacks.

use alloc::alloc::{Layout, alloc, dealloc};
use core::ops::Range;

use crate::arch;

const BYTES: usize = 64 << 10;
const PAGE: usize = 4096;
/// Written at the low end: a stack that grew over it has run over, whatever the guard page made of that.
const CANARY: u64 = 0x5afe_57ac_4b07_7011;

/// A stack, from the heap with a guard page below it, or given.
pub(crate) struct Stack {
    range: Range<usize>,
    owned: bool,
}

impl Stack {
    /// The guard page and the stack.
    fn layout() -> Layout {
        Layout::from_size_align(PAGE + BYTES, PAGE).expect("a page is a power of two")
    }

    pub(crate) fn new() -> Self {
        // SAFETY: the layout is not empty.
        let guard = unsafe { alloc(Self::layout()) };
        // Where no guard can be had, the canary is left.
        // SAFETY: the first page of what was just allocated, which is used for nothing else.
        let _ = unsafe { arch::set_guard(guard.addr(), true) };
        let low = guard.addr() + PAGE;
        let stack = Self { range: low..low + BYTES, owned: true };
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

    pub(crate) fn range(&self) -> Range<usize> {
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
            let guard = self.range.start - PAGE;
            // SAFETY: made a guard in `new`; allocated there with this layout, and given back once.
            unsafe {
                arch::set_guard(guard, false);
                dealloc(guard as *mut u8, Self::layout());
            }
        }
    }
}

/// Whether the address lies in the page below a stack, where a stack that runs over ends up.
pub(crate) fn is_below(stack: &Range<usize>, address: u64) -> bool {
    (stack.start.saturating_sub(PAGE)..stack.start).contains(&(address as usize))
}
