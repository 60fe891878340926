//! How long things took: percentiles out of counts, without keeping each duration.

use std::collections::BTreeMap;

use crate::buckets::{bucket_of, upper_end};

/// Each power of two is split into so many buckets, as a power of two itself: a duration is known to within 1/128 of itself.
const SPLIT_LOG2: u32 = 7;

/// Durations in ticks, counted in log-linear buckets (as in HdrHistogram, Tene). At most some 7,400 buckets, and only those that
/// something fell into take memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Latencies {
    /// Takes one in.
    pub fn add(&mut self, ticks: u64) {
        *self.buckets.entry(bucket_of(ticks, SPLIT_LOG2)).or_default() += 1;
        self.count += 1;
        self.sum += u128::from(ticks);
        self.max = self.max.max(ticks);
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        u64::try_from(self.sum).unwrap_or(u64::MAX)
    }

    /// The longest, exact.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The duration that `share` of all (0 to 1) do not exceed: the upper end of its bucket, less than 1 % too long. 0 where there
    /// was none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (&bucket, &count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return upper_end(bucket, SPLIT_LOG2).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_durations_within_a_hundredth(
            mut durations in proptest::collection::vec(any::<u64>(), 1..200),
            share in 0.0f64..1.0,
            shift in 0u32..60,
        ) {
            durations.iter_mut().for_each(|duration| *duration >>= shift);
            let mut latencies = Latencies::default();
            durations.iter().for_each(|duration| latencies.add(*duration));
            durations.sort_unstable();
            let rank = (share * durations.len() as f64).ceil().max(1.0) as usize;
            let exact = durations[rank - 1];
            let told = latencies.quantile(share);
            prop_assert!(told >= exact && told - exact <= exact / 100, "{told} for {exact}");
            prop_assert_eq!(latencies.max(), *durations.last().unwrap());
            prop_assert_eq!(latencies.count(), durations.len() as u64);
        }
    }

    #[test]
    fn nothing_has_no_latency() {
        assert_eq!(Latencies::default().quantile(0.5), 0);
    }
}
