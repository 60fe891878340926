//! Samples by stack: sums of all time, and counts of each quarter of a second of the last minutes.
//!
//! Every distinct stack is kept once. When they take too much memory, those that are rarest and have not been seen lately go, and what
//! was sampled with them is counted together: it is in every total still.

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};
use uniprof_flamegraph::{Amount, Owner, RawAmount, RawKey, RawPlace, RawStack, RawStacks};

use super::slots::Slots;
use super::span::{KEPT_QUARTERS, Reach};

/// Memory for distinct stacks.
const STACK_BYTES: usize = 12 << 20;
/// Distinct stacks of a quarter that are told apart, and how many are when it is one of the last.
const MOST_IN_QUARTER: usize = 256;
const MOST_IN_RECENT: usize = 2048;
/// Quarters that are recent.
const RECENT: u64 = 44;

/// Samples by stack and time.
#[derive(Clone, Debug)]
pub(super) struct StackSums {
    stacks: RawStacks,
    bytes: usize,
    /// What was sampled with stacks that are not kept any more.
    dropped: Amount,
    quarters: Slots<Quarter>,
    /// The quarter that was last added to.
    open: u64,
}

/// What was sampled in a quarter of a second.
#[derive(Clone, Debug, Default)]
struct Quarter {
    /// In the order in which each was sampled last.
    counts: Vec<(RawPlace, u32, u64)>,
    /// With stacks that are not told apart.
    others: Amount,
}

impl Quarter {
    fn add(&mut self, place: RawPlace, amount: Amount) {
        if let Some(last) = self.counts.last_mut().filter(|last| last.0 == place) {
            last.1 = last.1.saturating_add(u32::try_from(amount.samples).unwrap_or(u32::MAX));
            last.2 = last.2.saturating_add(amount.weight);
            return;
        }
        if self.counts.len() >= 2 * MOST_IN_RECENT {
            self.merge();
            self.bound(MOST_IN_RECENT);
        }
        self.counts.push((place, u32::try_from(amount.samples).unwrap_or(u32::MAX), amount.weight));
    }

    /// One entry for each stack, where it was sampled last: the last of a thread is the last one that is its.
    fn merge(&mut self) {
        let mut merged: Vec<(RawPlace, u32, u64)> = Vec::new();
        let mut known: FxHashMap<RawPlace, usize> = FxHashMap::default();
        for (place, samples, weight) in self.counts.iter().rev() {
            match known.entry(*place) {
                Entry::Occupied(at) => {
                    let into = &mut merged[*at.get()];
                    into.1 = into.1.saturating_add(*samples);
                    into.2 = into.2.saturating_add(*weight);
                }
                Entry::Vacant(slot) => {
                    slot.insert(merged.len());
                    merged.push((*place, *samples, *weight));
                }
            }
        }
        merged.reverse();
        self.counts = merged;
    }

    /// Counts the rarest together, where there are too many, and of those the ones that were not sampled lately.
    fn bound(&mut self, most: usize) {
        if self.counts.len() <= most {
            return;
        }
        let mut ranks: Vec<(u32, usize)> =
            self.counts.iter().enumerate().map(|(at, (_, samples, _))| (*samples, at)).collect();
        let (_, first_out, _) = ranks.select_nth_unstable_by(most, |a, b| b.cmp(a));
        let (first_out, mut at) = (*first_out, 0);
        let others = &mut self.others;
        self.counts.retain(|(_, samples, weight)| {
            let stays = (*samples, at) > first_out;
            at += 1;
            if !stays {
                *others += Amount { samples: u64::from(*samples), weight: *weight };
            }
            stays
        });
    }

    fn close(&mut self, most: usize) {
        self.merge();
        self.bound(most);
        self.counts.shrink_to_fit();
    }
}

/// Sums of the stacks within a span.
#[derive(Debug, Default)]
pub(super) struct SpanSums {
    /// The heaviest, the heaviest first.
    pub(super) stacks: Vec<(RawPlace, Amount)>,
    /// All others, where they were sampled as far as that is known.
    pub(super) others: FxHashMap<Owner, Amount>,
}

impl SpanSums {
    /// Everything.
    pub(super) fn total(&self) -> Amount {
        let mut total = Amount::default();
        self.stacks.iter().for_each(|(_, amount)| total += *amount);
        self.others.values().for_each(|amount| total += *amount);
        total
    }
}

