//! A queue from threads to threads.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::sched::WaitQueue;
use crate::sync::SpinLock;

/// First in, first out. What is in it is bounded by those who put: each connection has at most one thing in one of them.
pub(super) struct Mailbox<T> {
    letters: SpinLock<VecDeque<T>>,
    /// How many there are, and [`CLOSED`].
    count: AtomicU32,
    readers: WaitQueue,
}

const CLOSED: u32 = 1 << 31;

impl<T> Mailbox<T> {
    pub(super) const fn new() -> Self {
        Self { letters: SpinLock::new(VecDeque::new()), count: AtomicU32::new(0), readers: WaitQueue::new() }
    }

    pub(super) fn put(&self, letter: T) {
        let mut letters = self.letters.lock();
        letters.push_back(letter);
        // While nobody else can take it: else the count would go below 0, and that bit with it.
        self.count.fetch_add(1, Ordering::Release);
        drop(letters);
        self.readers.wake_one();
    }

    /// The next, if there is one.
    pub(super) fn try_take(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut letters = self.letters.lock();
        let letter = letters.pop_front();
        if letter.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        letter
    }

    /// The next; waits for it. `None` once it is closed.
    pub(super) fn take(&self) -> Option<T> {
        loop {
            let wait = || self.readers.event(&self.count);
            self.readers.wait_until(wait, || self.count.load(Ordering::Acquire) != 0);
            if self.count.load(Ordering::Acquire) & CLOSED != 0 {
                return None;
            }
            // Somebody else may have been faster.
            if let Some(letter) = self.try_take() {
                return Some(letter);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) & !CLOSED == 0
    }

    /// Nobody waits any more.
    pub(super) fn close(&self) {
        self.count.fetch_or(CLOSED, Ordering::Release);
        self.readers.wake_all();
    }
}
