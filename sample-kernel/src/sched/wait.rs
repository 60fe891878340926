//! Waiting for what another thread does.

use super::{Queue, run};
use crate::probes::SwitchReason;
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
    /// [`wake_one`](Self::wake_one) or [`wake_all`](Self::wake_all), is not missed. It must be short and must not block.
    pub(crate) fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        loop {
            let _interrupts = InterruptsOff::new();
            {
                let mut threads = self.threads.lock();
                if condition() {
                    return;
                }
                threads.push(run::current_thread());
            }
            // Interrupts are still off: a wake-up since then has put this thread into the run queue, and the switch finds
            // it there.
            run::switch_away(SwitchReason::Blocked);
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
