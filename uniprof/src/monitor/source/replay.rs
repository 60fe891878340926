//! A recording, played as it was recorded.
//!
//! It is read from front to back and never held in memory. To go back it is read again from the [checkpoint](super::checkpoints) before.

use std::time::{Duration, Instant};

use uniprof_collector::recording::{Body, Item};
use uniprof_collector::tables::Tables;

use super::checkpoints::Checkpoints;
use crate::input::Input;
use crate::monitor::model::Model;
use crate::profile::Source;

/// How long is read before anything else is looked after.
const SLICE: Duration = Duration::from_millis(40);
/// How often it is looked whether there is something to read.
const PAUSE: Duration = Duration::from_millis(20);

/// A recording that is played.
pub(crate) struct Replay {
    input: Input,
    source: Source,
    checkpoints: Checkpoints,
    /// Up to where it has been read, by the collector's clock.
    position: u64,
    /// Up to where it is to be read.
    target: f64,
    speed: f64,
    ticked: Instant,
    range: Range,
    ended: bool,
    /// A message that is later than where it is to be read to has been read: nothing before that comes.
    is_fast: bool,
}

/// From when to when a recording goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Range {
    /// By the collector's clock, in nanoseconds.
    first: u64,
    last: u64,
    /// In seconds since the guest's boot, at those.
    boot: (f64, f64),
}

impl Replay {
    /// Opens a recording, and looks from when to when it goes.
    pub(crate) fn open(input: &Input) -> anyhow::Result<Self> {
        let range = Range::of(Source::open(input)?)?;
        Ok(Self {
            input: input.clone(),
            source: Source::open(input)?,
            checkpoints: Checkpoints::default(),
            position: range.first,
            target: range.first as f64,
            speed: 1.0,
            ticked: Instant::now(),
            range,
            ended: false,
            is_fast: false,
        })
    }

    /// Reads it to its end in the steps that come, never to go back.
    pub(crate) fn only_to_the_end(&mut self) {
        self.checkpoints = Checkpoints::none();
        (self.target, self.is_fast) = (f64::MAX, true);
    }

    /// How many times as fast as the guest it goes.
    pub(crate) fn speed(&self) -> f64 {
        self.speed
    }

    /// Goes on so fast from now on.
    pub(crate) fn set_speed(&mut self, speed: f64) {
        self.speed = if speed.is_finite() { speed.clamp(0.0, 1000.0) } else { 1.0 };
    }

    /// The first and the last moment, in seconds since the guest's boot.
    pub(crate) fn range(&self) -> (f64, f64) {
        self.range.boot
    }

    /// Whether it has been read to its end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ended
    }

    /// Goes to a moment in seconds since the guest's boot; `None`: the end. `model` has seen all that was read, and sees the rest in steps.
    pub(crate) fn seek(&mut self, at: Option<f64>, model: &mut Model) -> anyhow::Result<()> {
        self.target = at.map_or(f64::MAX, |at| self.range.host(at));
        self.is_fast = true;
        let (position, target) = (self.position as f64, self.target);
        let checkpoint =
            self.checkpoints.before(target).filter(|one| target < position || one.position as f64 > position);
        if let Some(checkpoint) = checkpoint
            && self.source.go_to(&checkpoint.place)?
        {
            model.restore(&checkpoint.state);
            (self.position, self.ended) = (checkpoint.position, false);
        } else if target < position {
            self.source = Source::open(&self.input)?;
            model.restart();
            (self.position, self.ended) = (self.range.first, false);
        }
        Ok(())
    }

    /// Reads what is due, and says how long to wait before the next time.
    pub(crate) fn step(&mut self, model: &mut Model) -> anyhow::Result<Duration> {
        let now = Instant::now();
        let passed = now.duration_since(std::mem::replace(&mut self.ticked, now));
        if self.is_fast && self.position as f64 >= self.target {
            self.is_fast = false;
        }
        if !self.is_fast {
            self.target = (self.target + passed.as_nanos() as f64 * self.speed).min(self.range.last as f64);
        }
        // At the end the file is read up to where it says so.
        let to_the_end = self.target >= self.range.last as f64;
        while !self.ended && (to_the_end || (self.position as f64) < self.target) {
            match self.source.next()? {
                Some(Item::Message(message)) => {
                    // Those that were written out of order do not turn the time back.
                    self.position = self.position.max(message.at.monotonic_ns);
                    model.feed(&message);
                    self.checkpoints.note(self.source.place(), self.position, model);
                }
                Some(Item::Gap) => model.gap(),
                Some(Item::Session(_) | Item::Attachment(_)) => {}
                None => self.ended = true,
            }
            if now.elapsed() >= SLICE {
                return Ok(Duration::ZERO);
            }
        }
        if self.ended {
            (self.is_fast, self.target) = (false, self.range.last as f64);
        }
        Ok(PAUSE)
    }
}

