//! Switching between two stacks.

use crate::probes::SavedRegisters;

unsafe extern "C" {
    fn switch_context(save: *mut usize, next: usize);
    static switch_context_resumes_at: u64;
}

/// Registers that `switch_context` pushes below its return address.
const PUSHED: usize = 6;

/// Leaves this stack, its pointer in `*save`, and goes on where the stack at `next` was left. Returns when somebody
/// switches back.
///
/// # Safety
/// Interrupts off. `next` must come from an earlier switch or from [`first_stack_pointer`], and be used once.
pub(crate) unsafe fn switch(save: *mut usize, next: usize) {
    // SAFETY: as the caller promises.
    unsafe { switch_context(save, next) }
}

/// Prepares the stack that ends at `top` so that the first switch to it enters `entry`. Its root is a frame pointer of 0
/// and a return address of 0: where a walk of the frame pointers ends.
///
/// # Safety
/// The bytes below `top` must be a stack that nobody uses; `top` must be a multiple of 16.
pub(crate) unsafe fn first_stack_pointer(top: usize, entry: extern "C" fn() -> !) -> usize {
    // What `switch_context` pops, then the address that it returns to, then the root.
    let mut image = [0; PUSHED + 2];
    image[PUSHED] = entry as *const () as usize;
    let pointer = top - size_of_val(&image);
    // SAFETY: the caller hands over the stack.
    unsafe { (pointer as *mut [usize; PUSHED + 2]).write(image) };
    pointer
}

/// Where a stack goes on that a switch has left at `stack_pointer`.
pub(crate) fn saved(stack_pointer: usize) -> SavedRegisters {
    // SAFETY: a constant in read-only memory.
    let rip = unsafe { switch_context_resumes_at };
    SavedRegisters {
        rip,
        rsp: stack_pointer as u64,
        // The first of them is the frame pointer, which lies below the return address: a frame record.
        rbp: (stack_pointer + (PUSHED - 1) * size_of::<usize>()) as u64,
    }
}

/// Where a stack of [`first_stack_pointer`] begins.
pub(crate) fn saved_first(stack_pointer: usize, entry: extern "C" fn() -> !) -> SavedRegisters {
    SavedRegisters {
        rip: entry as *const () as u64,
        rsp: (stack_pointer + (PUSHED + 1) * size_of::<usize>()) as u64,
        rbp: 0,
    }
}
