//! A recording, played as it was recorded.
//!
//! It is read from front to back and never held in memory. What lies within the last minutes before the moment is kept anyway; to go further
//! back it is read again from its beginning.

use std::time::{Duration, Instant};

use uniprof_collector::recording::{Body, Item};
use uniprof_collector::tables::Tables;

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
            position: range.first,
            target: range.first as f64,
            speed: 1.0,
            ticked: Instant::now(),
            range,
            ended: false,
            is_fast: false,
        })
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

    /// Goes to a moment in seconds since the guest's boot; `None`: the end. Returns whether it has to be read again from its beginning.
    pub(crate) fn seek(&mut self, at: Option<f64>) -> anyhow::Result<bool> {
        self.target = at.map_or(f64::MAX, |at| self.range.host(at));
        self.is_fast = true;
        if self.target >= self.position as f64 {
            return Ok(false);
        }
        self.source = Source::open(&self.input)?;
        (self.position, self.ended) = (self.range.first, false);
        Ok(true)
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
