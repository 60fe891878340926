//! pprof: the gzipped protobuf of Go's pprof, Grafana Pyroscope and others.
//!
//! Field numbers: <https://github.com/google/pprof/blob/main/proto/profile.proto>. A protobuf message may be written in
//! parts, whose repeated fields add up; so nothing but the tables of functions and strings is held in memory.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use prost::Message;
use rustc_hash::FxHashMap;

use crate::error::RenderError;
use crate::frame::Kind;
use crate::image::ImageId;
use crate::profile::{FrameId, Leaf, Profile};
use crate::title::Title;

#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
    #[prost(int64, tag = "3")]
    number: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

/// Without a `system_name`: where that equals the name, Go's pprof takes the name for a mangled one, or for one of C++, and
/// strips what stands in angle brackets, which leaves `::fmt` of `<T as Debug>::fmt`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Writes `profile` as gzipped protobuf for pprof: the number and the weight of what was [measured](crate::Measured) where it is
/// known, such as `samples/count` and `cpu/nanoseconds`, or `inuse_space/bytes`, by stack and by
/// the labels `guest`, `thread`, `thread_id`, `vcpu` and, where something is said at a stack's end such as who ended a wait, `note`. Times of single samples are not in it.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn pprof(profile: &Profile, title: &Title, out: &mut impl Write) -> Result<(), RenderError> {
    if profile.total().samples == 0 {
        return Err(RenderError::NoSamples);
    }
    // Without name and time of its own, so that the same profile gives the same bytes.
    let zip = GzBuilder::new().write(out, Compression::default());
    let mut file = File {
        profile,
        out: zip,
        strings: Strings::default(),
        functions: FxHashMap::default(),
        is_timed: profile.total().weight > 0,
    };
    file.head(title)?;
    file.mappings()?;
    file.samples(title)?;
    let strings = std::mem::take(&mut file.strings.all);
    file.put(&Part { string_table: strings, ..Part::default() })?;
    file.out.finish()?;
    Ok(())
}

struct File<'a, W: Write> {
    profile: &'a Profile,
    out: flate2::write::GzEncoder<W>,
    strings: Strings,
    /// From name and file to the id.
    functions: FxHashMap<(i64, i64), u64>,
    is_timed: bool,
}

struct Strings {
    all: Vec<String>,
    index: FxHashMap<String, i64>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { all: vec![String::new()], index: FxHashMap::from_iter([(String::new(), 0)]) }
    }
}

impl Strings {
    fn id(&mut self, text: &str) -> i64 {
        if let Some(id) = self.index.get(text) {
            return *id;
        }
        let id = self.all.len() as i64;
        self.all.push(text.to_owned());
        self.index.insert(text.to_owned(), id);
        id
    }
}

