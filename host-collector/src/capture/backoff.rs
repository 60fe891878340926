//! How long to wait before a guest that keeps crashing is started again.

use std::time::Duration;

/// The second wait; the first start after a crash is at once.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// A guest that lived for so long has done well.
const WELL: Duration = Duration::from_secs(60);

/// Waits that double from one crash to the next, until a guest has lived for a minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// How long to wait, after a guest that has lived for so long.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= WELL {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).clamp(FIRST, LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_a_guest_has_lived_for_long() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<u128> = (0..12).map(|_| backoff.after(short).as_millis()).collect();
        assert_eq!(waits[..5], [0, 100, 200, 400, 800]);
        assert_eq!(waits[9..], [25_600, 30_000, 30_000]);
        assert_eq!(backoff.after(Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(backoff.after(short).as_millis(), 100);
    }
}
