//! LTTng-UST: a tracepoint in C, into the buffers of a session that `run.sh` sets up.

use crate::Player;

// SAFETY: `lttng/peer.c`.
unsafe extern "C" {
    safe fn peer_is_on() -> i32;
    safe fn peer_events(count: u64);
}

pub(crate) fn players() -> [Player; 1] {
    let name = if peer_is_on() != 0 { "LTTng-UST event, 2 integers" } else { "LTTng-UST event, off" };
    [(name, |calls| peer_events(calls))]
}
