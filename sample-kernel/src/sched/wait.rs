//! Waiting for what another thread does.

use core::ptr;
use core::sync::atomic::AtomicU32;

use super::{Queue, run};
use crate::probes::{self, SwitchReason, Wait, WaitKind};
use crate::sync::{InterruptLock, InterruptsOff};

/// Threads that wait for a condition.
pub(crate) struct WaitQueue {
    threads: InterruptLock<Queue>,
}

impl WaitQueue {
    pub(crate) const fn new() -> Self {
        Self { threads: InterruptLock::new(Queue::new()) }
    }

    /// Blocks until `condition` is true. It is asked under the queue's lock: whoever makes it true, and then calls
    /// [`wake_one`](Self::wake_one) or [`wake_all`](Self::wake_all), is not missed. It must be short and must not block. `wait` says
    /// what is waited for, for those who look from outside.
    pub(crate) fn wait_until(&self, wait: impl Fn() -> Wait, mut condition: impl FnMut() -> bool) {
        let mut waited = false;
        loop {
            let _interrupts = InterruptsOff::new();
            let thread = run::current_thread();
            let id = thread.id;
            {
                let mut threads = self.threads.lock();
                if condition() {
                    if waited {
                        probes::wait_end(id);
                    }
                    return;
                }
                probes::wait_begin(id, &wait());
                waited = true;
                threads.push(thread);
            }
            // Interrupts are still off: a wake-up since then has put this thread into the run queue, and the switch finds
            // it there.
            run::switch_away(SwitchReason::Blocked);
        }
    }

    /// Blocks until somebody wakes this thread, whatever for. Who was woken before is not remembered.
    pub(crate) fn wait(&self, wait: impl Fn() -> Wait) {
        let mut woken = false;
        self.wait_until(wait, || core::mem::replace(&mut woken, true));
    }

    /// Waiting in this queue until a word is no longer 0.
    pub(crate) fn event(&self, word: &AtomicU32) -> Wait {
        Wait {
            kind: WaitKind::Event,
            address: ptr::from_ref(self).addr(),
            word: ptr::from_ref(word).addr(),
            ..Wait::default()
        }
    }

    pub(crate) fn wake_one(&self) {
        let thread = self.threads.lock().pop();
        if let Some(thread) = thread {
            run::make_runnable(thread);
        }
    }

    pub(crate) fn wake_all(&self) {
        loop {
            let thread = self.threads.lock().pop();
            match thread {
                Some(thread) => run::make_runnable(thread),
                None => return,
            }
        }
    }
}
