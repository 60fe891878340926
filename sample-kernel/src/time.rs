//! From nanoseconds to TSC ticks.

use crate::arch;

const NS_PER_SECOND: u128 = 1_000_000_000;

/// TSC ticks in so many nanoseconds.
pub(crate) fn ticks(nanoseconds: u64) -> u64 {
    u64::try_from(u128::from(nanoseconds) * u128::from(arch::hz()) / NS_PER_SECOND).unwrap_or(u64::MAX)
}

/// Nanoseconds in so many TSC ticks.
pub(crate) fn nanoseconds(ticks: u64) -> u64 {
    let hz = u128::from(arch::hz().max(1));
    u64::try_from(u128::from(ticks) * NS_PER_SECOND / hz).unwrap_or(u64::MAX)
}

/// A moment that the kernel works toward.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// So many seconds from now; `None` is never.
    pub(crate) fn after(seconds: Option<u64>) -> Self {
        Self(seconds.map_or(u64::MAX, |s| arch::now().saturating_add(s.saturating_mul(arch::hz()))))
    }

    /// So many nanoseconds from now.
    pub(crate) fn in_ns(nanoseconds: u64) -> Self {
        Self(arch::now().saturating_add(ticks(nanoseconds)))
    }

    /// In TSC ticks.
    pub(crate) fn tsc(self) -> u64 {
        self.0
    }

    pub(crate) fn has_passed(self) -> bool {
        arch::now() >= self.0
    }
}