impl<W: Write> File<'_, W> {
    fn put(&mut self, part: &Part) -> Result<(), RenderError> {
        Ok(self.out.write_all(&part.encode_to_vec())?)
    }

    fn head(&mut self, title: &Title) -> Result<(), RenderError> {
        let mut value = |kind, unit| ValueType { kind: self.strings.id(kind), unit: self.strings.id(unit) };
        let measured = self.profile.measured();
        let [number_of, weight] = measured.pprof();
        let (counted, weighed) = (value(number_of, "count"), value(weight, measured.unit().name()));
        let sample_type = if self.is_timed { vec![counted, weighed] } else { vec![counted] };
        let first = self.profile.timeline().first().map_or(0, |sample| sample.at);
        let period = title.rate.filter(|rate| *rate > 0.0).map_or(0, |rate| (1e9 / rate).round() as i64);
        let part = Part {
            default_sample_type: sample_type.last().map_or(0, |last| last.kind),
            sample_type,
            time_nanos: title.wall(first).map_or(0, number),
            duration_nanos: title
                .duration
                .map_or(0, |duration| number(duration.as_nanos().min(u128::from(u64::MAX)) as u64)),
            period_type: (period > 0).then_some(weighed),
            period,
            comment: vec![self.strings.id(&title.heading()), self.strings.id(&title.details())],
            ..Part::default()
        };
        self.put(&part)
    }

    fn mappings(&mut self) -> Result<(), RenderError> {
        let profile = self.profile;
        let images = profile.images().iter().enumerate();
        let mapping = images
            .map(|(index, image)| Mapping {
                id: index as u64 + 1,
                memory_start: image.range.start,
                memory_limit: image.range.end,
                filename: self.strings.id(&image.name),
                build_id: self.strings.id(image.build_id.as_deref().unwrap_or_default()),
                // Otherwise pprof would look for the file and name the addresses anew.
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            })
            .collect();
        self.put(&Part { mapping, ..Part::default() })
    }

    fn samples(&mut self, title: &Title) -> Result<(), RenderError> {
        let mut known: FxHashMap<Vec<FrameId>, u64> = FxHashMap::default();
        let guest = self.label("guest", &title.guest);
        for leaf in self.profile.leaves() {
            let mut location_id = Vec::new();
            for group in groups(self.profile, leaf) {
                if let Some(id) = known.get(&group) {
                    location_id.push(*id);
                    continue;
                }
                let id = known.len() as u64 + 1;
                self.location(id, &group)?;
                location_id.push(id);
                known.insert(group, id);
            }
            let name = super::thread_name(self.profile, leaf.owner.thread);
            let thread_id =
                Label { key: self.strings.id("thread_id"), text: 0, number: leaf.owner.thread.into() };
            let mut label = vec![self.label("thread", &name), thread_id];
            label.push(self.label("vcpu", &leaf.owner.vcpu.to_string()));
            // An empty text would be the number 0.
            label.extend((!title.guest.is_empty()).then_some(guest));
            if let Some(note) = last_note(self.profile, leaf) {
                label.push(self.label("note", note));
            }
            let mut value = vec![number(leaf.amount.samples)];
            value.extend(self.is_timed.then_some(number(leaf.amount.weight)));
            self.put(&Part { sample: vec![Sample { location_id, value, label }], ..Part::default() })?;
        }
        Ok(())
    }

    fn label(&mut self, key: &str, text: &str) -> Label {
        Label { key: self.strings.id(key), text: self.strings.id(text), number: 0 }
    }

    /// The functions at one address, the innermost first.
    fn location(&mut self, id: u64, group: &[FrameId]) -> Result<(), RenderError> {
        let mut function = Vec::new();
        let mut line = Vec::new();
        let (mut image, mut address): (Option<ImageId>, u64) = (None, 0);
        for frame in group.iter().map(|id| self.profile.frame(*id)) {
            (image, address) = (frame.image, frame.address.unwrap_or(0));
            let key = (self.strings.id(frame.name), self.strings.id(frame.file.unwrap_or_default()));
            let next = self.functions.len() as u64 + 1;
            let function_id = *self.functions.entry(key).or_insert_with(|| {
                function.push(Function { id: next, name: key.0, filename: key.1 });
                next
            });
            line.push(Line { function_id, line: frame.line.unwrap_or(0).into() });
        }
        let mapping_id = image.map_or(0, |id| u64::from(id.0) + 1);
        let location = vec![Location { id, mapping_id, address, line }];
        self.put(&Part { function, location, ..Part::default() })
    }
}

/// What is said at the end of a stack. It is a label, so that the functions at the leaves are the program's.
fn last_note<'a>(profile: &'a Profile, leaf: &Leaf) -> Option<&'a str> {
    let last = profile.stack(leaf.stack).next().map(|id| profile.frame(id))?;
    (last.kind == Kind::Note).then(|| last.name.trim_matches(['[', ']']))
}

/// The frames of a stack from the leaf to the root, without a note at its end, those of one address together: what is inlined there and what that is
/// inlined into. The thread is a label. A stack that is nothing but its thread keeps it, so that its samples can be seen.
fn groups(profile: &Profile, leaf: &Leaf) -> Vec<Vec<FrameId>> {
    let mut groups: Vec<Vec<FrameId>> = Vec::new();
    let mut open: Option<Option<u64>> = None;
    for id in profile.stack(leaf.stack).skip(usize::from(last_note(profile, leaf).is_some())) {
        let frame = profile.frame(id);
        if frame.kind == Kind::Thread && !groups.is_empty() {
            continue;
        }
        match groups.last_mut() {
            Some(group) if open == Some(frame.address) => group.push(id),
            _ => groups.push(vec![id]),
        }
        open = frame.inlined.then_some(frame.address);
    }
    groups
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
