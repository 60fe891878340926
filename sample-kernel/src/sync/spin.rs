//! Spin locks, for what takes less than a microsecond.

use core::cell::UnsafeCell;
use core::hint;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Contention, NoPreempt};
use crate::arch;
use crate::probes::LockKind;

/// A spin lock for `lock_api`, held without preemption: a holder that lost its vCPU would let others spin for a time
/// slice, or for ever on the same vCPU. Not for interrupt handlers. With `HOLDER`, observers learn who holds it while others wait.
pub(crate) struct RawSpinLock<const HOLDER: bool> {
    word: SpinWord,
    contention: Contention,
}

/// Data behind such a lock.
pub(crate) type SpinLock<T> = lock_api::Mutex<RawSpinLock<true>, T>;

// SAFETY: the word goes from free to taken by one winner, and only the winner's `unlock` takes it back.
unsafe impl<const HOLDER: bool> lock_api::RawMutex for RawSpinLock<HOLDER> {
    const INIT: Self = Self { word: SpinWord::new(), contention: Contention::new() };
    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) {
        core::mem::forget(NoPreempt::new());
        if !self.word.try_lock() {
            self.word.spin(&self.contention);
        }
        if HOLDER {
            self.contention.taken();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        let guard = NoPreempt::new();
        let locked = self.word.try_lock();
        if locked {
            if HOLDER {
                self.contention.taken();
            }
            core::mem::forget(guard);
        }
        locked
    }

    #[inline]
    unsafe fn unlock(&self) {
        if HOLDER {
            self.contention.released(LockKind::Spin, self.word.address());
        }
        self.word.unlock();
        // SAFETY: whoever holds the lock has forgotten a guard in `lock` or `try_lock`, on this vCPU.
        drop(unsafe { NoPreempt::recall() });
    }
}

/// The word that spin locks turn around.
struct SpinWord(AtomicBool);

impl SpinWord {
    const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    #[cold]
    #[inline(never)]
    fn spin(&self, contention: &Contention) {
        let wait = contention.wait(LockKind::Spin, self.address(), contention.holder());
        while !self.try_lock() {
            while self.0.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        }
        wait.acquired();
    }

    #[inline(always)]
    fn unlock(&self) {
        self.0.store(false, Ordering::Release);
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

/// Data that interrupt handlers share with threads, of one or several vCPUs. Observers learn of waits, not of holders: the scheduler's
/// own locks are taken too often for that.
pub(crate) struct InterruptLock<T> {
    word: SpinWord,
    contention: Contention,
    value: UnsafeCell<T>,
}

// SAFETY: one holder at a time, so `&InterruptLock<T>` gives no more than a `T` passed from hand to hand.
unsafe impl<T: Send> Sync for InterruptLock<T> {}

impl<T> InterruptLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { word: SpinWord::new(), contention: Contention::new(), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> InterruptGuard<'_, T> {
        let interrupts = InterruptsOff::new();
        if !self.word.try_lock() {
            self.word.spin(&self.contention);
        }
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
        self.lock.word.unlock();
    }
}
