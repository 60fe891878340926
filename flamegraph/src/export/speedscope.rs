//! speedscope's own format: <https://www.speedscope.app/file-format-schema.json>.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer};

use super::dense::Dense;
use super::row::{Row, rows};
use crate::error::RenderError;
use crate::frame::Kind;
use crate::profile::{Owner, Profile};
use crate::title::Title;

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: &'static str,
    name: String,
    #[serde(rename = "activeProfileIndex")]
    active: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: &'a [Place<'a>],
}

/// What speedscope tells functions apart by.
#[derive(Serialize, PartialEq, Eq, Hash, Clone)]
struct Place<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
struct Sampled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    unit: &'static str,
    #[serde(rename = "startValue")]
    start: u64,
    #[serde(rename = "endValue")]
    end: u64,
    samples: Vec<Path<'a>>,
    weights: Vec<u64>,
}

/// A stack, which becomes a list of frames only when it is written.
#[derive(Clone, Copy)]
struct Path<'a> {
    stacks: &'a Stacks,
    node: Option<u32>,
}

/// Stacks of a profile, and the place of each of their frames.
struct Stacks {
    dense: Dense,
    place_of: Vec<u32>,
}

impl Serialize for Path<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let frames = self.stacks.dense.path(self.node);
        let mut path: Vec<u32> = frames.map(|frame| self.stacks.place_of[frame as usize]).collect();
        path.reverse();
        path.serialize(serializer)
    }
}

/// Writes `profile` as JSON for speedscope: one of its profiles for each thread, then one for each vCPU, whose stacks start
/// with their thread. Samples are in the order of time, and weigh the vCPU time that they stand for in nanoseconds; or
/// their number, where that time is not known. The one that is shown first is the thread with the most of it.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn speedscope(profile: &Profile, title: &Title, out: &mut impl Write) -> Result<(), RenderError> {
    let rows = rows(profile)?;
    let is_timed = profile.total().weight > 0;
    let unit = if is_timed { profile.measured().unit().name() } else { "none" };
    let mut places = Places::default();
    let code = places.stacks(profile, Dense::new(profile, |frame| frame.kind != Kind::Thread));
    let whole = places.stacks(profile, Dense::new(profile, |_| true));
    let mut threads: BTreeMap<u32, Sampled<'_>> = BTreeMap::new();
    let mut vcpus: BTreeMap<u32, Sampled<'_>> = BTreeMap::new();
    for row in &rows {
        let Owner { thread, vcpu } = row.owner;
        let name = || super::thread_name(profile, thread).into_owned();
        threads.entry(thread).or_insert_with(|| Sampled::new(name(), unit)).add(row, &code, is_timed);
        let name = || format!("vCPU {vcpu}");
        vcpus.entry(vcpu).or_insert_with(|| Sampled::new(name(), unit)).add(row, &whole, is_timed);
    }
    let active = threads.values().enumerate().max_by_key(|(index, one)| (one.end, Reverse(*index)));
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        exporter: super::PRODUCER,
        name: title.heading(),
        active: active.map_or(0, |(index, _)| index),
        shared: Shared { frames: &places.all },
        profiles: threads.into_values().chain(vcpus.into_values()).collect(),
    };
    serde_json::to_writer(out, &file).map_err(io::Error::from)?;
    Ok(())
}

impl<'a> Sampled<'a> {
    fn new(name: String, unit: &'static str) -> Self {
        Self { kind: "sampled", name, unit, start: 0, end: 0, samples: Vec::new(), weights: Vec::new() }
    }

    fn add(&mut self, row: &Row, stacks: &'a Stacks, is_timed: bool) {
        let weight = if is_timed { row.amount.weight } else { row.amount.samples };
        self.end = self.end.saturating_add(weight);
        self.samples.push(Path { stacks, node: stacks.dense.node(row.stack) });
        self.weights.push(weight);
    }
}

/// speedscope draws frames with different numbers apart, so addresses must not tell them apart.
#[derive(Default)]
struct Places<'a> {
    all: Vec<Place<'a>>,
    index: FxHashMap<Place<'a>, u32>,
}

impl<'a> Places<'a> {
    fn stacks(&mut self, profile: &'a Profile, dense: Dense) -> Stacks {
        let place_of = dense.frames.iter().map(|id| {
            let frame = profile.frame(*id);
            let place = Place { name: super::marked_name(&frame), file: frame.file, line: frame.line };
            *self.index.entry(place).or_insert_with_key(|place| {
                self.all.push(place.clone());
                (self.all.len() - 1) as u32
            })
        });
        Stacks { place_of: place_of.collect(), dense }
    }
}
