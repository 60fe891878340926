//! Durations, counted in few and small buckets: thousands of these are kept.

use uniprof_events::buckets::{bucket_of, upper_end};

/// Each power of two is split into so many buckets, as a power of two itself: a duration is known to within an eighth of itself.
const SPLIT_LOG2: u32 = 3;
/// The bits of a bucket's number that tell four neighbours apart.
const COARSE: u16 = 3;

/// Durations in ticks; only buckets that something fell into take memory, some hundreds at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Durations {
    /// Bucket and count, by bucket.
    buckets: Vec<(u16, f32)>,
    max: u64,
}

impl Durations {
    /// Takes one in.
    pub(super) fn add(&mut self, ticks: u64) {
        self.max = self.max.max(ticks);
        self.count(bucket_of(ticks, SPLIT_LOG2), 1.0);
    }

    fn count(&mut self, bucket: u16, times: f32) {
        match self.buckets.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(index) => self.buckets[index].1 += times,
            Err(index) => self.buckets.insert(index, (bucket, times)),
        }
    }

    /// Takes in others, each so many times.
    pub(super) fn add_all(&mut self, other: &Self, share: f64) {
        self.max = self.max.max(other.max);
        for (bucket, count) in &other.buckets {
            self.count(*bucket, (f64::from(*count) * share) as f32);
        }
    }

    /// How many buckets something fell into.
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Puts four buckets into one, so that a duration is known to within half of itself.
    pub(super) fn coarsen(&mut self) {
        // The last of the four has the same upper end.
        self.buckets.iter_mut().for_each(|(bucket, _)| *bucket |= COARSE);
        self.buckets.dedup_by(|from, into| {
            let same = from.0 == into.0;
            if same {
                into.1 += from.1;
            }
            same
        });
    }

    /// Takes no more memory than it has to.
    pub(super) fn shrink(&mut self) {
        self.buckets.shrink_to_fit();
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The longest, exact.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The duration that `share` of all, 0 to 1, do not exceed: the upper end of its bucket.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let all: f64 = self.buckets.iter().map(|(_, count)| f64::from(*count)).sum();
        let mut seen = 0.0;
        for (bucket, count) in &self.buckets {
            seen += f64::from(*count);
            if seen >= all * share {
                return upper_end(*bucket, SPLIT_LOG2).min(self.max);
            }
        }
        self.max
    }

    /// Counts by power of two of `unit(ticks)`, from 2^0 on.
    pub(super) fn by_power(&self, unit: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut powers = Vec::new();
        for (bucket, count) in &self.buckets {
            let power = unit(upper_end(*bucket, SPLIT_LOG2).min(self.max)).max(1).ilog2() as usize;
            if powers.len() <= power {
                powers.resize(power + 1, 0.0);
            }
            powers[power] += f64::from(*count);
        }
        powers.into_iter().map(|count| count.round() as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_right_within_an_eighth(mut ticks in proptest::collection::vec(any::<u64>(), 1..100), shift in 0u32..60, share in 0.01f64..1.0) {
            ticks.iter_mut().for_each(|ticks| *ticks >>= shift);
            let mut durations = Durations::default();
            ticks.iter().for_each(|ticks| durations.add(*ticks));
            ticks.sort_unstable();
            let rank = (share * ticks.len() as f64).ceil().max(1.0) as usize;
            let (exact, told) = (ticks[rank - 1], durations.quantile(share));
            prop_assert!(told >= exact && told - exact <= exact / 8, "{told} for {exact}");
            prop_assert_eq!(durations.max(), *ticks.last().unwrap());
            prop_assert_eq!(durations.by_power(|ticks| ticks).iter().sum::<u64>(), ticks.len() as u64);
        }
    }
}
