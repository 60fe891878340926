//! Switching between two stacks.

unsafe extern "C" {
    fn switch_context(save: *mut usize, next: usize);
}

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
    // What `switch_context` pops (six registers), then the address that it returns to, then the root.
    let image: [usize; 8] = [0, 0, 0, 0, 0, 0, entry as *const () as usize, 0];
    let pointer = top - size_of_val(&image);
    // SAFETY: the caller hands over the stack.
    unsafe { (pointer as *mut [usize; 8]).write(image) };
    pointer
}
