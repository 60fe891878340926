//! From a guest's TSC to the time on the wall, with a bound of the error.
//!
//! ```text
//!  host │                      ┌ the guest was paused here, or anywhere between the pairs
//!  time │               ·······│─────────┤ pair 3: it was that TSC at most so long before the look
//!       │        ├─────┤·······
//!       │ ├───┤
//!       └──────────────────────────────── TSC
//! ```
//!
//! A pair says between which two moments of the host the guest's clock was at a value. Between two pairs it went at its rate, or stood
//! still: whatever lies after the first began no earlier than that and its ticks later, and whatever lies before the second no later than
//! that less its ticks. The answer is the middle of these two, the bound half of what lies between them.

use super::HostTime;
use super::rate::rate;
use crate::recording::ClockPair;

/// Times beyond this (36 years of uptime) are no host's.
const MOST_NS: u64 = 1 << 60;
/// Less than this is not called a pause: it can't be told from a host that took the CPU from a vCPU between reading its clock and telling it.
const LEAST_PAUSE_NS: i64 = 100_000_000;
/// The host's wall clock was set, if it moved by this much against the monotonic one; less is noise of reading both.
const LEAST_STEP_NS: i64 = 20_000_000;
/// What contradicts by less than this does not.
const SLACK_NS: i64 = 100_000;

/// A moment on the wall, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime {
    /// The best guess.
    pub ns: u64,
    /// It is not farther from the truth than that; `None`: nothing was seen on one side of it, and a pause there would not be known.
    pub bound_ns: Option<u64>,
}

/// A stretch in which the guest's clock stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The last and the first values of the guest's clock that were seen before and after it.
    pub tsc: (u64, u64),
    /// When the former was seen, on the wall.
    pub after_ns: u64,
    /// How long it was.
    pub ns: u64,
    /// By how much it may have been longer or shorter.
    pub bound_ns: u64,
}

/// What is known of a guest's clock besides its pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// A value of its clock, and a moment of the host before which it was not there yet: the guest had not been started.
    pub not_before: Option<(u64, HostTime)>,
    /// A moment of the host by which everything that is asked about had happened: it had been read.
    pub not_after: Option<HostTime>,
}

/// A pair, as an interval of the host's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) tsc: u64,
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Sight {
    pub(super) fn width(&self) -> i64 {
        self.high - self.low
    }
}

/// A sight after what its neighbours tell of it.
#[derive(Clone, Copy, Debug)]
struct Knot {
    sight: Sight,
    middle: i64,
    /// The clock jumped ahead between this one and the next, so that no rate connects the two.
    jumps: bool,
}

/// The map of one boot of a guest.
#[derive(Clone, Debug, Default)]
pub struct ClockMap {
    knots: Vec<Knot>,
    tick_ns: f64,
    /// A tick is shorter than that by no more than this share.
    error: f64,
    /// Wall clock less monotonic clock.
    offset: i64,
    ends: (Option<(u64, i64)>, Option<i64>),
    stated_hz: u64,
    is_measured: bool,
    dropped: u64,
    jumps: u64,
    steps: Vec<i64>,
}

impl ClockMap {
    /// The map of a guest that says that its clock has `stated_hz` ticks a second (0: it does not say), of pairs in the order of their
    /// messages. Pairs that contradict the others are left out and counted.
    #[must_use]
    pub fn new(stated_hz: u64, pairs: &[(HostTime, ClockPair)], ends: Ends) -> Self {
        let (sights, dropped) = rising(pairs);
        let (offset, steps) = offset(pairs);
        let Some(rate) = rate(stated_hz, &sights) else {
            return Self { stated_hz, dropped: pairs.len() as u64, ..Self::default() };
        };
        let on_host = |at: HostTime| at.monotonic_ns.min(MOST_NS) as i64;
        let mut map = Self {
            knots: Vec::new(),
            tick_ns: rate.tick_ns,
            error: rate.error,
            offset,
            // Another host's monotonic clock may be meant, or a wall clock that was set since.
            ends: (
                ends.not_before.map(|(tsc, at)| (tsc, wall_to_host(at.realtime_ns, offset))),
                ends.not_after.map(on_host),
            ),
            stated_hz,
            is_measured: rate.is_measured,
            dropped,
            jumps: 0,
            steps,
        };
        map.tie(sights);
        map
    }

    /// When the guest's clock was at `tsc`; `None` where no pair and no rate is known.
    #[must_use]
    pub fn wall(&self, tsc: u64) -> Option<WallTime> {
        let (low, guess, high) = self.span(tsc)?;
        let bound = high.zip(low).map(|(high, low)| (high - guess).max(guess - low).max(0) as u64);
        Some(WallTime { ns: self.on_wall(guess), bound_ns: bound })
    }

