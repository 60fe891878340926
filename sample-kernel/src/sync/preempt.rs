//! Holding on to the vCPU.

use core::marker::PhantomData;

use crate::percpu::PerCpu;
use crate::sched;

/// While one is held, the thread is not switched out: interrupts come and go, a switch waits for the end. Cheaper than
/// turning interrupts off, and the sampling tick still sees the code under it.
pub(crate) struct NoPreempt {
    /// Belongs to the vCPU that made it.
    not_send: PhantomData<*mut ()>,
}

impl NoPreempt {
    #[inline]
    pub(crate) fn new() -> Self {
        PerCpu::disable_preemption();
        Self { not_send: PhantomData }
    }

    /// Gives back a guard that was forgotten.
    ///
    /// # Safety
    /// One must have been forgotten on this vCPU, and not been given back since.
    #[inline]
    pub(crate) unsafe fn recall() -> Self {
        Self { not_send: PhantomData }
    }
}

impl Drop for NoPreempt {
    #[inline]
    fn drop(&mut self) {
        if PerCpu::enable_preemption() {
            sched::switch_if_possible();
        }
    }
}