impl Default for StackSums {
    fn default() -> Self {
        Self::with_limit(STACK_BYTES)
    }
}

impl StackSums {
    /// With so many bytes for distinct stacks.
    pub(super) fn with_limit(bytes: usize) -> Self {
        Self {
            stacks: RawStacks::with_limit(bytes).reserved(),
            bytes,
            dropped: Amount::default(),
            quarters: Slots::new(KEPT_QUARTERS),
            open: 0,
        }
    }

    /// Takes a sample in.
    pub(super) fn add(
        &mut self,
        quarter: u64,
        key: RawKey,
        frames: &[u64],
        sum: RawAmount,
    ) -> Option<RawPlace> {
        let place = self.stacks.add(key, frames, sum).or_else(|| {
            self.make_room();
            self.stacks.add(key, frames, sum)
        });
        if quarter != self.open {
            let last = std::mem::replace(&mut self.open, quarter);
            for (number, most) in [(last, MOST_IN_RECENT), (last.saturating_sub(RECENT), MOST_IN_QUARTER)] {
                // One that nothing was added to since is closed already.
                self.quarters.get_mut(number).into_iter().for_each(|quarter| quarter.close(most));
            }
        }
        let slot = self.quarters.at(quarter);
        match (place, slot) {
            (Some(place), Some(slot)) => slot.add(place, sum.amount),
            (Some(_), None) => {}
            (None, slot) => {
                self.dropped += sum.amount;
                slot.into_iter().for_each(|slot| slot.others += sum.amount);
            }
        }
        place
    }

