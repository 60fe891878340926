//! A profile as a JSON document of our own, with everything that it knows; its schema is `docs/schema/profile.json`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::dense::Dense;
use crate::error::RenderError;
use crate::frame::{Found, Kind};
use crate::profile::Profile;
use crate::title::{ClockPoint, Title};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    guest: &'a str,
    build_id: Option<&'a str>,
    rate_hz: Option<f64>,
    booted_ns: Option<u64>,
    clock: Vec<Clock>,
    duration_ns: Option<u64>,
    samples: u64,
    weight_ns: u64,
    /// By cause; `null` where it was not measured.
    lost: Option<BTreeMap<&'a str, u64>>,
    own_cost: Option<f64>,
    notes: &'a [String],
    images: Vec<Image<'a>>,
    threads: Vec<Thread<'a>>,
    frames: Vec<Frame<'a>>,
    stacks: Vec<Stack>,
    sums: Vec<Sum>,
    timeline: Vec<Sample>,
}

/// A 64-bit number that readers with doubles for numbers would round.
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

#[derive(Serialize)]
struct Image<'a> {
    name: &'a str,
    build_id: Option<&'a str>,
    start: Hex,
    end: Hex,
    bias: Hex,
}

#[derive(Serialize)]
struct Thread<'a> {
    id: u32,
    name: Option<&'a str>,
}

/// A moment by the guest's clock and on the wall.
#[derive(Serialize)]
struct Clock {
    at_ns: u64,
    wall_ns: u64,
    bound_ns: Option<u64>,
}

impl Clock {
    fn new(point: &ClockPoint) -> Self {
        Self { at_ns: point.at, wall_ns: point.wall, bound_ns: point.bound }
    }
}

#[derive(Serialize)]
struct Frame<'a> {
    name: &'a str,
    kind: &'static str,
    file: Option<&'a str>,
    line: Option<u32>,
    inlined: bool,
    found: &'static str,
    image: Option<u32>,
    address: Option<Hex>,
}

#[derive(Serialize)]
struct Stack {
    parent: Option<u32>,
    frame: u32,
}

#[derive(Serialize)]
struct Sum {
    stack: u32,
    thread: u32,
    vcpu: u32,
    samples: u64,
    weight_ns: u64,
}

#[derive(Serialize)]
struct Sample {
    at_ns: u64,
    stack: u32,
    thread: u32,
    vcpu: u32,
    weight_ns: u64,
}

/// Writes `profile` as a JSON document (`uniprof.profile/1`): its tables as they are, which point at each other by index.
/// Addresses are text in hexadecimal.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn json(profile: &Profile, title: &Title, out: &mut impl Write) -> Result<(), RenderError> {
    let total = profile.total();
    if total.samples == 0 {
        return Err(RenderError::NoSamples);
    }
    let dense = Dense::new(profile, |_| true);
    let document = Document {
        schema: "uniprof.profile/1",
        guest: &title.guest,
        build_id: title.build_id.as_deref(),
        rate_hz: title.rate,
        booted_ns: title.booted_ns,
        clock: title.clock.iter().map(Clock::new).collect(),
        duration_ns: title.duration.and_then(|duration| u64::try_from(duration.as_nanos()).ok()),
        samples: total.samples,
        weight_ns: total.weight,
        lost: title
            .loss
            .as_ref()
            .map(|loss| loss.iter().map(|(cause, count)| (cause.as_str(), *count)).collect()),
        own_cost: title.own_cost,
        notes: &title.notes,
        images: images(profile),
        threads: threads(profile),
        frames: frames(profile, &dense),
        stacks: dense.nodes.iter().map(|node| Stack { parent: node.parent, frame: node.frame }).collect(),
        sums: sums(profile, &dense),
        timeline: timeline(profile, &dense),
    };
    serde_json::to_writer(&mut *out, &document).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn images(profile: &Profile) -> Vec<Image<'_>> {
    let images = profile.images().iter();
    images
        .map(|image| Image {
            name: &image.name,
            build_id: image.build_id.as_deref(),
            start: Hex(image.range.start),
            end: Hex(image.range.end),
            bias: Hex(image.bias),
        })
        .collect()
}

fn threads(profile: &Profile) -> Vec<Thread<'_>> {
    let mut ids: Vec<u32> = profile.owners().into_iter().map(|(owner, _)| owner.thread).collect();
    ids.dedup();
    ids.into_iter().map(|id| Thread { id, name: profile.thread_name(id) }).collect()
}

fn frames<'a>(profile: &'a Profile, dense: &Dense) -> Vec<Frame<'a>> {
    let frame = |id: &crate::FrameId| {
        let frame = profile.frame(*id);
        Frame {
            name: frame.name,
            kind: match frame.kind {
                Kind::Function => "function",
                Kind::Thread => "thread",
                Kind::Unknown => "unknown",
                Kind::Note => "note",
            },
            file: frame.file,
            line: frame.line,
            inlined: frame.inlined,
            found: found(frame.found),
            image: frame.image.map(|image| image.0),
            address: frame.address.map(Hex),
        }
    };
    dense.frames.iter().map(frame).collect()
}

fn found(found: Found) -> &'static str {
    match found {
        Found::Leaf => "leaf",
        Found::Inline => "inline",
        Found::FramePointer => "frame-pointer",
        Found::Cfi => "cfi",
        Found::Prologue => "prologue",
        Found::Scan => "scan",
        Found::Unknown => "unknown",
    }
}

fn sums(profile: &Profile, dense: &Dense) -> Vec<Sum> {
    let sum = |leaf: &crate::Leaf| {
        Some(Sum {
            stack: dense.node(leaf.stack)?,
            thread: leaf.owner.thread,
            vcpu: leaf.owner.vcpu,
            samples: leaf.amount.samples,
            weight_ns: leaf.amount.weight,
        })
    };
    profile.leaves().iter().filter_map(sum).collect()
}

fn timeline(profile: &Profile, dense: &Dense) -> Vec<Sample> {
    let sample = |sample: &crate::TimedSample| {
        Some(Sample {
            at_ns: sample.at,
            stack: dense.node(sample.stack)?,
            thread: sample.owner.thread,
            vcpu: sample.owner.vcpu,
            weight_ns: sample.weight,
        })
    };
    profile.timeline().iter().filter_map(sample).collect()
}
