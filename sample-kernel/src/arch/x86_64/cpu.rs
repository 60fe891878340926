//! The processor's own state: the interrupt flag, halting, and the register that finds a vCPU's data.

use core::arch::asm;

use super::descriptors::Descriptors;
use super::msr;

const INTERRUPT_FLAG: u64 = 1 << 9;

/// What the architecture needs of each vCPU's data.
pub(crate) struct VcpuState {
    pub(super) descriptors: Descriptors,
}

impl VcpuState {
    pub(crate) const fn new() -> Self {
        Self { descriptors: Descriptors::new() }
    }
}

pub(crate) fn interrupts_enabled() -> bool {
    let flags: u64;
    // SAFETY: reads the flags through the stack, which `asm!` may use here.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) }
    flags & INTERRUPT_FLAG != 0
}

/// Not `nomem`: what follows must not move before it.
pub(crate) fn disable_interrupts() {
    // SAFETY: keeping interrupts off is always sound.
    unsafe { asm!("cli", options(nostack)) }
}

/// # Safety
/// The descriptor tables must be loaded, and the caller must hold nothing that an interrupt handler takes.
pub(crate) unsafe fn enable_interrupts() {
    // SAFETY: as the caller promises.
    unsafe { asm!("sti", options(nostack)) }
}

/// Enables interrupts and waits for one; returns with interrupts off. No interrupt falls between the two: `sti` takes
/// effect after the instruction behind it.
///
/// # Safety
/// As for [`enable_interrupts`].
pub(crate) unsafe fn wait() {
    // SAFETY: as the caller promises.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}

/// Passes a moment, some microseconds under emulation, by plain instructions: between two looks at a device or a clock, each
/// of which costs an emulator that counts instructions thousands of them.
pub(super) fn linger() {
    const STEPS: u32 = 2_000;
    for step in 0..STEPS {
        core::hint::black_box(step);
    }
    // An emulator that runs all vCPUs on one thread goes on to the next one only here.
    core::hint::spin_loop();
}

pub(crate) fn halt_forever() -> ! {
    loop {
        // SAFETY: a halted vCPU with interrupts off does nothing more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// Makes `data` what [`cpu_local`] gives on this vCPU.
///
/// # Safety
/// The first word of `*data` must be its own address, and it must live for ever.
pub(crate) unsafe fn set_cpu_local<T>(data: *const T) {
    // SAFETY: the register exists in long mode; the caller promises what it points to.
    unsafe { msr::write(msr::GS_BASE, data as u64) }
}

/// The address given to [`set_cpu_local`] on this vCPU.
///
/// # Safety
/// [`set_cpu_local`] must have been called on this vCPU.
#[inline(always)]
pub(crate) unsafe fn cpu_local<T>() -> *const T {
    let data: *const T;
    // SAFETY: the first word at the GS base is the address itself.
    unsafe { asm!("mov {}, gs:[0]", out(reg) data, options(pure, readonly, nostack, preserves_flags)) }
    data
}

/// The 32-bit word at byte `OFFSET` of this vCPU's data.
///
/// # Safety
/// [`set_cpu_local`] must have been called on this vCPU, with data that has such a word.
#[inline(always)]
pub(crate) unsafe fn cpu_local_word<const OFFSET: usize>() -> u32 {
    let word;
    // SAFETY: as the caller promises.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) word, const OFFSET, options(pure, readonly, nostack, preserves_flags));
    }
    word
}

/// Adds 1 to it, in one instruction.
///
/// # Safety
/// As for [`cpu_local_word`]; the word is an atomic.
#[inline(always)]
pub(crate) unsafe fn cpu_local_increment<const OFFSET: usize>() {
    // SAFETY: as the caller promises.
    unsafe { asm!("inc dword ptr gs:[{}]", const OFFSET, options(nostack)) }
}

/// Takes 1 from it, in one instruction; whether it is 0 then.
///
/// # Safety
/// As for [`cpu_local_increment`].
#[inline(always)]
pub(crate) unsafe fn cpu_local_decrement<const OFFSET: usize>() -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "dec dword ptr gs:[{word}]",
            "jz {zero}",
            word = const OFFSET,
            zero = label { return true },
            options(nostack),
        );
    }
    false
}
