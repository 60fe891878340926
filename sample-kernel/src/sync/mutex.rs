//! A lock that blocks the thread.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use super::Contention;
use crate::probes::{LockKind, Wait, WaitKind};
use crate::sched::{self, WaitQueue};

const NOBODY: u32 = 0;
/// Whoever runs before there are threads, or when none does: such code has no number.
const NO_THREAD: u32 = u32::MAX;

/// Mutual exclusion between threads. A thread that finds it taken sleeps until the holder lets go. Fair enough: the
/// longest waiter is woken, and may lose to a newcomer.
#[repr(C)]
pub(crate) struct Mutex<T> {
    /// The holder's number; 0 while it is free. First, so that who has the lock's address has its owner.
    owner: AtomicU32,
    waiters: WaitQueue,
    contention: Contention,
    value: UnsafeCell<T>,
}

// SAFETY: one holder at a time, so `&Mutex<T>` gives no more than a `T` passed from hand to hand.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            owner: AtomicU32::new(NOBODY),
            waiters: WaitQueue::new(),
            contention: Contention::new(),
            value: UnsafeCell::new(value),
        }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        if !self.try_take() {
            self.wait_for_holder();
        }
        MutexGuard { mutex: self }
    }

    #[cold]
    #[inline(never)]
    fn wake_waiter(&self) {
        // Since when it was held is not known: every lock that is free would pay for looking at the clock.
        self.contention.released(LockKind::Blocking, self.address());
        self.waiters.wake_one();
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    fn try_take(&self) -> bool {
        let taker = match sched::current_id() {
            NOBODY => NO_THREAD,
            id => id,
        };
        self.owner.compare_exchange(NOBODY, taker, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn wait_for_holder(&self) {
        let wait = || Wait {
            kind: WaitKind::Lock,
            address: self.address(),
            word: ptr::from_ref(&self.owner).addr(),
            owner: self.owner.load(Ordering::Relaxed),
            until: 0,
        };
        let holder = match self.owner.load(Ordering::Relaxed) {
            NO_THREAD => NOBODY,
            thread => thread,
        };
        let waiting = self.contention.wait(LockKind::Blocking, self.address(), holder);
        self.waiters.wait_until(wait, || self.try_take());
        waiting.acquired();
    }
}

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard is the only holder.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only holder.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Either who is about to wait sees the lock free, or he is seen waiting here.
        self.mutex.owner.store(NOBODY, Ordering::SeqCst);
        if self.mutex.contention.waiting() {
            self.mutex.wake_waiter();
        }
    }
}
