//! How much connections may have, so that nobody outside can make this kernel run out of memory.

use core::sync::atomic::{AtomicUsize, Ordering};

/// What TCP keeps of each direction.
pub(super) const RECEIVE_BYTES: usize = 4 << 10;
pub(super) const SEND_BYTES: usize = 8 << 10;
/// What one connection may have sent that has not been answered.
pub(super) const INPUT_BYTES: usize = 80 << 10;
/// Of a connection that does nothing, roughly.
const CONNECTION_BYTES: u64 = (RECEIVE_BYTES + SEND_BYTES + 4096) as u64;
/// As many as the table in the observation region has slots, and one for the socket that listens.
const MOST_CONNECTIONS: u64 = 1023;
const FEWEST_CONNECTIONS: u64 = 4;
/// Of the heap: for connections, and for what they have sent or are to be sent.
const SHARE: u64 = 4;

/// Bytes of input and output that wait, and how many may.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

/// What this machine can afford.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
}

impl Limits {
    pub(super) fn of(heap_bytes: u64) -> Self {
        let share = heap_bytes / SHARE;
        MOST_HELD.store(share as usize, Ordering::Relaxed);
        let connections = (share / CONNECTION_BYTES).clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS);
        Self { connections: connections as usize }
    }
}

/// Whether enough waits.
pub(super) fn is_short() -> bool {
    HELD.load(Ordering::Relaxed) > MOST_HELD.load(Ordering::Relaxed)
}

/// A connection holds `after` bytes, and `before` until now.
pub(super) fn holds(before: usize, after: usize) {
    HELD.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
}
