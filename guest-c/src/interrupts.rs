//! Interrupts.

use uniprof_probes as probe;

/// The handler of an interrupt begins: the time, to be given to `uniprof_interrupt_exit`.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_interrupt_enter() -> u64 {
    probe::interrupt_enter()
}

/// The handler of an interrupt is through that began at `begin`, on the interrupted vCPU, before it switches threads. `vector` is its
/// number, as the processor counts.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_interrupt_exit(vector: u32, begin: u64) {
    probe::interrupt_exit(vector, begin);
}
