//! Histograms: how often values of each size came, without a record for each.
//!
//! Buckets are log-linear, as in HdrHistogram (Tene): values below 16 have a bucket each, and each power of two above is split into 16, so a
//! value is known to within a sixteenth of itself. Every vCPU has a copy of its own; readers add them up.

/// Buckets of one histogram.
pub const HISTOGRAM_BUCKETS: usize = 976;
/// Words of one [`Histogram`].
pub const HISTOGRAM_WORDS: usize = histogram_field::BUCKETS + HISTOGRAM_BUCKETS;
/// Most histograms of one vCPU.
pub const MAX_HISTOGRAMS: u32 = 64;

const SPLIT_LOG2: u32 = 4;
const SPLIT: u64 = 1 << SPLIT_LOG2;

/// Word numbers of a histogram, for the guest, which adds to single fields.
pub mod histogram_field {
    /// 1 + the byte offset of its site in the section; 0: unused.
    pub const SITE: usize = 0;
    /// How many values.
    pub const COUNT: usize = 1;
    /// Their sum.
    pub const SUM: usize = 2;
    /// The largest of them.
    pub const MAX: usize = 3;
    /// The first bucket's count.
    pub const BUCKETS: usize = 8;
}

/// The bucket that a value belongs to.
#[must_use]
#[inline]
pub const fn bucket_of(value: u64) -> usize {
    if value < SPLIT {
        return value as usize;
    }
    let exponent = value.ilog2();
    let within = value >> (exponent - SPLIT_LOG2) & (SPLIT - 1);
    ((exponent - SPLIT_LOG2 + 1) as usize) << SPLIT_LOG2 | within as usize
}

/// The least and the greatest value of a bucket.
#[must_use]
pub const fn bucket_range(bucket: usize) -> (u64, u64) {
    let (row, within) = ((bucket >> SPLIT_LOG2) as u32, bucket as u64 & (SPLIT - 1));
    if row == 0 {
        return (within, within);
    }
    let least = (SPLIT | within) << (row - 1);
    (least, least + ((1 << (row - 1)) - 1))
}

/// A copy of a histogram, or the sum of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The largest of them.
    pub max: u64,
    /// How many in each bucket.
    pub buckets: [u64; HISTOGRAM_BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, sum: 0, max: 0, buckets: [0; HISTOGRAM_BUCKETS] }
    }
}

impl Histogram {
    /// From a copy of its words, with its site. `None` for one that is not in use.
    #[must_use]
    pub fn from_words(words: &[u64; HISTOGRAM_WORDS]) -> Option<(u32, Self)> {
        let site = u32::try_from(words[histogram_field::SITE].checked_sub(1)?).ok()?;
        let mut histogram = Self {
            count: words[histogram_field::COUNT],
            sum: words[histogram_field::SUM],
            max: words[histogram_field::MAX],
            buckets: [0; HISTOGRAM_BUCKETS],
        };
        histogram.buckets.copy_from_slice(&words[histogram_field::BUCKETS..]);
        Some((site, histogram))
    }

    /// Takes in one value.
    pub fn record(&mut self, value: u64) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
        let bucket = &mut self.buckets[bucket_of(value)];
        *bucket = bucket.saturating_add(1);
    }

    /// Takes in all values of another.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = bucket.saturating_add(*more);
        }
    }

    /// What came after `earlier`, an earlier copy of the same histogram. Its maximum is that of all time where it lies in the last bucket
    /// that got values since, else the greatest value of that bucket.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (bucket, before) in buckets.iter_mut().zip(&earlier.buckets) {
            *bucket = bucket.saturating_sub(*before);
        }
        let last = buckets.iter().rposition(|&count| count > 0);
        Self {
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.wrapping_sub(earlier.sum),
            max: last.map_or(0, |bucket| bucket_range(bucket).1.min(self.max.max(bucket_range(bucket).0))),
            buckets,
        }
    }

    /// Mean of the values; `None` where there are none.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The greatest value of the bucket below or in which the share `quantile` (0 to 1) of all values lies, at most the largest
    /// value; `None` where there are none. Never below the true value, and at most a sixteenth above it.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return None;
        }
        // Not `ceil`, which `core` does not have.
        let exact = quantile.clamp(0.0, 1.0) * total as f64;
        let rank = (exact as u64 + u64::from((exact as u64 as f64) < exact)).clamp(1, total);
        let mut seen = 0u64;
        let bucket = self.buckets.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        })?;
        Some(bucket_range(bucket).1.min(self.max.max(bucket_range(bucket).0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_bucket_and_buckets_are_in_order() {
        let mut next = 0;
        for bucket in 0..HISTOGRAM_BUCKETS {
            let (least, greatest) = bucket_range(bucket);
            assert_eq!(least, next, "bucket {bucket}");
            assert_eq!((bucket_of(least), bucket_of(greatest)), (bucket, bucket));
            assert!(greatest - least <= least / 16);
            next = greatest.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last bucket ends with the last value");
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|value| histogram.record(value));
        for (quantile, truth) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = histogram.quantile(quantile).unwrap();
            assert!((truth..=truth + truth / 16).contains(&found), "{quantile}: {found}");
        }
        assert_eq!((histogram.count, histogram.sum, histogram.max), (1000, 500_500, 1000));
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!((twice.count, twice.quantile(0.5)), (2000, histogram.quantile(0.5)));
        assert_eq!((twice.mean(), Histogram::default().mean()), (Some(500.5), None));
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let mut histogram = Histogram::default();
        [5, 900, 1_000_000].into_iter().for_each(|value| histogram.record(value));
        let before = histogram.clone();
        assert_eq!(histogram.since(&before), Histogram::default());
        [7, 900].into_iter().for_each(|value| histogram.record(value));
        let since = histogram.since(&before);
        assert_eq!((since.count, since.sum, since.quantile(0.0)), (2, 907, Some(7)));
        assert!((900..=900 + 900 / 16).contains(&since.max), "{}", since.max);
        histogram.record(1_000_001);
        assert_eq!(histogram.since(&before).max, 1_000_001);
    }
}
