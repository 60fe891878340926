//! Sleeping until a time, or until somebody rings: for a thread that has devices and other threads to listen to, and deadlines to keep.

use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::{Thread, run};
use crate::percpu::PerCpu;
use crate::probes::{self, SwitchReason, Wait, WaitKind};
use crate::sync::InterruptsOff;
use crate::{arch, tick};

/// Wakes one thread: the one that has claimed it. Rung before he sleeps, he does not.
pub(crate) struct Bell {
    /// Owns a reference, once claimed.
    owner: AtomicPtr<Thread>,
}

impl Bell {
    pub(crate) const fn new() -> Self {
        Self { owner: AtomicPtr::new(ptr::null_mut()) }
    }

    fn owner(&self) -> Option<&Thread> {
        // SAFETY: null, or a thread to which this owns a reference for ever.
        unsafe { self.owner.load(Ordering::Acquire).as_ref() }
    }

    /// Makes it the running thread's, for ever. Each bell has one owner, each thread at most one bell.
    pub(crate) fn claim(&self) {
        self.owner.store(Arc::into_raw(run::current_thread()).cast_mut(), Ordering::Release);
    }

    /// Sleeps until it is rung, but no longer than until that time (TSC). For the owner.
    pub(crate) fn wait_until(&self, wakes_at: u64) {
        let _interrupts = InterruptsOff::new();
        let thread = run::current_thread();
        // Whoever rings either sees this, or is heard below.
        thread.dozes.store(true, Ordering::SeqCst);
        if thread.rung.load(Ordering::SeqCst) == 0 {
            let id = thread.id;
            let wait = Wait {
                kind: WaitKind::Event,
                address: ptr::from_ref(self).addr(),
                word: ptr::from_ref(&thread.rung).addr(),
                until: wakes_at,
                ..Wait::default()
            };
            thread.wakes_at.set(wakes_at);
            probes::wait_begin(id, &wait);
            let cpu = PerCpu::current();
            cpu.sleepers.insert(Arc::clone(&thread));
            tick::wake_no_later_than(cpu, wakes_at);
            run::switch_away(SwitchReason::Blocked);
            probes::wait_end(id);
        }
        thread.dozes.store(false, Ordering::SeqCst);
        // With what whoever rang it has left before.
        thread.rung.swap(0, Ordering::SeqCst);
    }

    /// Wakes the owner. By a thread.
    pub(crate) fn ring(&self) {
        self.wake(probes::woken);
    }

    /// Wakes the owner. By an interrupt handler.
    pub(crate) fn ring_from_interrupt(&self) {
        self.wake(probes::woken_by_interrupt);
    }

    #[inline(always)]
    fn wake(&self, tell: fn(u32)) {
        let Some(owner) = self.owner() else { return };
        if owner.rung.swap(1, Ordering::SeqCst) != 0 || !owner.dozes.load(Ordering::SeqCst) {
            return;
        }
        let _interrupts = InterruptsOff::new();
        tell(owner.id);
        if owner.vcpu == PerCpu::current_id() {
            answer_bells();
        } else {
            // Nobody but its own vCPU may look into a list of sleepers.
            arch::wake_vcpu(owner.vcpu);
        }
    }
}

/// Makes those of this vCPU runnable whose bell has been rung while they slept. Interrupts off.
pub(crate) fn answer_bells() {
    let cpu = PerCpu::current();
    while let Some(thread) = cpu.sleepers.take_rung() {
        run::enqueue(thread);
        cpu.ask_for_switch();
    }
}
