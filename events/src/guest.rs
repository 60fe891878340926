//! What it takes to tell of a guest's events besides themselves.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A guest's clock, and the names of its threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// Which of its boots: its clock begins anew with each.
    pub boot: u32,
    /// Its clock when it booted.
    pub boot_tsc: u64,
    /// Ticks of its clock in a second; 0 unknown.
    pub tsc_hz: u64,
    /// Names of threads, where known.
    pub threads: BTreeMap<u32, String>,
}

impl Guest {
    /// Seconds from its boot to a value of its clock.
    #[must_use]
    pub fn seconds(&self, tsc: u64) -> f64 {
        tsc.saturating_sub(self.boot_tsc) as f64 / self.tsc_hz.max(1) as f64
    }

    /// Nanoseconds from its boot to a value of its clock; `None` where the clock's rate is not known.
    #[must_use]
    pub fn since_boot_ns(&self, tsc: u64) -> Option<u64> {
        self.nanoseconds(tsc.saturating_sub(self.boot_tsc))
    }

    /// Ticks as nanoseconds; `None` where the clock's rate is not known.
    #[must_use]
    pub fn nanoseconds(&self, ticks: u64) -> Option<u64> {
        let product = u128::from(ticks) * 1_000_000_000;
        product.checked_div(self.tsc_hz.into()).map(|ns| u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// A thread's name, or what is known instead.
    #[must_use]
    pub fn thread(&self, id: u32) -> Cow<'_, str> {
        match (id, self.threads.get(&id)) {
            (_, Some(name)) => name.as_str().into(),
            (0, None) => "no thread".into(),
            (id, None) => format!("thread {id}").into(),
        }
    }
}