impl Range {
    fn of(mut source: Source) -> anyhow::Result<Self> {
        let mut range = Self::default();
        let mut clock: Option<(u64, u64)> = None;
        let mut signs: Option<[(u64, u64); 2]> = None;
        while let Some(item) = source.next()? {
            let Item::Message(message) = item else { continue };
            // Console lines are older than the first look at the rings, which is when records begin to come.
            if matches!(message.body, Body::Console { .. }) {
                continue;
            }
            let at = message.at.monotonic_ns;
            if range.first == 0 {
                (range.first, range.last) = (at, at);
            }
            range.first = range.first.min(at);
            range.last = range.last.max(at);
            let sign = match &message.body {
                Body::Region { bytes, .. } => Tables::parse(bytes).ok().map(|tables| {
                    clock = Some((tables.header.boot_tsc, tables.header.tsc_hz));
                    tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0)
                }),
                Body::Clock(pair) => Some(pair.tsc),
                _ => None,
            };
            if let Some(tsc) = sign.filter(|tsc| *tsc != 0) {
                signs.get_or_insert([(at, tsc); 2])[1] = (at, tsc);
            }
        }
        if let (Some((boot, hz)), Some([first, last])) = (clock, signs)
            && hz > 0
        {
            let seconds = |(at, tsc): (u64, u64), to: u64| {
                let there = tsc.saturating_sub(boot) as f64 / hz as f64;
                (there + (to as f64 - at as f64) / 1e9).max(0.0)
            };
            range.boot = (seconds(first, range.first), seconds(last, range.last));
        }
        Ok(range)
    }

    /// The collector's clock at a moment of the guest, as straight as the guest's clock ran.
    fn host(&self, at: f64) -> f64 {
        let (first, last) = self.boot;
        let share = if last > first { ((at - first) / (last - first)).clamp(0.0, 1.0) } else { 1.0 };
        self.first as f64 + share * (self.last - self.first) as f64
    }
}

#[cfg(test)]
mod tests {
    use uniprof_tui::picture::{Shown, Span};

    use super::*;
    use crate::monitor::tests::drawn;
    use crate::profile;
    use crate::profile::images::Images;

    const SPAN: u64 = 64 << 10;
    /// More than a message has.
    const MOST_MESSAGE: u64 = 128 << 10;

    fn sample(checkpoints: Checkpoints) -> (Replay, Model) {
        let model = Model::new(profile::head(&Input::Sample).unwrap().session, Images::default());
        let mut replay = Replay { checkpoints, ..Replay::open(&Input::Sample).unwrap() };
        replay.set_speed(0.0);
        (replay, model)
    }

    /// Goes to a share of the recording, and says how many bytes of it were read for that.
    fn go(replay: &mut Replay, model: &mut Model, share: f64) -> u64 {
        let (first, last) = replay.range();
        replay.seek((share < 1.0).then_some(first + (last - first) * share), model).unwrap();
        let begin = replay.source.place().offset();
        while replay.step(model).unwrap() == Duration::ZERO {}
        replay.source.place().offset() - begin
    }

    fn seen(model: &mut Model) -> String {
        let drawn = drawn(model, Span::All, Shown::Now);
        format!("{:?} {:?} {:?} {:?}", drawn.time, drawn.overview, drawn.threads, drawn.events)
    }

    #[test]
    fn to_go_back_reads_no_more_than_from_the_nearest_checkpoint_and_shows_the_same() {
        let (mut replay, mut model) = sample(Checkpoints::every(SPAN, usize::MAX));
        let all = go(&mut replay, &mut model, 1.0);
        assert!(all > 4 * (SPAN + MOST_MESSAGE), "{all}");
        assert!(replay.checkpoints.count() > 4);
        for share in [0.9, 0.5, 0.7, 0.2, 0.95] {
            let read = go(&mut replay, &mut model, share);
            assert!(read <= SPAN + MOST_MESSAGE, "{read} of {all} bytes for {share}");
            let (mut other, mut straight) = sample(Checkpoints::none());
            assert!(go(&mut other, &mut straight, share) >= read);
            assert_eq!(seen(&mut model), seen(&mut straight), "at {share}");
        }
        go(&mut replay, &mut model, 1.0);
        assert!(replay.is_at_end());
    }

    #[test]
    fn checkpoints_take_a_bounded_amount_of_memory() {
        let (mut replay, mut model) = sample(Checkpoints::every(1, 16 << 20));
        let all = go(&mut replay, &mut model, 1.0);
        assert!(replay.checkpoints.is_bounded() && replay.checkpoints.count() > 1);
        let read = go(&mut replay, &mut model, 0.8);
        assert!(read < all / 2, "{read} of {all}: those that stay are spread over the whole");
    }
}