    /// What the guest's clock was at `wall_ns`: of a pause, the value that it stood at.
    #[must_use]
    pub fn tsc(&self, wall_ns: u64) -> Option<u64> {
        let at = wall_to_host(wall_ns, self.offset);
        let (first, last) = (self.knots.first()?, self.knots.last()?);
        let ticks = |ns: i64| (ns as f64 / self.tick_ns) as u64;
        if at < first.middle {
            return Some(first.sight.tsc.saturating_sub(ticks(first.middle - at)));
        }
        if at >= last.middle {
            return Some(last.sight.tsc.saturating_add(ticks(at - last.middle)));
        }
        let index = self.knots.partition_point(|knot| knot.middle <= at) - 1;
        let [from, to] = [&self.knots[index], &self.knots[index + 1]];
        let begin = self.begin(index);
        let tsc = if from.jumps {
            let share = (at - from.middle) as f64 / (to.middle - from.middle).max(1) as f64;
            from.sight.tsc.saturating_add(((to.sight.tsc - from.sight.tsc) as f64 * share) as u64)
        } else {
            from.sight.tsc.saturating_add(ticks((at - begin).max(0)))
        };
        Some(tsc.min(to.sight.tsc))
    }

    /// The pauses that can be told from a host that was slow to look, in order.
    pub fn pauses(&self) -> impl Iterator<Item = Pause> + '_ {
        self.knots.windows(2).filter_map(|pair| {
            let [from, to] = [&pair[0], &pair[1]];
            let ticks = self.ticks(to.sight.tsc - from.sight.tsc);
            let least = to.sight.low - from.sight.high - ticks;
            if from.jumps || least < LEAST_PAUSE_NS {
                return None;
            }
            let most = to.sight.high - from.sight.low - self.fewest(to.sight.tsc - from.sight.tsc);
            Some(Pause {
                tsc: (from.sight.tsc, to.sight.tsc),
                after_ns: self.on_wall(from.middle),
                ns: ((least + most) / 2) as u64,
                bound_ns: ((most - least + 1) / 2) as u64,
            })
        })
    }

    /// The widest bound between the first pair and the last; without `paused`, outside of pauses. `None` with less than two pairs.
    #[must_use]
    pub fn worst_bound_ns(&self, paused: bool) -> Option<u64> {
        let pauses: Vec<(u64, u64)> = self.pauses().map(|pause| pause.tsc).collect();
        let segments = (1..self.knots.len()).map(|index| index - 1);
        let counts = |index: &usize| {
            let tsc = self.knots[*index].sight.tsc;
            paused || pauses.binary_search_by_key(&tsc, |pause| pause.0).is_err()
        };
        segments.filter(counts).map(|index| self.widest(index)).max().map(|bound| bound as u64)
    }

    /// Ticks of the guest's clock in a second: what it says itself, unless the pairs contradict.
    #[must_use]
    pub fn hz(&self) -> Option<f64> {
        (self.tick_ns > 0.0).then(|| 1e9 / self.tick_ns)
    }

    /// What the guest says of that, where the pairs say something else.
    #[must_use]
    pub fn contradicted_hz(&self) -> Option<u64> {
        (self.is_measured && self.stated_hz > 0).then_some(self.stated_hz)
    }

    /// Pairs that it rests on.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.knots.len()
    }

    /// Pairs that were left out because they contradict the others.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How often the guest's clock jumped ahead.
    #[must_use]
    pub const fn jumps(&self) -> u64 {
        self.jumps
    }

    /// By how many nanoseconds the host's wall clock was set each time it was. Times are told by it as it was at the end.
    #[must_use]
    pub fn steps(&self) -> &[i64] {
        &self.steps
    }

    /// The places where the map bends: values of the guest's clock between which it goes at its rate.
    pub fn knots(&self) -> impl Iterator<Item = u64> + '_ {
        self.knots.iter().map(|knot| knot.sight.tsc)
    }

    /// Makes knots of sights: each is as sharp as the others and the rate allow.
    fn tie(&mut self, mut sights: Vec<Sight>) {
        let jumps = self.contradictions(&mut sights);
        // Nothing is earlier than what came before it and the ticks since, nothing later than what comes after it less the ticks until then.
        for index in 1..sights.len() {
            let (before, now) = (sights[index - 1], sights[index]);
            if !jumps[index - 1] {
                sights[index].low = now.low.max(before.low + self.fewest(now.tsc - before.tsc));
            }
        }
        for index in (1..sights.len()).rev() {
            let (now, after) = (sights[index - 1], sights[index]);
            if !jumps[index - 1] {
                sights[index - 1].high = now.high.min(after.high - self.fewest(after.tsc - now.tsc));
            }
        }
        let mut reached = i64::MIN;
        for (sight, jumps) in sights.iter().zip(jumps) {
            let (low, high) = (sight.low.min(sight.high), sight.low.max(sight.high));
            reached = reached.max(low + (high - low) / 2);
            self.knots.push(Knot { sight: Sight { tsc: sight.tsc, low, high }, middle: reached, jumps });
        }
    }

    /// Finds what can't be: a sight that is earlier than those before it allow. Either one of those came too late, because a vCPU lost its CPU
    /// between reading the clock and saying so, and nothing before it says the same: then that is put right. Or the clock jumped: after
    /// which of the sights it did is returned.
    fn contradictions(&mut self, sights: &mut [Sight]) -> Vec<bool> {
        let mut jumps = vec![false; sights.len()];
        // The sight that says the most about how early the next can be, and the best one besides it: what each says, and which it is.
        let (mut best, mut second): (Option<(i64, usize)>, Option<i64>) = (None, None);
        for index in 0..sights.len() {
            let now = sights[index];
            let gone = index.checked_sub(1).map_or(0, |before| self.fewest(now.tsc - sights[before].tsc));
            best = best.map(|(low, of)| (low + gone, of));
            second = second.map(|low| low + gone);
            let is_met = |earliest: i64| now.high + SLACK_NS >= earliest;
            if let Some((_, of)) = best.filter(|(low, _)| !is_met(*low)) {
                if let Some(other) = second.filter(|low| is_met(*low)) {
                    let since = self.fewest(now.tsc - sights[of].tsc);
                    sights[of].low = sights[of].low.min(other - since);
                    self.dropped += 1;
                    (best, second) = (Some((other, index)), None);
                } else {
                    jumps[index - 1] = true;
                    self.jumps += 1;
                    (best, second) = (None, None);
                }
            }
            match best {
                Some((low, _)) if now.low > low => (best, second) = (Some((now.low, index)), Some(low)),
                Some(_) => second = second.max(Some(now.low)),
                None => best = Some((now.low, index)),
            }
        }
        jumps
    }

    /// From when to when a value may have been, and the guess.
    fn span(&self, tsc: u64) -> Option<(Option<i64>, i64, Option<i64>)> {
        let (first, last) = (self.knots.first()?, self.knots.last()?);
        if tsc < first.sight.tsc {
            return Some(self.before(first, tsc));
        }
        let index = self.knots.partition_point(|knot| knot.sight.tsc <= tsc) - 1;
        let from = &self.knots[index];
        if tsc == from.sight.tsc {
            return Some((Some(from.sight.low), from.middle, Some(from.sight.high)));
        }
        let Some(to) = self.knots.get(index + 1) else {
            return Some(self.after(last, tsc));
        };
        if from.jumps {
            let share = (tsc - from.sight.tsc) as f64 / (to.sight.tsc - from.sight.tsc) as f64;
            let guess = from.middle + ((to.middle - from.middle) as f64 * share) as i64;
            return Some((Some(from.sight.low), guess.min(to.middle), Some(to.sight.high)));
        }
        let guess = self.begin(index).saturating_add(self.ticks(tsc - from.sight.tsc));
        let low = from.sight.low + self.fewest(tsc - from.sight.tsc);
        let high = to.sight.high - self.fewest(to.sight.tsc - tsc);
        Some((Some(low), guess.clamp(from.middle, to.middle), Some(high)))
    }

    /// Of what lies before the first pair only the guest's start is known.
    fn before(&self, first: &Knot, tsc: u64) -> (Option<i64>, i64, Option<i64>) {
        let gap = first.sight.tsc - tsc;
        let high = first.sight.high.saturating_sub(self.fewest(gap));
        let guess = first.middle.saturating_sub(self.ticks(gap));
        let (Some((start, at)), true) = (self.ends.0, self.ends.0.is_some_and(|(start, _)| start <= tsc))
        else {
            return (None, guess, Some(high));
        };
        let low = at.saturating_add(self.fewest(tsc - start));
        if low > high {
            // The wall clock was set, or the guest's clock did not begin when it says.
            return (None, guess, Some(high));
        }
        (Some(low), guess.max(low).min(first.middle), Some(high))
    }

    /// Of what lies after the last pair only that it had been read by the end is known.
    fn after(&self, last: &Knot, tsc: u64) -> (Option<i64>, i64, Option<i64>) {
        let low = last.sight.low.saturating_add(self.fewest(tsc - last.sight.tsc));
        let guess = last.middle.saturating_add(self.ticks(tsc - last.sight.tsc));
        match self.ends.1.filter(|end| *end >= low) {
            Some(end) => (Some(low), guess.min(end).max(last.middle), Some(end)),
            None => (Some(low), guess, None),
        }
    }

    /// Where the line between a knot and the next one begins: in the middle of the earliest and the latest.
    fn begin(&self, index: usize) -> i64 {
        let [from, to] = [&self.knots[index].sight, &self.knots[index + 1].sight];
        let latest = to.high - self.ticks(to.tsc - from.tsc);
        from.low + (latest - from.low) / 2
    }

    /// The widest bound between a knot and the next one: in the middle, or at one of the two ends.
    fn widest(&self, index: usize) -> i64 {
        let [from, to] = [&self.knots[index], &self.knots[index + 1]];
        let inside = [from.sight.tsc.saturating_add(1), to.sight.tsc.saturating_sub(1)];
        let middle = from.sight.tsc + (to.sight.tsc - from.sight.tsc) / 2;
        let spans = inside.into_iter().chain([middle]).filter_map(|tsc| self.span(tsc));
        let bounds = spans.map(|(low, guess, high)| {
            let [low, high] = [low, high].map(|end| end.unwrap_or(guess));
            (high - guess).max(guess - low)
        });
        bounds.max().unwrap_or(0).max(0)
    }

    /// Ticks as nanoseconds.
    fn ticks(&self, ticks: u64) -> i64 {
        ((ticks as f64 * self.tick_ns) as i64).min(MOST_NS as i64)
    }

    /// What so many ticks took at least.
    fn fewest(&self, ticks: u64) -> i64 {
        ((ticks as f64 * self.tick_ns * (1.0 - self.error)) as i64).min(MOST_NS as i64)
    }

    fn on_wall(&self, at: i64) -> u64 {
        u64::try_from(i128::from(at) + i128::from(self.offset)).unwrap_or(0)
    }
}

