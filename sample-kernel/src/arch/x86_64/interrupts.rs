//! Interrupt set-up of a vCPU, and what an interrupt costs.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{VcpuState, apic, descriptors, trap, tsc};

static GATES_FILLED: AtomicBool = AtomicBool::new(false);

/// Loads this vCPU's descriptor tables and switches its local APIC on. The first call must be on the boot vCPU, before
/// others run.
///
/// # Safety
/// Once for each vCPU, with interrupts off, with a state of its own.
pub(crate) unsafe fn start_interrupts(state: &'static VcpuState) {
    if !GATES_FILLED.swap(true, Ordering::Relaxed) {
        // SAFETY: the first call, while only the boot vCPU runs.
        unsafe { descriptors::fill_gates() };
    }
    // SAFETY: as the caller promises.
    unsafe { state.descriptors.load() };
    apic::enable();
}

/// TSC ticks of one interrupt that does nothing: entry, saving and restoring of registers, return. The smallest of many,
/// so that a host which takes the vCPU away does not count.
pub(crate) fn interrupt_cost() -> u64 {
    const ROUNDS: u32 = 1000;
    let mut empty = u64::MAX;
    let mut cost = u64::MAX;
    for _ in 0..ROUNDS {
        let start = tsc::now();
        empty = empty.min(tsc::now() - start);
        let start = tsc::now();
        // SAFETY: the gate of this vector runs a handler that does nothing, on a stack of its own.
        unsafe { asm!("int {}", const trap::CALIBRATION) };
        cost = cost.min(tsc::now() - start);
    }
    cost.saturating_sub(empty)
}
