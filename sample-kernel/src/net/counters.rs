//! What has gone over the wire, counted.

use core::sync::atomic::{AtomicU64, Ordering};

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Shorter than it says, or not what it says.
    Malformed,
    Checksum,
    /// For another machine.
    NotForUs,
    /// TCP to a port where nobody listens, or beyond the bound: answered with a reset.
    NoListener,
    /// A protocol that this machine does not speak.
    Unknown,
    /// Of those to be sent: the device has taken no frame for a while.
    QueueFull,
}

impl Drop {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Malformed, "malformed"),
        (Self::Checksum, "checksum"),
        (Self::NotForUs, "not_for_us"),
        (Self::NoListener, "no_listener"),
        (Self::Unknown, "unknown_protocol"),
        (Self::QueueFull, "queue_full"),
    ];
}

/// Counts of this kernel's own, beside the probes.
pub(crate) struct Counters {
    pub(crate) packets_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) packets_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    drops: [AtomicU64; Drop::ALL.len()],
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
    /// Of those: by a reset from the client, or because it took too long.
    pub(crate) reset: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    /// Connections that found no room.
    pub(crate) refused: AtomicU64,
    pub(crate) most_at_once: AtomicU64,
}

pub(crate) static COUNTERS: Counters = Counters {
    packets_in: AtomicU64::new(0),
    bytes_in: AtomicU64::new(0),
    packets_out: AtomicU64::new(0),
    bytes_out: AtomicU64::new(0),
    drops: [const { AtomicU64::new(0) }; Drop::ALL.len()],
    opened: AtomicU64::new(0),
    closed: AtomicU64::new(0),
    reset: AtomicU64::new(0),
    timed_out: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    most_at_once: AtomicU64::new(0),
};

/// One more of something.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// So many more of it. The network thread is the only writer of all of them.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn drop(&self, reason: Drop) {
        count(&self.drops[reason as usize]);
    }

    pub(crate) fn dropped(&self, reason: Drop) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }
}
