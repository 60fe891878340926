//! The first Rust code of the boot vCPU, and the assembly before it.

use core::arch::global_asm;
use core::ops::Range;

use super::{BootInfo, pic, serial};

global_asm!(include_str!("boot.s"));

unsafe extern "C" {
    static boot_stack: u8;
    static boot_stack_top: u8;
}

/// The stack that the boot vCPU starts on, later that of its idle thread.
pub(crate) fn boot_stack_range() -> Range<usize> {
    (&raw const boot_stack).addr()..(&raw const boot_stack_top).addr()
}

#[unsafe(no_mangle)]
extern "C" fn kernel_entry(start_info: usize) -> ! {
    serial::init();
    pic::mask_all();
    // SAFETY: the loader passed this address in ebx, and the heap does not exist yet.
    let info = unsafe { BootInfo::at(start_info) };
    crate::boot::start(info)
}