    /// Forgets about half of the stacks: first those that no quarter knows, then the rarest.
    fn make_room(&mut self) {
        let mut recent = FxHashSet::default();
        let newest = self.quarters.range().map_or(0, |(_, newest)| newest);
        for (number, quarter) in self.quarters.iter() {
            if newest - number < 40 {
                recent.extend(quarter.counts.iter().map(|(place, _, _)| *place));
            }
        }
        // The heaviest stay whatever their age; of the others the recent ones before the old.
        let rank = |stack: &RawStack<'_>| {
            let times = if recent.contains(&stack.place) { 4 } else { 1 };
            (stack.sum.amount.samples.saturating_mul(times), stack.place)
        };
        let words = |stack: &RawStack<'_>| stack.frames.len() + 8;
        let mut ranked: Vec<_> = self.stacks.iter().map(|stack| (rank(&stack), words(&stack))).collect();
        ranked.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let mut room = self.bytes / 2 / size_of::<u64>();
        let fitting = ranked.iter().take_while(|(_, words)| {
            let fits = *words <= room;
            room = room.saturating_sub(*words);
            fits
        });
        let least = fitting.last().map(|(rank, _)| *rank);
        drop(ranked);
        let mut moved = FxHashMap::default();
        let dropped = &mut self.dropped;
        self.stacks.retain(|stack, place| {
            let stays = least.is_some_and(|least| rank(&stack) >= least);
            if stays {
                moved.insert(stack.place, place);
            } else {
                *dropped += stack.sum.amount;
            }
            stays
        });
        for quarter in self.quarters.iter_mut() {
            let mut others = quarter.others;
            quarter.counts.retain_mut(|(place, samples, weight)| match moved.get(place) {
                Some(new) => {
                    *place = *new;
                    true
                }
                None => {
                    others += Amount { samples: u64::from(*samples), weight: *weight };
                    false
                }
            });
            quarter.others = others;
        }
    }

    /// About as many bytes as they take.
    pub(super) fn bytes(&self) -> usize {
        let entries: usize = self.quarters.iter().map(|(_, quarter)| quarter.counts.len()).sum();
        self.stacks.bytes() + entries * size_of::<(RawPlace, u32, u64)>()
    }

    /// How many stacks are told apart.
    #[cfg(test)]
    pub(super) fn distinct(&self) -> usize {
        self.stacks.len()
    }

    /// One of the stacks.
    pub(super) fn get(&self, place: RawPlace) -> Option<RawStack<'_>> {
        self.stacks.get(place)
    }

    /// The sums within `reach`, at most `most` stacks told apart.
    pub(super) fn sums(&self, reach: &Reach, most: usize) -> SpanSums {
        let (mut sums, rest) = if reach.is_all() { self.all_until(reach) } else { self.within(reach) };
        let mut others: FxHashMap<Owner, Amount> = FxHashMap::default();
        if rest.samples > 0 {
            others.insert(Owner { thread: 0, vcpu: 0 }, rest);
        }
        if sums.len() > most {
            sums.select_nth_unstable_by(most, |a, b| b.1.samples.cmp(&a.1.samples));
            for (place, amount) in sums.drain(most..) {
                if let Some(stack) = self.stacks.get(place) {
                    *others.entry(stack.key.owner).or_default() += amount;
                }
            }
        }
        sums.sort_unstable_by_key(|(place, amount)| (std::cmp::Reverse(amount.samples), *place));
        SpanSums { stacks: sums, others }
    }

    /// All sums but for what came after the moment.
    fn all_until(&self, reach: &Reach) -> (Vec<(RawPlace, Amount)>, Amount) {
        let mut later: FxHashMap<RawPlace, Amount> = FxHashMap::default();
        // What was counted together in its quarter only is in its stack's sum.
        for (_, quarter) in self.quarters.iter().rev().take_while(|(number, _)| *number > reach.last()) {
            for (place, samples, weight) in &quarter.counts {
                *later.entry(*place).or_default() += Amount { samples: u64::from(*samples), weight: *weight };
            }
        }
        let sums = self.stacks.iter().filter_map(|stack| {
            let later = later.get(&stack.place).copied().unwrap_or_default();
            let amount = stack.sum.amount;
            let samples = amount.samples.saturating_sub(later.samples);
            (samples > 0).then(|| {
                (stack.place, Amount { samples, weight: amount.weight.saturating_sub(later.weight) })
            })
        });
        (sums.collect(), self.dropped)
    }

    fn within(&self, reach: &Reach) -> (Vec<(RawPlace, Amount)>, Amount) {
        let mut sums: FxHashMap<RawPlace, [f64; 2]> = FxHashMap::default();
        let mut rest = [0.0; 2];
        for (number, quarter) in self.quarters.iter() {
            let Some(share) = reach.share(number) else { continue };
            for (place, samples, weight) in &quarter.counts {
                let sum = sums.entry(*place).or_default();
                sum[0] += f64::from(*samples) * share;
                sum[1] += *weight as f64 * share;
            }
            rest[0] += quarter.others.samples as f64 * share;
            rest[1] += quarter.others.weight as f64 * share;
        }
        let round = |[samples, weight]: [f64; 2]| Amount {
            samples: samples.round() as u64,
            weight: weight.round() as u64,
        };
        let sums = sums.into_iter().map(|(place, sum)| (place, round(sum)));
        (sums.filter(|(_, amount)| amount.samples > 0).collect(), round(rest))
    }

    /// The last stack of each thread that was sampled up to and with a quarter, within a second or so.
    pub(super) fn last_of_threads(&self, until: u64) -> FxHashMap<u32, RawPlace> {
        let mut last = FxHashMap::default();
        for (_, quarter) in self.quarters.iter().rev().skip_while(|(number, _)| *number > until).take(8) {
            for (place, _, _) in quarter.counts.iter().rev() {
                if let Some(stack) = self.stacks.get(*place) {
                    last.entry(stack.key.owner.thread).or_insert(*place);
                }
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uniprof_tui::picture::Span;

    use super::*;

    fn key(thread: u32) -> RawKey {
        RawKey { owner: Owner { thread, vcpu: 0 }, mark: 0 }
    }

    fn one(weight: u64) -> RawAmount {
        RawAmount { amount: Amount::sample(weight), missed: 0 }
    }

    fn told(sums: &StackSums, span: Span, last: u64) -> Vec<(u64, u64)> {
        let sums_of = sums.sums(&Reach::new(span, last), 100);
        let name = |place| sums.get(place).unwrap().frames[0];
        sums_of.stacks.iter().map(|(place, amount)| (name(*place), amount.samples)).collect()
    }

    #[test]
    fn spans_end_where_they_are_said_to_and_earlier_moments_can_be_shown() {
        let mut sums = StackSums::default();
        for (quarter, frame, times) in [(0, 1, 8), (10, 2, 4), (18, 3, 2), (19, 1, 1)] {
            for _ in 0..times {
                sums.add(quarter, key(1), &[frame], one(10));
            }
        }
        assert_eq!(told(&sums, Span::All, 19), [(1, 9), (2, 4), (3, 2)]);
        assert_eq!(told(&sums, Span::All, 18), [(1, 8), (2, 4), (3, 2)], "what came later does not count");
        assert_eq!(told(&sums, Span::All, 9), [(1, 8)]);
        assert_eq!(told(&sums, Span::Last(1.0), 19), [(3, 2), (1, 1)]);
        assert_eq!(told(&sums, Span::Last(10.0), 12), [(1, 8), (2, 4)]);
        assert_eq!(told(&sums, Span::Last(f64::NAN), 19), [(3, 2), (1, 1)], "as a second");
        // Half a second is two quarters: what is ten quarters old counts a 32nd, and is rounded off.
        assert_eq!(told(&sums, Span::Decay(0.5), 20), [(1, 1), (3, 1)]);
    }

    #[test]
    fn the_last_stack_of_a_thread_is_the_one_that_was_sampled_last() {
        let mut sums = StackSums::default();
        // In the first quarter the one that was known first is the last, and then one that is as rare as many others.
        let known = [(0, 1, 10), (0, 2, 50), (0, 1, 11), (0, 1, 10), (0, 2, 51)];
        let rare = (0..2 * MOST_IN_RECENT as u64).map(|frame| (1, 1, 1000 + frame));
        for (quarter, thread, frame) in known.into_iter().chain(rare).chain([(1, 1, 11), (2, 2, 50)]) {
            sums.add(quarter, key(thread), &[frame], one(1));
        }
        let told = |sums: &StackSums, until| {
            let last = sums.last_of_threads(until);
            [1, 2].map(|thread| sums.get(last[&thread]).unwrap().frames[0])
        };
        assert_eq!(told(&sums, 0), [10, 51]);
        assert_eq!(told(&sums, 1), [11, 51]);
        assert_eq!(told(&sums, 2), [11, 50]);
        sums.add(1 + RECENT, key(3), &[9], one(1));
        sums.add(2 + RECENT, key(3), &[9], one(1));
        assert_eq!(sums.quarters.get(1).unwrap().counts.len(), MOST_IN_QUARTER);
        assert_eq!(told(&sums, 1), [11, 51], "those that are put together are not the last");
    }

    #[test]
    fn more_stacks_than_fit_take_no_more_room_and_none_is_lost() {
        let mut sums = StackSums::with_limit(1 << 20);
        let mut frames = [0; 10];
        for number in 0..200_000_u64 {
            // Every tenth sample is of the same stack, which stays.
            frames[0] = if number.is_multiple_of(10) { u64::MAX } else { number };
            sums.add(number / 500, key(1), &frames, one(3));
        }
        assert!(sums.stacks.bytes() <= 1 << 20);
        let all = sums.sums(&Reach::new(Span::All, 400), 1000);
        assert_eq!(all.total(), Amount { samples: 200_000, weight: 600_000 });
        assert_eq!((all.stacks.len(), all.stacks[0].1.samples), (1000, 20_000));
        let last = sums.sums(&Reach::new(Span::Last(1.0), 399), 1000);
        assert_eq!(last.total().samples, 2000, "of four quarters");
        assert_eq!(last.stacks[0].1.samples, 200);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_plain_list(
            samples in proptest::collection::vec((0u64..30, 0u64..6, 1u64..100), 1..200),
            last in 0u64..30,
        ) {
            let mut sums = StackSums::default();
            for (quarter, frame, weight) in &samples {
                sums.add(*quarter, key(1), &[*frame], one(*weight));
            }
            let total = |from: u64, to: u64| {
                let within = samples.iter().filter(|(quarter, _, _)| (from..=to).contains(quarter));
                within.fold(Amount::default(), |mut sum, (_, _, weight)| {
                    sum += Amount::sample(*weight);
                    sum
                })
            };
            let sum = |span| sums.sums(&Reach::new(span, last), 3).total();
            prop_assert_eq!(sum(Span::All), total(0, last));
            prop_assert_eq!(sum(Span::Last(2.0)), total((last + 1).saturating_sub(8), last));
        }
    }
}
