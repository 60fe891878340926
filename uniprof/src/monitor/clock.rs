//! The guest's clock: which quarter of a second since its boot a moment is.

use uniprof_collector::recording::ClockPair;
use uniprof_collector::tables::Tables;

use super::span::QUARTERS;

/// A record's time that is so much later than anything that the guest's signs of life say is a lie, in seconds.
const MOST_AHEAD: u64 = 2;
/// No guest runs for longer, and sums of such numbers do not overflow.
const MOST_QUARTERS: u64 = 1 << 60;

/// What is known of the guest's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) boot_tsc: u64,
    pub(super) tsc_hz: u64,
    /// The latest that is known.
    pub(super) now: u64,
    /// The latest sign of life.
    pub(super) life: u64,
}

impl Clock {
    /// That of a boot, as its tables tell.
    pub(super) fn take_tables(&mut self, tables: &Tables) {
        (self.boot_tsc, self.tsc_hz) = (tables.header.boot_tsc, tables.header.tsc_hz);
        let heartbeat = tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
        self.take_life(heartbeat);
    }

    /// A look at the clock.
    pub(super) fn take_pair(&mut self, pair: &ClockPair) {
        self.take_life(pair.tsc);
    }

    fn take_life(&mut self, tsc: u64) {
        self.life = self.life.max(tsc);
        self.now = self.now.max(tsc);
    }

    /// The time of a record, which is not later than can be.
    pub(super) fn take_record(&mut self, tsc: u64) -> u64 {
        let most = match self.life {
            0 => u64::MAX,
            life => life.saturating_add(self.tsc_hz.saturating_mul(MOST_AHEAD)),
        };
        let tsc = tsc.min(most);
        self.now = self.now.max(tsc);
        tsc
    }

    /// The quarter of a second since boot that a time is in.
    pub(super) fn quarter(&self, tsc: u64) -> u64 {
        let ticks = u128::from(tsc.saturating_sub(self.boot_tsc)) * u128::from(QUARTERS);
        ticks
            .checked_div(self.tsc_hz.into())
            .map_or(0, |quarter| u64::try_from(quarter).unwrap_or(u64::MAX).min(MOST_QUARTERS))
    }

    /// Seconds since boot.
    pub(super) fn seconds(&self, tsc: u64) -> f64 {
        self.span(tsc.saturating_sub(self.boot_tsc))
    }

    /// Ticks in seconds; 0 where the clock's rate is not known.
    pub(super) fn span(&self, ticks: u64) -> f64 {
        if self.tsc_hz == 0 { 0.0 } else { ticks as f64 / self.tsc_hz as f64 }
    }

    /// Ticks in nanoseconds.
    pub(super) fn nanoseconds(&self, ticks: u64) -> u64 {
        let product = u128::from(ticks) * 1_000_000_000;
        product.checked_div(self.tsc_hz.into()).map_or(0, |ns| u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The value of the clock so many seconds after boot.
    pub(super) fn tsc(&self, seconds: f64) -> u64 {
        self.boot_tsc.saturating_add((seconds.max(0.0) * self.tsc_hz as f64) as u64)
    }
}
