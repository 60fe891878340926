//! Spin locks, for what takes less than a microsecond.

use core::cell::UnsafeCell;
use core::hint;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use super::NoPreempt;
use crate::arch;

/// A spin lock for `lock_api`, held without preemption: a holder that lost its vCPU would let others spin for a time
/// slice, or for ever on the same vCPU. Not for interrupt handlers.
pub(crate) struct RawSpinLock {
    locked: AtomicBool,
}

// SAFETY: `locked` goes from false to true by one winner, and only the winner's `unlock` takes it back.
unsafe impl lock_api::RawMutex for RawSpinLock {
    const INIT: Self = Self { locked: AtomicBool::new(false) };
    type GuardMarker = lock_api::GuardNoSend;

    fn lock(&self) {
        core::mem::forget(NoPreempt::new());
        spin_until_locked(&self.locked);
    }

    fn try_lock(&self) -> bool {
        let guard = NoPreempt::new();
        let locked = !self.locked.swap(true, Ordering::Acquire);
        if locked {
            core::mem::forget(guard);
        }
        locked
    }

    unsafe fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
        // SAFETY: whoever holds the lock has forgotten a guard in `lock` or `try_lock`, on this vCPU.
        drop(unsafe { NoPreempt::recall() });
    }
}

fn spin_until_locked(locked: &AtomicBool) {
    while locked.swap(true, Ordering::Acquire) {
        while locked.load(Ordering::Relaxed) {
            hint::spin_loop();
        }
    }
}

/// Interrupts of this vCPU stay off while one is held.
pub(crate) struct InterruptsOff {
    were_on: bool,
    /// Belongs to the vCPU that made it.
    not_send: PhantomData<*mut ()>,
}

impl InterruptsOff {
    pub(crate) fn new() -> Self {
        let were_on = arch::interrupts_enabled();
        arch::disable_interrupts();
        Self { were_on, not_send: PhantomData }
    }
}

impl Drop for InterruptsOff {
    fn drop(&mut self) {
        if self.were_on {
            // SAFETY: they were on before, so the tables are loaded; what was taken since is given back in reverse order.
            unsafe { arch::enable_interrupts() }
        }
    }
}

/// Data that interrupt handlers share with threads, of one or several vCPUs.
pub(crate) struct InterruptLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: one holder at a time, so `&InterruptLock<T>` gives no more than a `T` passed from hand to hand.
unsafe impl<T: Send> Sync for InterruptLock<T> {}

impl<T> InterruptLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> InterruptGuard<'_, T> {
        let interrupts = InterruptsOff::new();
        spin_until_locked(&self.locked);
        InterruptGuard { lock: self, _interrupts: interrupts }
    }
}

/// The holder's access; fields drop after the lock is free, so interrupts come back last.
pub(crate) struct InterruptGuard<'a, T> {
    lock: &'a InterruptLock<T>,
    _interrupts: InterruptsOff,
}

impl<T> Deref for InterruptGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard is the only holder.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for InterruptGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only holder.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for InterruptGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}
