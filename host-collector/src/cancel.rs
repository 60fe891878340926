//! A token that ends every wait of this crate early: Ctrl-C is the binary's to catch, this is how it says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a wait may sleep before it looks at its token again: well below what a person notices.
const SLICE: Duration = Duration::from_millis(20);

/// Set once, seen by every clone. Waits of this crate notice it within 20 ms.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A token that nobody has set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the waits. Async-signal-safe: one atomic store.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody has set it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The flag itself, for crates that set an `AtomicBool` from a signal handler.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Sleeps, and returns false where the token ended the sleep.
    pub fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.is_cancelled() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_with_the_token() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let begin = Instant::now();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            other.cancel();
        });
        assert!(!cancel.sleep(Duration::from_secs(20)));
        assert!(begin.elapsed() < Duration::from_secs(5));
        waker.join().unwrap();
    }

    #[test]
    fn a_sleep_without_the_token_lasts() {
        let begin = Instant::now();
        assert!(Cancel::new().sleep(Duration::from_millis(30)));
        assert!(begin.elapsed() >= Duration::from_millis(30));
    }
}
