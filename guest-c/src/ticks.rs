//! The clock of the probes: ticks, idling, polling.

use uniprof_probes as probe;
use uniprof_probes::expansion;

/// Registers at an interrupt: all that unwinding needs.
#[repr(C)]
pub struct Registers {
    /// Instruction.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Frame pointer, or anything at all.
    pub rbp: u64,
    /// Callee-saved, as are the following.
    pub rbx: u64,
    /// Callee-saved.
    pub r12: u64,
    /// Callee-saved.
    pub r13: u64,
    /// Callee-saved.
    pub r14: u64,
    /// Callee-saved.
    pub r15: u64,
}

impl Registers {
    const fn for_probes(&self) -> probe::Registers {
        let &Self { rip, rsp, rbp, rbx, r12, r13, r14, r15 } = self;
        probe::Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 }
    }
}

/// Takes a sample, its callers found by frame pointers. Call it from the timer interrupt when the time that `uniprof_next_tick` gave has
/// passed, with the interrupted instruction, stack and frame pointer. A kernel whose timer has a fixed rate calls it at each
/// interrupt, and `uniprof_next_tick` after it all the same.
///
/// # Safety
/// From the handler that interrupted the vCPU; ticks don't nest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_tick(rip: u64, rsp: u64, rbp: u64) {
    // SAFETY: the same contract.
    unsafe { probe::tick(rip, rsp, rbp) }
}

/// `uniprof_tick` with every register that unwinding needs, so that a collector may ask for stack snapshots
/// (`record --call-graph dwarf`): for code without frame pointers.
///
/// # Safety
/// As `uniprof_tick`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_tick_with_registers(registers: *const Registers) {
    // SAFETY: the caller vouches for it.
    if let Some(registers) = unsafe { registers.as_ref() } {
        // SAFETY: the same contract.
        unsafe { probe::tick_with_registers(&registers.for_probes()) }
    }
}

/// Clock ticks until the next `uniprof_tick` is due, at most 25 ms; UINT64_MAX where a tick would do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_next_tick() -> u64 {
    probe::next_tick()
}

/// Shows a sign of life, looks at what hosts ask for, and on a vCPU without a timer interrupt (one where `uniprof_next_tick` was never
/// called) takes samples: for event loops and idle loops, at least 40 times a second.
///
/// A sample's stack begins at the caller, which has the time since the call before: a handler that shall be seen calls this at its end.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_poll() {
    core::arch::naked_asm!("jmp {poll}", poll = sym expansion::poll_here)
}

/// `uniprof_poll` of code that did not call it: a sample's stack begins at these registers, which that code has, or goes on with. For the
/// run-time systems of languages: a collector tells, before it begins, where the program stopped. What is not known is 0.
///
/// # Safety
/// `registers` is null or points to registers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_poll_with_registers(registers: *const Registers) {
    // SAFETY: the caller vouches for it.
    if let Some(registers) = unsafe { registers.as_ref() } {
        probe::poll_with_registers(&registers.for_probes());
    }
}

/// Tells that the calling vCPU has come up: its time counts from here, else from its first tick.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_vcpu_online() {
    probe::vcpu_online();
}

/// Call it before the idle loop halts the CPU, with interrupts off: time up to `uniprof_idle_exit` is idle, and never sampled.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_idle_enter() {
    probe::idle_enter();
}

/// Call it when the idle loop goes on, with interrupts off, or from the interrupt that makes a thread ready to run.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_idle_exit() {
    probe::idle_exit();
}

/// States what entering and leaving the sampling interrupt costs, in clock ticks, so that the profiler's own cost has that, too.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_set_interrupt_cost(ticks: u64) {
    probe::set_interrupt_cost(ticks);
}
