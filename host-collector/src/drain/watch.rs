//! When the guest's clock was what: looks at its latest sign of life, and which of them are worth a clock pair.

use std::time::Duration;

use crate::{clock::HostTime, recording::ClockPair};

/// A look at the clock takes a microsecond; so often are some taken in a row where a good pair is wanted.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// The best pair of each such time is recorded.
const PAIR_EVERY_NS: u64 = 100_000_000;
/// A guest that stood still for longer than that may have been paused: then the last pair before and the first one after it are recorded,
/// so that all others are as sharp as ever.
const STILL_NS: u64 = 10_000_000;

/// A clock pair, with the moment of the look.
pub(super) type Pair = (HostTime, ClockPair);
/// The pairs that are to be recorded now.
pub(super) type Pairs = [Option<Pair>; 2];

/// The guest's latest sign of life, watched for when it changes.
#[derive(Debug)]
pub(super) struct Clock {
    tsc_hz: u64,
    /// What the last look saw, and when it began.
    seen: Option<(u64, HostTime)>,
    /// The last change that was seen.
    changed: Option<Pair>,
    /// The best change since something was recorded.
    best: Option<Pair>,
    told: Option<Pair>,
    /// When the next one is due.
    due_ns: Option<u64>,
}

impl Clock {
    pub(super) const fn new(tsc_hz: u64) -> Self {
        Self { tsc_hz, seen: None, changed: None, best: None, told: None, due_ns: None }
    }

    /// How soon to look again, where a pair is due. A guest that stands still is looked at ever more seldom.
    pub(super) fn wants_look(&self, now: HostTime) -> Option<Duration> {
        let overdue = now.monotonic_ns.checked_sub(self.due_ns?)?;
        Some(LOOK_EVERY.max(Duration::from_nanos(overdue / 100)))
    }

    /// Takes in a look, from its begin to its end, and returns what is to be recorded.
    pub(super) fn look(&mut self, tsc: u64, begin: HostTime, end: HostTime) -> Pairs {
        let before = self.seen.replace((tsc, begin));
        let due_ns = *self.due_ns.get_or_insert(end.monotonic_ns);
        let mut stood_still = None;
        match before {
            Some((known, at)) if known != tsc => {
                // It was not there when the last look began, and is there now.
                let now = (end, ClockPair { tsc, uncertainty_ns: since(at, end) });
                stood_still =
                    self.changed.filter(|last| self.stood_still(last, &now)).map(|last| (last, now));
                self.changed = Some(now);
                if self.best.is_none_or(|(_, best)| now.1.uncertainty_ns <= best.uncertainty_ns) {
                    self.best = Some(now);
                }
            }
            _ => {}
        }
        if let Some((last, now)) = stood_still {
            let last = self.is_news(&last).then_some(last);
            self.best = None;
            self.tell(now, end);
            return [last, Some(now)];
        }
        if end.monotonic_ns < due_ns {
            return [None, None];
        }
        let best = self.best.take();
        best.inspect(|best| self.tell(*best, end));
        [best, None]
    }

    /// The last change that was seen, if it has not been recorded.
    pub(super) fn last(&mut self) -> Pairs {
        let last = self.changed.filter(|last| self.is_news(last));
        self.told = last.or(self.told);
        [last, None]
    }

    fn tell(&mut self, pair: Pair, now: HostTime) {
        self.told = Some(pair);
        self.due_ns = Some(now.monotonic_ns.saturating_add(PAIR_EVERY_NS));
    }

    fn is_news(&self, (_, pair): &Pair) -> bool {
        self.told.is_none_or(|(_, told)| told.tsc != pair.tsc)
    }

    /// Whether more time went by for the host than for the guest.
    fn stood_still(&self, (last, before): &Pair, (now, after): &Pair) -> bool {
        let ticks = u128::from(after.tsc.saturating_sub(before.tsc)) * 1_000_000_000;
        let Some(ran) = ticks.checked_div(self.tsc_hz.into()) else { return false };
        let least = since(*last, *now).saturating_sub(after.uncertainty_ns);
        u128::from(least) > ran + u128::from(STILL_NS)
    }
}

const fn since(then: HostTime, now: HostTime) -> u64 {
    now.monotonic_ns.saturating_sub(then.monotonic_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ns: u64) -> HostTime {
        HostTime { monotonic_ns: ns, realtime_ns: ns }
    }

    fn pair(ns: u64, tsc: u64, uncertainty_ns: u64) -> Option<Pair> {
        Some((at(ns), ClockPair { tsc, uncertainty_ns }))
    }

    /// A look that takes 10 ns.
    fn look(clock: &mut Clock, tsc: u64, end: u64) -> Pairs {
        clock.look(tsc, at(end - 10), at(end))
    }

    #[test]
    fn the_pair_is_the_best_of_its_time() {
        let mut clock = Clock::new(0);
        assert_eq!(look(&mut clock, 5, 100), [None, None], "when it became 5 is not known");
        assert_eq!(look(&mut clock, 6, 300), [pair(300, 6, 210), None]);
        for (tsc, end) in [(7, 400), (9, 450), (11, 700)] {
            assert_eq!(look(&mut clock, tsc, end), [None, None]);
        }
        assert_eq!(clock.wants_look(at(301)), None);
        assert_eq!(clock.wants_look(at(300 + PAIR_EVERY_NS)), Some(LOOK_EVERY));
        assert_eq!(clock.wants_look(at(300 + 11 * PAIR_EVERY_NS)), Some(Duration::from_millis(10)));
        assert_eq!(look(&mut clock, 11, 300 + PAIR_EVERY_NS), [pair(450, 9, 60), None]);
        assert_eq!(
            look(&mut clock, 11, 300 + 3 * PAIR_EVERY_NS),
            [None, None],
            "a clock that stands says nothing"
        );
        assert_eq!(clock.last(), [pair(700, 11, 260), None], "the last sign of life is told at the end");
        assert_eq!(clock.last(), [None, None]);
    }

    #[test]
    fn a_pause_is_enclosed_by_pairs() {
        // A tick is a nanosecond.
        let mut clock = Clock::new(1_000_000_000);
        look(&mut clock, MS, MS + 5);
        look(&mut clock, 2 * MS, 2 * MS + 5);
        // A sign of life each millisecond, until the 8th; then two seconds of nothing.
        for beat in 3..=8 {
            assert_eq!(look(&mut clock, beat * MS, beat * MS + 5), [None, None]);
        }
        for look_at in 9..2000 {
            assert_eq!(look(&mut clock, 8 * MS, look_at * MS)[1], None);
        }
        let told = look(&mut clock, 9 * MS, 2000 * MS);
        assert_eq!(
            told,
            [None, pair(2000 * MS, 9 * MS, MS + 10)],
            "the best one, told meanwhile, is the last"
        );
        // The next pause comes before a pair is due.
        look(&mut clock, 10 * MS, 2001 * MS);
        look(&mut clock, 11 * MS, 2002 * MS);
        look(&mut clock, 11 * MS, 2020 * MS);
        let told = look(&mut clock, 12 * MS, 2021 * MS);
        assert_eq!(told, [pair(2002 * MS, 11 * MS, MS + 10), pair(2021 * MS, 12 * MS, MS + 10)]);
    }
}
