//! The last minutes second by second: the guest's tables, and how many records came and were lost.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use uniprof_collector::accounting::Tally;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::tables::Tables;
use uniprof_wire::record::CLASSES;

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
    /// What had become of the records of each class by then.
    pub(super) tallies: Arc<Tallies>,
}

/// What became of records, by class.
pub(super) type Tallies = [Tally; CLASSES];

/// The same, of all rings together.
pub(super) fn tallies(ledger: &Ledger) -> Tallies {
    let mut sums = Tallies::default();
    for tallies in ledger.rings().values() {
        sums.iter_mut().zip(tallies).for_each(|(sum, tally)| *sum += *tally);
    }
    sums
}

/// The same, of all classes together.
pub(super) fn total(tallies: &Tallies) -> Tally {
    let mut sum = Tally::default();
    tallies.iter().for_each(|tally| sum += *tally);
    sum
}

impl Look {
    /// Records lost by then.
    pub(super) fn lost(&self) -> u64 {
        total(&self.tallies).lost()
    }
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
/// The last looks, of which there are several a second: who pauses stops at one of them.
const MOST_LATEST: usize = 4;

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
    /// The latest, the newest last.
    latest: VecDeque<Look>,
    /// What is shown of a moment that is not the present stays the same, also when looks of its time are given up.
    pinned: Option<(u64, [Option<Look>; 2])>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            seconds: Slots::new(KEPT_SECONDS),
            counts: Slots::new(KEPT_SECONDS * QUARTERS as usize),
            latest: VecDeque::new(),
            pinned: None,
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
        let look = Look { tables, tsc, tallies: Arc::new(tallies(ledger)) };
        let second = quarter / QUARTERS;
        let earlier = self.before(second);
        let used = Shares::between(earlier.map(|look| &*look.tables), &look.tables).map_or(0.0, |shares| {
            let online = look.tables.vcpus.iter().filter(|vcpu| vcpu.online != 0).count().max(1) as f64;
            (1.0 - shares.idle / online).clamp(0.0, 1.0)
        });
        if let Some(slot) = self.seconds.at(second)
            && slot.look.is_none()
        {
            *slot = Second { used: Some((used, look.lost())), look: Some(look.clone()) };
            let old = second.saturating_sub(RECENT);
            if !old.is_multiple_of(EVERY)
                && let Some(slot) = self.seconds.get_mut(old)
            {
                slot.look = None;
            }
        }
        if self.latest.len() >= MOST_LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(look);
    }

    /// The look that was the latest at a time of the guest's clock, or is now, and the one that it is to be compared with: about a second before.
    pub(super) fn looks(&mut self, at: Option<u64>, ticks: u64) -> [Option<Look>; 2] {
        match (&self.pinned, at) {
            (Some((pinned, looks)), Some(at)) if *pinned == at => return looks.clone(),
            _ => self.pinned = None,
        }
        let now = match at {
            None => self.latest.back(),
            Some(at) => self.at(at),
        };
        let earlier = now.and_then(|now| self.earlier_than(now, ticks));
        let looks = [now.cloned(), earlier.cloned()];
        self.pinned = at.map(|at| (at, looks.clone()));
        looks
    }

    /// The look that was the latest at a time; the first that is kept where that is later.
    fn at(&self, tsc: u64) -> Option<&Look> {
        let seconds = || self.seconds.iter().filter_map(|(_, slot)| slot.look.as_ref());
        let newest_first = self.latest.iter().rev().chain(seconds().rev());
        newest_first.filter(|look| look.tsc <= tsc).max_by_key(|look| look.tsc).or(seconds().next())
    }

    /// The latest look of a second before that one.
    pub(super) fn before(&self, second: u64) -> Option<&Look> {
        let looks = self.seconds.iter().rev().skip_while(|(number, _)| *number >= second);
        looks.map(|(_, slot)| slot).find_map(|slot| slot.look.as_ref())
    }

    fn earlier_than(&self, look: &Look, ticks: u64) -> Option<&Look> {
        let before = look.tsc.saturating_sub(ticks - ticks / 8);
        let mut looks = self.seconds.iter().rev().filter_map(|(_, slot)| slot.look.as_ref());
        looks.find(|earlier| earlier.tsc <= before)
    }

    /// Counts of some quarters.
    pub(super) fn sum(&self, quarters: Range<u64>) -> Counts {
        let mut sum = Counts::default();
        for number in quarters {
            if let Some(counts) = self.counts.get(number) {
                sum.samples += counts.samples;
                sum.others += counts.others;
            }
        }
        sum
    }

    /// Of `most` seconds up to the one that runs: use, samples, other records, losses; the newest last. What came in the one that
    /// runs would be too little: `whole` are the quarters of the last that is over.
    pub(super) fn seconds(&self, whole: &Range<u64>, most: u64) -> Vec<[f64; 4]> {
        let Some((first, newest)) = self.seconds.range() else { return Vec::new() };
        let runs = whole.end / QUARTERS;
        let last = runs.min(newest);
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
                let quarters = second * QUARTERS..(second + 1) * QUARTERS;
                let counts = self.sum(if second == runs { whole.clone() } else { quarters });
                [used, counts.samples as f64, counts.others as f64, more as f64]
            })
            .collect()
    }

    /// The first and the last second that is kept.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.seconds.range()
    }
}
