//! What has gone over the wire, counted.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::probes::net::{self, Direction, Verdict};

/// The number of the one interface.
const INTERFACE: u8 = 0;

/// Counts of this kernel's own, beside the probes.
pub(crate) struct Counters {
    pub(crate) packets_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) packets_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    drops: [AtomicU64; Verdict::ALL.len()],
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
    drops: [const { AtomicU64::new(0) }; Verdict::ALL.len()],
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

/// Tells of the interface.
pub(super) fn interface(address: [u8; 6], mtu: u32) {
    net::interface(INTERFACE, "eth0", address, mtu);
}

/// A frame has come in, and that becomes of it.
pub(super) fn packet_in(frame: &[u8], verdict: Verdict) {
    count(&COUNTERS.packets_in);
    add(&COUNTERS.bytes_in, frame.len() as u64);
    packet(Direction::In, frame, verdict);
}

/// A frame goes out, or would.
pub(super) fn packet_out(frame: &[u8], verdict: Verdict) {
    count(&COUNTERS.packets_out);
    add(&COUNTERS.bytes_out, frame.len() as u64);
    packet(Direction::Out, frame, verdict);
}

fn packet(direction: Direction, frame: &[u8], verdict: Verdict) {
    if verdict.is_drop() {
        count(&COUNTERS.drops[verdict as usize]);
    }
    net::packet(INTERFACE, direction, frame, verdict);
}

impl Counters {
    pub(crate) fn dropped(&self, verdict: Verdict) -> u64 {
        self.drops[verdict as usize].load(Ordering::Relaxed)
    }
}
