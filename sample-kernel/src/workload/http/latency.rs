//! How long requests took: a histogram with 32 buckets for each power of two, so that a percentile is off by 3 % at most. The server's own, so
//! that what the probes say can be compared with it.

use core::sync::atomic::{AtomicU64, Ordering};

/// Buckets for each power of two, as a power of two.
const FINE: u32 = 5;
/// 2^40 ns are 18 minutes.
const POWERS: u32 = 40;
const BUCKETS: usize = ((POWERS - FINE + 1) << FINE) as usize;

pub(super) struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

/// What it says, in nanoseconds.
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
    pub(super) sum: u64,
}

impl Latency {
    pub(super) const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
        self.max.fetch_max(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn summary(&self) -> Summary {
        let count: u64 = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum();
        let max = self.max.load(Ordering::Relaxed);
        let percentile = |percent: u64| self.at((count * percent).div_ceil(100)).min(max);
        let sum = self.sum.load(Ordering::Relaxed);
        Summary { count, p50: percentile(50), p90: percentile(90), p99: percentile(99), max, sum }
    }

    /// The value of the so-many-th, counted from 1.
    fn at(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if rank > 0 && seen >= rank {
                return middle(index);
            }
        }
        0
    }
}

/// Below `2^FINE` a bucket for each number; above as many for each power of two.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << POWERS) - 1);
    let power = (value | 1 << FINE).ilog2();
    let shift = power - FINE;
    let index = (u64::from(shift) << FINE) + (value >> shift);
    index as usize
}

fn middle(index: usize) -> u64 {
    let (row, column) = ((index >> FINE) as u32, index as u64 & ((1 << FINE) - 1));
    match row {
        0 => column,
        _ => {
            let shift = row - 1;
            (((1 << FINE) + column) << shift) + (1 << shift >> 1)
        }
    }
}
