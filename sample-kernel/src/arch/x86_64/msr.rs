//! Model-specific registers.

use core::arch::asm;

pub(super) const APIC_BASE: u32 = 0x1b;
pub(super) const GS_BASE: u32 = 0xc000_0101;

/// # Safety
/// The register must exist on this processor.
pub(super) unsafe fn read(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller says that the register exists.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
/// The register must exist, and the value must leave the processor in a state that the kernel expects.
pub(super) unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller answers for the effect. Not `nomem`: a register can name memory to the processor.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}
