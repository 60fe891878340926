//! The host's two clocks, as nanoseconds, and the guest's clock set against them.
//!
//! [`Looks`] takes the clock pairs out of a recording's messages, [`Clocks`] has a [`ClockMap`] for each boot of the guest.
//! What they rest on, and what they promise, is told in `docs/clocks.md`.

mod looks;
mod mapping;
mod rate;

pub use looks::{Clocks, Looks};
pub use mapping::{ClockMap, Ends, Pause, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// One instant by both of the host's clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostTime {
    /// CLOCK_MONOTONIC: never steps back, means nothing on another host.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME: nanoseconds since 1970, can be set.
    pub realtime_ns: u64,
}

impl HostTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic_ns: read(ClockId::Monotonic), realtime_ns: read(ClockId::Realtime) }
    }
}

fn read(clock: ClockId) -> u64 {
    let at = clock_gettime(clock);
    u64::try_from(at.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(at.tv_nsec).unwrap_or(0))
}
