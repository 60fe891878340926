//! Port input and output.

use core::arch::asm;

/// # Safety
/// Writing `value` to `port` must not break memory safety (it must not start a DMA into memory in use, say).
pub(super) unsafe fn write8(port: u16, value: u8) {
    // SAFETY: the caller answers for the device; the instruction touches no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) }
}

/// # Safety
/// As for [`write8`].
pub(super) unsafe fn write16(port: u16, value: u16) {
    // SAFETY: as above.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) }
}

/// # Safety
/// As for [`write8`].
pub(super) unsafe fn write32(port: u16, value: u32) {
    // SAFETY: as above.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) }
}

/// # Safety
/// Reading `port` must have no effect that breaks memory safety.
pub(super) unsafe fn read8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: the caller answers for the device; the instruction touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) }
    value
}

/// # Safety
/// As for [`read8`].
pub(super) unsafe fn read32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as above.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) }
    value
}
