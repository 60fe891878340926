//! A list of threads that needs no memory: the links are in the threads, because interrupt handlers cannot allocate.

use alloc::sync::Arc;
use core::ptr;

use super::Thread;

/// First in, first out; owns a reference to each thread in it.
pub(crate) struct Queue {
    first: *const Thread,
    last: *const Thread,
}

// SAFETY: it owns what it points to, and threads may go from vCPU to vCPU as references.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    pub(crate) fn push(&mut self, thread: Arc<Thread>) {
        thread.next.set(ptr::null());
        let thread = Arc::into_raw(thread);
        if self.last.is_null() {
            self.first = thread;
        } else {
            // SAFETY: the queue owns a reference to each of its threads, and `&mut self` the right to its link.
            unsafe { (*self.last).next.set(thread) };
        }
        self.last = thread;
    }

    /// To the front.
    pub(crate) fn push_first(&mut self, thread: Arc<Thread>) {
        thread.next.set(self.first);
        let thread = Arc::into_raw(thread);
        if self.last.is_null() {
            self.last = thread;
        }
        self.first = thread;
    }

    /// Whether the first of them goes before others.
    pub(crate) fn is_urgent(&self) -> bool {
        // SAFETY: the queue owns a reference to each of its threads.
        unsafe { self.first.as_ref() }.is_some_and(|thread| thread.urgent)
    }

    pub(crate) fn pop(&mut self) -> Option<Arc<Thread>> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: made by `Arc::into_raw` in `push`, and taken out here once.
        let thread = unsafe { Arc::from_raw(self.first) };
        self.first = thread.next.replace(ptr::null());
        if self.first.is_null() {
            self.last = ptr::null();
        }
        Some(thread)
    }
}
