//! One timer interrupt for everything: samples, time slices, wake-ups. Each vCPU programs its timer for whatever comes first.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::percpu::PerCpu;
use crate::{arch, probes, sched, time};

/// How long a thread runs before others of its vCPU get their turn.
const SLICE_NS: u64 = 10_000_000;
/// How soon is looked again whether an urgent thread has made way.
const URGENT_NS: u64 = 500_000;
/// How often an idle vCPU looks around, so that an observer's wishes are heard.
const IDLE_NS: u64 = 25_000_000;

/// There is no timer interrupt.
static OFF: AtomicBool = AtomicBool::new(false);

/// No vCPU's timer is ever set: what runs does so until it ends, and nobody wakes a sleeper. Before [`start`].
pub(crate) fn switch_off() {
    OFF.store(true, Ordering::Relaxed);
}

/// Starts this vCPU's schedule.
pub(crate) fn start(cpu: &PerCpu) {
    if OFF.load(Ordering::Relaxed) {
        // The probes take a vCPU that never asked them when to tick for one without a timer.
        cpu.next_sample.set(u64::MAX);
        return;
    }
    let now = arch::now();
    cpu.next_sample.set(now.saturating_add(probes::next_tick()));
    cpu.slice_end.set(now.saturating_add(time::ticks(SLICE_NS)));
    program(cpu, now);
}

/// The timer interrupt, with the registers of what it interrupted.
pub(crate) fn on_timer(interrupted: &probes::Registers) {
    let cpu = PerCpu::current();
    PerCpu::disable_preemption();
    let now = arch::now();
    cpu.timer_at.set(u64::MAX);
    sched::wake_sleepers(cpu, now);
    // The idle thread sets the timer itself before it halts again: its samples and slices are long past, and a timer set for
    // the past would interrupt for ever before the instruction after the halt.
    if !cpu.idle.load(Ordering::Relaxed) {
        sample_and_slice(cpu, now, interrupted);
        program(cpu, now);
    }
    // The end of the interrupt looks whether a switch is due.
    let _ = PerCpu::enable_preemption();
}

fn sample_and_slice(cpu: &PerCpu, now: u64, interrupted: &probes::Registers) {
    if now >= cpu.next_sample.get() {
        // SAFETY: this is the handler of the interrupted vCPU, and its thread's stack is mapped.
        unsafe { probes::tick_with_registers(interrupted) };
        // From when it was due, not from when it came: else every tick's lateness would lower the rate for good.
        let next = cpu.next_sample.get().saturating_add(probes::next_tick());
        cpu.next_sample.set(if next > now { next } else { now.saturating_add(probes::next_tick()) });
    }
    if now >= cpu.slice_end.get() && sched::is_urgent() {
        // It is not its slice that ends, but that of the thread behind it.
        cpu.slice_end.set(now.saturating_add(time::ticks(URGENT_NS)));
    } else if now >= cpu.slice_end.get() {
        cpu.slice_end.set(now.saturating_add(time::ticks(SLICE_NS)));
        if !cpu.run_queue.lock().is_empty() {
            cpu.ask_for_switch();
        }
    }
}

fn program(cpu: &PerCpu, now: u64) {
    set(cpu, next_due(cpu), now);
}

fn next_due(cpu: &PerCpu) -> u64 {
    cpu.next_sample.get().min(cpu.slice_end.get()).min(cpu.sleepers.next_wake())
}

fn set(cpu: &PerCpu, at: u64, now: u64) {
    if OFF.load(Ordering::Relaxed) {
        return;
    }
    cpu.timer_at.set(at);
    arch::set_timer(at.saturating_sub(now));
}

/// A thread gets a whole slice; interrupts off. A timer that is set for earlier finds out that it is early.
pub(crate) fn start_slice(cpu: &PerCpu) {
    let now = arch::now();
    cpu.slice_end.set(now.saturating_add(time::ticks(SLICE_NS)));
    wake_no_later_than(cpu, next_due(cpu));
}

/// The slice goes on for another thread; interrupts off.
pub(crate) fn keep_slice(cpu: &PerCpu) {
    wake_no_later_than(cpu, next_due(cpu));
}

/// Interrupts off.
pub(crate) fn wake_no_later_than(cpu: &PerCpu, at: u64) {
    if at < cpu.timer_at.get() {
        set(cpu, at, arch::now());
    }
}

/// Before the halt: nobody is sampled, so only sleepers and the observer count. A timer that is set for earlier stays: to set it costs more
/// than one interrupt for nothing, and a server that is idle between two requests is back before it comes.
pub(crate) fn set_for_idle(cpu: &PerCpu) {
    let look = arch::now().saturating_add(time::ticks(IDLE_NS));
    wake_no_later_than(cpu, cpu.sleepers.next_wake().min(look));
}

/// After idling: sampling times that fell into it are past. They are passed over rather than restarted, because a schedule that
/// starts with each thread would never see those that run for less than a period.
pub(crate) fn leave_idle(cpu: &PerCpu) {
    if let Some(past) = arch::now().checked_sub(cpu.next_sample.get()) {
        let interval = probes::next_tick();
        let passed = (past / interval).saturating_add(1).saturating_mul(interval);
        cpu.next_sample.set(cpu.next_sample.get().saturating_add(passed));
    }
}
