//! The last minutes second by second: the guest's tables, and how many records came and were lost.

use std::sync::Arc;

use uniprof_collector::ledger::Ledger;
use uniprof_collector::tables::Tables;

use super::slots::Slots;
use super::span::{KEPT_SECONDS, QUARTERS};
use crate::command::core::shares::Shares;

/// A look at the guest's tables.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// Without crashes and images.
    pub(super) tables: Arc<Tables>,
    /// The latest sign of life in them.
    pub(super) tsc: u64,
    /// Records lost by then.
    pub(super) lost: u64,
}

/// One second.
#[derive(Clone, Debug, Default)]
pub(super) struct Second {
    pub(super) look: Option<Look>,
    /// Use of all vCPUs, 0 to 1, since the look before; and records lost by then.
    pub(super) used: Option<(f64, u64)>,
}

/// Seconds of which each has its look; of those before, every fourth has.
const RECENT: u64 = 60;
const EVERY: u64 = 4;

/// Records that came in a quarter of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) samples: u64,
    pub(super) others: u64,
}

/// The last minutes.
#[derive(Clone, Debug)]
pub(super) struct History {
    seconds: Slots<Second>,
    counts: Slots<Counts>,
    /// The latest.
    latest: Option<Look>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            seconds: Slots::new(KEPT_SECONDS),
            counts: Slots::new(KEPT_SECONDS * QUARTERS as usize),
            latest: None,
        }
    }
}

impl History {
    /// Counts a record.
    pub(super) fn count(&mut self, quarter: u64, is_sample: bool) {
        if let Some(counts) = self.counts.at(quarter) {
            *if is_sample { &mut counts.samples } else { &mut counts.others } += 1;
        }
    }

    /// Takes a look in.
    pub(super) fn take(&mut self, tables: &Tables, quarter: u64, ledger: &Ledger) {
        let tsc = tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
        let tables = Arc::new(Tables { crashes: Vec::new(), images: Vec::new(), ..tables.clone() });
        let look = Look { tables, tsc, lost: ledger.total().lost() };
        let second = quarter / QUARTERS;
        let earlier = self.before(second);
        let used = Shares::between(earlier.map(|look| &*look.tables), &look.tables).map_or(0.0, |shares| {
            let online = look.tables.vcpus.iter().filter(|vcpu| vcpu.online != 0).count().max(1) as f64;
            (1.0 - shares.idle / online).clamp(0.0, 1.0)
        });
        if let Some(slot) = self.seconds.at(second)
            && slot.look.is_none()
        {
            *slot = Second { used: Some((used, look.lost)), look: Some(look.clone()) };
            let old = second.saturating_sub(RECENT);
            if !old.is_multiple_of(EVERY)
                && let Some(slot) = self.seconds.get_mut(old)
            {
                slot.look = None;
            }
        }
        self.latest = Some(look);
    }

    /// The look that was the latest at a second.
    pub(super) fn at(&self, second: u64) -> Option<&Look> {
        let newest = self.seconds.range().map(|(_, newest)| newest);
        match &self.latest {
            latest @ Some(_) if newest.is_none_or(|newest| second >= newest) => latest.as_ref(),
            _ => self.before(second + 1),
        }
    }

    /// The latest look of a second before that one.
    pub(super) fn before(&self, second: u64) -> Option<&Look> {
        let looks = self.seconds.iter().rev().skip_while(|(number, _)| *number >= second);
        looks.map(|(_, slot)| slot).find_map(|slot| slot.look.as_ref())
    }

    /// The look that `look` is to be compared with: about a second before.
    pub(super) fn earlier_than(&self, look: &Look, ticks: u64) -> Option<&Look> {
        let before = look.tsc.saturating_sub(ticks - ticks / 8);
        let mut looks = self.seconds.iter().rev().filter_map(|(_, slot)| slot.look.as_ref());
        looks.find(|earlier| earlier.tsc <= before)
    }

    /// Counts of the second that ends with a quarter.
    pub(super) fn last_second(&self, quarter: u64) -> Counts {
        let first = (quarter + 1).saturating_sub(QUARTERS);
        self.sum(first, quarter)
    }

    fn sum(&self, first: u64, last: u64) -> Counts {
        let mut sum = Counts::default();
        for number in first..=last {
            if let Some(counts) = self.counts.get(number) {
                sum.samples += counts.samples;
                sum.others += counts.others;
            }
        }
        sum
    }

    /// Of the last `most` seconds up to one: use, samples, other records, losses; the newest last.
    pub(super) fn seconds(&self, last: u64, most: u64) -> Vec<[f64; 4]> {
        let Some((first, newest)) = self.seconds.range() else { return Vec::new() };
        let last = last.min(newest);
        let first = first.max((last + 1).saturating_sub(most));
        let before = self.seconds.iter().rev().skip_while(|(number, _)| *number >= first);
        let mut lost = before.filter_map(|(_, slot)| slot.used).map(|(_, lost)| lost).next();
        let mut used = 0.0;
        (first..=last)
            .map(|second| {
                let known = self.seconds.get(second).and_then(|slot| slot.used);
                used = known.map_or(used, |(used, _)| used);
                let more = known.map_or(0, |(_, now)| now.saturating_sub(lost.unwrap_or(now)));
                lost = known.map(|(_, lost)| lost).or(lost);
                let counts = self.sum(second * QUARTERS, second * QUARTERS + QUARTERS - 1);
                [used, counts.samples as f64, counts.others as f64, more as f64]
            })
            .collect()
    }

    /// The first and the last second that is kept.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.seconds.range()
    }
}