fn wall_to_host(wall_ns: u64, offset: i64) -> i64 {
    let at = i128::from(wall_ns) - i128::from(offset);
    at.clamp(-i128::from(MOST_NS), MOST_NS.into()) as i64
}

/// The most pairs of which both clocks rise, and how many are not among them.
fn rising(pairs: &[(HostTime, ClockPair)]) -> (Vec<Sight>, u64) {
    let mut sights: Vec<Sight> = Vec::with_capacity(pairs.len());
    let mut dropped = 0;
    for (at, pair) in pairs {
        let known = at.monotonic_ns <= MOST_NS && pair.uncertainty_ns <= MOST_NS;
        let (high, low) =
            (at.monotonic_ns as i64, (at.monotonic_ns as i64).wrapping_sub_unsigned(pair.uncertainty_ns));
        match sights.last() {
            _ if !known => dropped += 1,
            Some(last) if last.high > high => dropped += 1,
            // The same sign of life, seen again.
            Some(last) if last.tsc == pair.tsc => {}
            _ => sights.push(Sight { tsc: pair.tsc, low, high }),
        }
    }
    let kept = longest_rise(&sights);
    dropped += (sights.len() - kept.len()) as u64;
    (kept, dropped)
}

/// The longest subsequence whose TSCs rise: one bad pair costs itself, wherever it stands. (Schensted 1961; n log n.)
fn longest_rise(sights: &[Sight]) -> Vec<Sight> {
    // For each length the pair with the lowest TSC that ends a rise of that length, and for each pair the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(sights.len());
    for (index, sight) in sights.iter().enumerate() {
        let length = ends.partition_point(|end| sights[*end].tsc < sight.tsc);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut kept: Vec<Sight> = std::iter::successors(ends.last().copied(), |index| before[*index])
        .map(|index| sights[index])
        .collect();
    kept.reverse();
    kept
}

/// What the wall clock was ahead of the monotonic one at the end, and how it was set before.
fn offset(pairs: &[(HostTime, ClockPair)]) -> (i64, Vec<i64>) {
    let mut steps = Vec::new();
    let mut current: Option<i64> = None;
    // Both clocks are read one after the other: who is interrupted in between sees the wall clock too far ahead, once.
    let mut apart: Option<i64> = None;
    for (at, _) in pairs {
        let seen = i128::from(at.realtime_ns) - i128::from(at.monotonic_ns);
        let seen = seen.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let is_near = |known: i64| known.abs_diff(seen) < LEAST_STEP_NS.unsigned_abs();
        match (current, apart) {
            (None, _) => current = Some(seen),
            (Some(known), _) if is_near(known) => (current, apart) = (Some(known.min(seen)), None),
            (Some(known), Some(other)) if is_near(other) => {
                steps.push(other.saturating_sub(known));
                (current, apart) = (Some(other.min(seen)), None);
            }
            _ => apart = Some(seen),
        }
    }
    (current.unwrap_or(0), steps)
}

#[cfg(test)]
mod tests;
