//! Sleeping until a time.

use alloc::sync::Arc;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::Ordering;

use super::{Thread, run};
use crate::percpu::PerCpu;
use crate::probes::{self, SwitchReason, Wait, WaitKind};
use crate::sync::InterruptsOff;
use crate::{arch, tick, time};

/// One vCPU's sleeping threads, the earliest first; owns a reference to each. Only that vCPU uses it, interrupts off.
pub(crate) struct SleepList {
    first: Cell<*const Thread>,
}

impl SleepList {
    pub(crate) const fn new() -> Self {
        Self { first: Cell::new(ptr::null()) }
    }

    /// When the first of them wakes; `u64::MAX` when nobody sleeps.
    pub(crate) fn next_wake(&self) -> u64 {
        // SAFETY: the list owns references to its threads.
        unsafe { self.first.get().as_ref() }.map_or(u64::MAX, |thread| thread.wakes_at.get())
    }

    pub(super) fn insert(&self, thread: Arc<Thread>) {
        let thread = Arc::into_raw(thread);
        // SAFETY: `thread` and what the list points to are alive: the list owns references to them.
        unsafe {
            let mut link = &self.first;
            while let Some(other) = link.get().as_ref()
                && other.wakes_at.get() <= (*thread).wakes_at.get()
            {
                link = &other.next;
            }
            (*thread).next.set(link.replace(thread));
        }
    }

    /// Takes out one whose bell has been rung.
    pub(super) fn take_rung(&self) -> Option<Arc<Thread>> {
        // SAFETY: the list owns references to its threads, until one is taken out, here and once.
        unsafe {
            let mut link = &self.first;
            while let Some(thread) = link.get().as_ref() {
                if thread.dozes.load(Ordering::SeqCst) && thread.rung.load(Ordering::SeqCst) != 0 {
                    link.set(thread.next.replace(ptr::null()));
                    return Some(Arc::from_raw(thread));
                }
                link = &thread.next;
            }
        }
        None
    }

    fn pop(&self) -> Option<Arc<Thread>> {
        let first = self.first.get();
        if first.is_null() {
            return None;
        }
        // SAFETY: made by `Arc::into_raw` in `insert`, and taken out here once.
        let thread = unsafe { Arc::from_raw(first) };
        self.first.set(thread.next.replace(ptr::null()));
        Some(thread)
    }
}

/// Blocks the thread for at least `nanoseconds`.
pub(crate) fn sleep(nanoseconds: u64) {
    sleep_until(arch::now().saturating_add(time::ticks(nanoseconds)));
}

/// Blocks the thread until at least that time (TSC).
pub(crate) fn sleep_until(wakes_at: u64) {
    let _interrupts = InterruptsOff::new();
    let thread = run::current_thread();
    thread.wakes_at.set(wakes_at);
    let id = thread.id;
    probes::wait_begin(id, &Wait { kind: WaitKind::Sleep, until: wakes_at, ..Wait::default() });
    let cpu = PerCpu::current();
    cpu.sleepers.insert(thread);
    tick::wake_no_later_than(cpu, wakes_at);
    run::switch_away(SwitchReason::Sleeping);
    probes::wait_end(id);
}

/// Makes those runnable whose time has come, and asks for a switch if there were any. From the timer interrupt.
pub(crate) fn wake_sleepers(cpu: &PerCpu, now: u64) {
    while cpu.sleepers.next_wake() <= now {
        let Some(thread) = cpu.sleepers.pop() else { return };
        probes::woken_by_interrupt(thread.id);
        run::enqueue(thread);
        cpu.ask_for_switch();
    }
}
