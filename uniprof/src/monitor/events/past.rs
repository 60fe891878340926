//! Sums of events over the last minutes: each quarter of a second with all that is known for a while, then only what little memory can hold.
//!
//! ```text
//!   five minutes ago                                    11 s ago            now
//!   ├── counts and values of each quarter ──────────────┼── all of it ───────┤
//!   ├── durations of five seconds together ─────────────┤  for each quarter
//! ```

use rustc_hash::FxHashMap;

use super::Sum;
use super::durations::Durations;
use crate::monitor::slots::Slots;
use crate::monitor::span::{KEPT_QUARTERS, Reach};

/// Quarters of which all is known: a little more than the longest span that is offered.
const RECENT: u64 = 44;
/// Quarters whose durations are put together after that.
const BLOCK: u64 = 20;
/// Buckets of one block's durations that may be as fine as when they came.
const MOST_FINE: usize = 1 << 13;

/// Sums by the time that they are of; names are numbers.
#[derive(Clone, Debug)]
pub(super) struct Past {
    quarters: Slots<Quarter>,
    blocks: Slots<FxHashMap<u16, Durations>>,
    /// The first quarter of which all is known.
    recent: u64,
}

#[derive(Clone, Debug, Default)]
struct Quarter {
    /// While it is recent.
    sums: FxHashMap<u16, Sum>,
    /// Later.
    counts: Box<[(u16, f32)]>,
    values: Box<[(u16, (u64, u64))]>,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            quarters: Slots::new(KEPT_QUARTERS),
            blocks: Slots::new(KEPT_QUARTERS / BLOCK as usize + 1),
            recent: 0,
        }
    }
}

impl Past {
    /// What is known of a name in a quarter, to be added to; `None` where that is too long ago.
    pub(super) fn at(&mut self, quarter: u64, name: u16) -> Option<&mut Sum> {
        if quarter < self.recent {
            return None;
        }
        if quarter >= self.recent + RECENT {
            self.age(quarter);
        }
        Some(self.quarters.at(quarter)?.sums.entry(name).or_default())
    }

    /// Makes what is not recent any more take less memory. `newest` is.
    fn age(&mut self, newest: u64) {
        let recent = newest + 1 - RECENT.min(newest + 1);
        let first = self.quarters.range().map_or(recent, |(first, _)| first.max(self.recent));
        // Of a clock that jumps only what is kept is looked at.
        for number in first..recent.min(first + KEPT_QUARTERS as u64) {
            let Some(quarter) = self.quarters.get_mut(number) else { break };
            let sums = std::mem::take(&mut quarter.sums);
            quarter.counts = sums.iter().map(|(name, sum)| (*name, sum.count as f32)).collect();
            quarter.values = sums.iter().filter_map(|(name, sum)| Some((*name, sum.value?))).collect();
            let Some(block) = self.blocks.at(number / BLOCK) else { continue };
            for (name, sum) in sums.iter().filter(|(_, sum)| !sum.durations.is_empty()) {
                block.entry(*name).or_default().add_all(&sum.durations, 1.0);
            }
            if number % BLOCK == BLOCK - 1 {
                close(block);
            }
        }
        self.recent = recent;
    }

    /// About as many bytes as it takes.
    pub(super) fn bytes(&self) -> usize {
        let of = |sum: &Sum| size_of::<Sum>() + sum.durations.buckets() * 2 * size_of::<u64>();
        let quarter = |quarter: &Quarter| {
            let aged = quarter.counts.len() * 8 + quarter.values.len() * 24;
            aged + quarter.sums.values().map(of).sum::<usize>()
        };
        let block = |block: &FxHashMap<u16, Durations>| {
            block.values().map(|durations| 64 + durations.buckets() * 2 * size_of::<u64>()).sum::<usize>()
        };
        let quarters: usize = self.quarters.iter().map(|(_, one)| quarter(one)).sum();
        quarters + self.blocks.iter().map(|(_, one)| block(one)).sum::<usize>()
    }

    /// How often a name came in a quarter.
    pub(super) fn count(&self, quarter: u64, name: u16) -> f64 {
        let Some(quarter) = self.quarters.get(quarter) else { return 0.0 };
        let aged = || {
            quarter.counts.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, count)| (*count).into())
        };
        quarter.sums.get(&name).map_or_else(aged, |sum| sum.count)
    }

    /// The newest quarter.
    pub(super) fn newest(&self) -> u64 {
        self.quarters.range().map_or(0, |(_, newest)| newest)
    }

    /// The sums within `reach`. Durations of long ago are those of the seconds around.
    pub(super) fn within(&self, reach: &Reach) -> FxHashMap<u16, Sum> {
        let mut sums: FxHashMap<u16, Sum> = FxHashMap::default();
        let mut shares: FxHashMap<u64, f64> = FxHashMap::default();
        for (number, quarter) in self.quarters.iter() {
            let Some(share) = reach.share(number) else { continue };
            for (name, part) in &quarter.sums {
                let sum = sums.entry(*name).or_default();
                sum.count += part.count * share;
                sum.durations.add_all(&part.durations, share);
                sum.value = sum.value.max(part.value);
            }
            for (name, count) in &quarter.counts {
                sums.entry(*name).or_default().count += f64::from(*count) * share;
            }
            for (name, value) in &quarter.values {
                let sum = sums.entry(*name).or_default();
                sum.value = sum.value.max(Some(*value));
            }
            if number < self.recent {
                *shares.entry(number / BLOCK).or_default() += share / BLOCK as f64;
            }
        }
        for (block, share) in shares {
            for (name, durations) in self.blocks.get(block).into_iter().flatten() {
                if let Some(sum) = sums.get_mut(name) {
                    sum.durations.add_all(durations, share);
                }
            }
        }
        sums
    }
}

/// Nothing more comes to these.
fn close(block: &mut FxHashMap<u16, Durations>) {
    if block.values().map(Durations::buckets).sum::<usize>() > MOST_FINE {
        block.values_mut().for_each(Durations::coarsen);
    }
    block.values_mut().for_each(Durations::shrink);
}
