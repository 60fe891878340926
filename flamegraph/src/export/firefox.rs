//! The Firefox Profiler's processed profile, version 60: <https://profiler.firefox.com> upgrades it to its own.
//!
//! Tables of columns that point at each other by index, after `src/types/profile.ts` and
//! `docs-developer/CHANGELOG-formats.md` of <https://github.com/firefox-devtools/profiler>. The crate
//! `fxprof-processed-profile` writes addresses for a symbol server to name; ours have names, lines and inlined functions.

use std::collections::BTreeMap;
use std::io::{self, Write};

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::dense::Dense;
use super::row::{Row, rows};
use crate::error::RenderError;
use crate::frame::{Frame, Kind};
use crate::image::Image;
use crate::profile::{FrameId, Profile};
use crate::timeline::{Mark, Moment, Timeline, Track};
use crate::title::Title;

const VERSION: u32 = 60;
/// The guest's number as a process.
const PID: &str = "1";
/// The unprocessed format's version that 60 goes with.
const GECKO_VERSION: u32 = 32;
/// `ResourceType.Library`.
const LIBRARY: u8 = 1;
/// The phase of a marker with start and end.
const INTERVAL: u8 = 1;
/// The phase of a marker with one time.
const INSTANT: u8 = 0;
/// Indexes into the list of categories.
const OTHER: u32 = 0;
const CODE: u32 = 1;
const UNKNOWN: u32 = 2;

#[derive(Serialize)]
struct Document {
    meta: Value,
    libs: Vec<Value>,
    shared: Shared,
    threads: Vec<Thread>,
    counters: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shared {
    stack_table: Stacks,
    frame_table: Frames,
    func_table: Functions,
    resource_table: Resources,
    native_symbols: Value,
    sources: Sources,
    string_array: Vec<String>,
}

#[derive(Serialize)]
struct Stacks {
    frame: Vec<u32>,
    prefix: Vec<Option<u32>>,
    length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Frames {
    /// -1 where there is none.
    address: Vec<i64>,
    inline_depth: Vec<u8>,
    category: Vec<u32>,
    subcategory: Vec<u32>,
    func: Vec<u32>,
    native_symbol: Vec<Option<u32>>,
    #[serde(rename = "innerWindowID")]
    inner_window_id: Vec<Option<u32>>,
    line: Vec<Option<u32>>,
    column: Vec<Option<u32>>,
    length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Functions {
    name: Vec<u32>,
    #[serde(rename = "isJS")]
    is_js: Vec<bool>,
    #[serde(rename = "relevantForJS")]
    relevant_for_js: Vec<bool>,
    /// -1 where there is none.
    resource: Vec<i64>,
    source: Vec<Option<u32>>,
    line_number: Vec<Option<u32>>,
    column_number: Vec<Option<u32>>,
    length: usize,
}

#[derive(Serialize)]
struct Resources {
    lib: Vec<usize>,
    name: Vec<u32>,
    host: Vec<Option<u32>>,
    #[serde(rename = "type")]
    kind: Vec<u8>,
    length: usize,
}

#[derive(Serialize, Default)]
struct Sources {
    uuid: Vec<Option<String>>,
    filename: Vec<u32>,
    length: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thread {
    process_type: &'static str,
    process_name: String,
    process_startup_time: f64,
    process_shutdown_time: Option<f64>,
    register_time: f64,
    unregister_time: Option<f64>,
    paused_ranges: [u8; 0],
    show_markers_in_timeline: bool,
    name: String,
    is_main_thread: bool,
    pid: &'static str,
    tid: u32,
    samples: Samples,
    markers: Markers,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Samples {
    stack: Vec<Option<u32>>,
    time: Vec<f64>,
    weight: Option<Vec<u64>>,
    weight_type: &'static str,
    #[serde(rename = "threadCPUDelta")]
    thread_cpu_delta: Vec<u64>,
    length: usize,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Markers {
    data: Vec<Value>,
    name: Vec<u32>,
    start_time: Vec<f64>,
    end_time: Vec<f64>,
    phase: Vec<u8>,
    category: Vec<u32>,
    length: usize,
}

/// Writes `profile` as JSON for the Firefox Profiler: a track for each thread, with a marker for each stretch that it was
/// seen on one vCPU. Times are milliseconds since the guest's boot. Where times were not kept, samples of one stack are one
/// sample of their weight, one after the other a period apart.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn firefox(profile: &Profile, title: &Title, out: &mut impl Write) -> Result<(), RenderError> {
    firefox_with(profile, &Timeline::default(), title, out)
}

/// The same with what happened besides samples as markers of its thread: states, spans, log lines; interrupts and the console on tracks of
/// their own; counters and gauges as curves.
///
/// # Errors
///
/// [`RenderError::NoSamples`] where there are neither samples nor anything else, or what `out` reports.
pub fn firefox_with(
    profile: &Profile,
    timeline: &Timeline,
    title: &Title,
    out: &mut impl Write,
) -> Result<(), RenderError> {
    let rows =
        if timeline.moments.is_empty() || profile.total().samples > 0 { rows(profile)? } else { Vec::new() };
    let dense = Dense::new(profile, |frame| frame.kind != Kind::Thread);
    let mut tables = Tables::default();
    let resources = tables.resources(profile);
    tables.frames(profile, &dense.frames, &inline_depths(profile, &dense));
    let vcpu_name = tables.text("vCPU");
    let interval = title.rate.filter(|rate| *rate > 0.0).map_or(1.0, |rate| 1e3 / rate);
    let mut threads: BTreeMap<u32, Thread> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let id = row.owner.thread;
        let thread = threads.entry(id).or_insert_with(|| Thread::new(profile, title, id));
        let at = row.at.map_or(index as f64 * interval, |at| at as f64 / 1e6);
        thread.add(row, at, dense.node(row.stack), vcpu_name);
    }
    add_moments(&mut threads, &mut tables, profile, timeline, title);
    let mut threads: Vec<Thread> = threads.into_values().collect();
    // The profiler hides a process that has no main thread.
    if let Some(first) = threads.first_mut() {
        first.is_main_thread = true;
    }
    let document = Document {
        meta: meta(title, &rows, interval, threads.len()),
        libs: profile.images().iter().map(library).collect(),
        shared: Shared {
            stack_table: Stacks {
                frame: dense.nodes.iter().map(|node| node.frame).collect(),
                prefix: dense.nodes.iter().map(|node| node.parent).collect(),
                length: dense.nodes.len(),
            },
            frame_table: tables.frames,
            func_table: tables.functions,
            resource_table: resources,
            native_symbols: json!({ "libIndex": [], "address": [], "name": [], "functionSize": [], "length": 0 }),
            sources: tables.sources,
            string_array: tables.strings,
        },
        threads,
        counters: counters(timeline),
    };
    serde_json::to_writer(out, &document).map_err(io::Error::from)?;
    Ok(())
}

fn meta(title: &Title, rows: &[Row], interval: f64, threads: usize) -> Value {
    let start = rows.first().and_then(|row| row.at).unwrap_or(0);
    let end = rows.last().and_then(|row| row.at).unwrap_or(0);
    let categories: Vec<Value> = [("Other", "grey"), ("Guest code", "yellow"), ("Unknown", "darkgrey")]
        .into_iter()
        .map(|(name, color)| json!({ "name": name, "color": color, "subcategories": ["Other"] }))
        .collect();
    json!({
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "interval": interval,
        "startTime": title.booted_ns.map_or(0.0, |booted| booted as f64 / 1e6),
        "profilingStartTime": start as f64 / 1e6,
        "profilingEndTime": end as f64 / 1e6 + interval,
        "processType": 0,
        "product": if title.guest.is_empty() { "unikernel" } else { &title.guest },
        "importedFrom": super::PRODUCER,
        "stackwalk": 1,
        "debug": false,
        "platform": "unikernel",
        "oscpu": "x86_64",
        "symbolicated": true,
        "categories": categories,
        "markerSchema": [{
            "name": "uniprof",
            "tooltipLabel": "{marker.name}",
            "tableLabel": "{marker.data.kind} {marker.name} {marker.data.details}",
            "chartLabel": "{marker.name}",
            "display": ["marker-chart", "marker-table", "timeline-overview"],
            "fields": [
                { "key": "kind", "label": "Kind", "format": "string" },
                { "key": "details", "label": "Details", "format": "string" },
            ],
        }, {
            "name": "vCPU",
            "tooltipLabel": "on vCPU {marker.data.vcpu}",
            "tableLabel": "on vCPU {marker.data.vcpu}",
            "chartLabel": "vCPU {marker.data.vcpu}",
            "display": ["marker-chart", "marker-table"],
            "fields": [{ "key": "vcpu", "label": "vCPU", "format": "integer" }],
        }],
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "initialVisibleThreads": (0..threads).collect::<Vec<_>>(),
        "extra": [{ "label": "Recording", "entries": [
            { "label": "Samples", "format": "string", "value": title.heading() },
            { "label": "Loss and cost", "format": "string", "value": title.details() },
        ]}],
    })
}

fn library(image: &Image) -> Value {
    json!({
        "arch": "x86_64",
        "name": image.name,
        "path": image.name,
        "debugName": image.name,
        "debugPath": image.name,
        "breakpadId": image.build_id.as_deref().map_or(String::new(), breakpad_id),
        "codeId": image.build_id,
    })
}

/// A build-id as Breakpad writes it: 16 bytes as a GUID, whose first three numbers are little-endian, and the age 0.
fn breakpad_id(build_id: &str) -> String {
    let hex: String =
        build_id.chars().filter(char::is_ascii_hexdigit).chain("0".repeat(32).chars()).take(32).collect();
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let swapped: String = order.iter().map(|byte| &hex[byte * 2..byte * 2 + 2]).collect();
    format!("{}0", swapped.to_ascii_uppercase())
}

/// For each frame how many functions at its address it is inlined into.
fn inline_depths(profile: &Profile, dense: &Dense) -> Vec<u8> {
    let mut depths = vec![0u8; dense.frames.len()];
    for node in &dense.nodes {
        let frame = profile.frame(dense.frames[node.frame as usize]);
        if let (true, Some(parent)) = (frame.inlined, node.parent) {
            depths[node.frame as usize] =
                depths[dense.nodes[parent as usize].frame as usize].saturating_add(1);
        }
    }
    depths
}

impl Thread {
    fn new(profile: &Profile, title: &Title, id: u32) -> Self {
        Self {
            process_type: "default",
            process_name: title.guest.clone(),
            process_startup_time: 0.0,
            process_shutdown_time: None,
            register_time: 0.0,
            unregister_time: None,
            paused_ranges: [],
            show_markers_in_timeline: false,
            name: super::thread_name(profile, id).into_owned(),
            is_main_thread: false,
            pid: PID,
            tid: id,
            samples: Samples { weight_type: "samples", ..Samples::default() },
            markers: Markers::default(),
        }
    }

    fn add(&mut self, row: &Row, at: f64, stack: Option<u32>, vcpu_name: u32) {
        let samples = &mut self.samples;
        samples.stack.push(stack);
        samples.time.push(at);
        samples.thread_cpu_delta.push(row.amount.weight);
        samples.length += 1;
        if row.at.is_some() {
            self.markers.see(row.owner.vcpu, at, vcpu_name);
        } else {
            samples.weight.get_or_insert_default().push(row.amount.samples);
        }
    }
}

/// Interrupts are those of a vCPU, not of a thread: they get a track with a number that no thread has.
const FIRST_VCPU_TRACK: u32 = 0xffff_0000;
/// So does what is the whole guest's.
const CONSOLE_TRACK: u32 = 0xfffe_0000;
const CLOCK_TRACK: u32 = 0xfffe_0001;

/// Everything but values of counters and gauges, as markers.
fn add_moments(
    threads: &mut BTreeMap<u32, Thread>,
    tables: &mut Tables,
    profile: &Profile,
    timeline: &Timeline,
    title: &Title,
) {
    let mut moments: Vec<&Moment> = timeline.moments.iter().collect();
    moments.sort_by_key(|moment| moment.at);
    for moment in moments {
        let (id, name) = match &moment.track {
            Track::Thread(id) | Track::State(id) => (*id, timeline.threads.get(id).cloned()),
            Track::Across(_) => (0, Some("spans across threads".to_owned())),
            Track::Interrupts(vcpu) => {
                (FIRST_VCPU_TRACK.saturating_add(*vcpu), Some(format!("interrupts of vCPU {vcpu}")))
            }
            Track::Console => (CONSOLE_TRACK, Some("console".to_owned())),
            Track::Clock => (CLOCK_TRACK, Some("clock".to_owned())),
            Track::Counter(_) => continue,
        };
        let thread = threads.entry(id).or_insert_with(|| {
            let thread = Thread::new(profile, title, id);
            Thread { name: name.unwrap_or(thread.name), show_markers_in_timeline: true, ..thread }
        });
        let (end, phase) = match moment.mark {
            Mark::Slice { end } => (end, INTERVAL),
            Mark::Instant | Mark::Value(_) => (moment.at, INSTANT),
        };
        let details: Vec<String> =
            moment.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let markers = &mut thread.markers;
        markers
            .data
            .push(json!({ "type": "uniprof", "kind": moment.category, "details": details.join(" ") }));
        markers.name.push(tables.text(&moment.name));
        markers.start_time.push(moment.at as f64 / 1e6);
        markers.end_time.push(end as f64 / 1e6);
        markers.phase.push(phase);
        markers.category.push(OTHER);
        markers.length += 1;
    }
}

/// Values of counters and gauges. A counter's samples are what it grew by: the profiler adds them up again where it is told to.
fn counters(timeline: &Timeline) -> Vec<Value> {
    let mut curves: BTreeMap<&str, Vec<(u64, f64)>> = BTreeMap::new();
    for moment in &timeline.moments {
        if let (Track::Counter(name), Mark::Value(value)) = (&moment.track, &moment.mark) {
            curves.entry(name).or_default().push((moment.at, *value));
        }
    }
    let counter = |(name, mut values): (&str, Vec<(u64, f64)>)| {
        values.sort_by_key(|(at, _)| *at);
        let times: Vec<f64> = values.iter().map(|(at, _)| *at as f64 / 1e6).collect();
        let before = std::iter::once(0.0).chain(values.iter().map(|(_, value)| *value));
        let grown: Vec<f64> = values.iter().zip(before).map(|((_, value), before)| value - before).collect();
        json!({
            "name": name,
            "category": "Guest",
            "description": name,
            "pid": PID,
            "mainThreadIndex": 0,
            "samples": { "time": times, "count": grown, "length": values.len() },
            // Of version 62, which takes it over: without it, the profiler would draw how fast the value changes.
            "display": {
                "graphType": "line-accumulated",
                "unit": "",
                "color": "blue",
                "markerSchemaLocation": null,
                "sortWeight": 50,
                "label": name,
            },
        })
    };
    curves.into_iter().map(counter).collect()
}

impl Markers {
    /// Prolongs the last marker or, on another vCPU, starts the next.
    fn see(&mut self, vcpu: u32, at: f64, name: u32) {
        if let Some(end) = self.end_time.last_mut() {
            *end = at;
            if self.data.last().is_some_and(|data| data["vcpu"] == vcpu) {
                return;
            }
        }
        self.data.push(json!({ "type": "vCPU", "vcpu": vcpu }));
        self.name.push(name);
        self.start_time.push(at);
        self.end_time.push(at);
        self.phase.push(INTERVAL);
        self.category.push(OTHER);
        self.length += 1;
    }
}

#[derive(Default)]
struct Tables {
    strings: Vec<String>,
    string_index: FxHashMap<String, u32>,
    frames: Frames,
    functions: Functions,
    /// From name, file and image to the function.
    function_index: FxHashMap<(u32, Option<u32>, i64), u32>,
    sources: Sources,
    source_index: FxHashMap<u32, u32>,
}

impl Tables {
    fn text(&mut self, text: &str) -> u32 {
        if let Some(index) = self.string_index.get(text) {
            return *index;
        }
        let index = self.strings.len() as u32;
        self.strings.push(text.to_owned());
        self.string_index.insert(text.to_owned(), index);
        index
    }

    fn resources(&mut self, profile: &Profile) -> Resources {
        let length = profile.images().len();
        Resources {
            lib: (0..length).collect(),
            name: profile.images().iter().map(|image| self.text(&image.name)).collect(),
            host: vec![None; length],
            kind: vec![LIBRARY; length],
            length,
        }
    }

    fn frames(&mut self, profile: &Profile, ids: &[FrameId], depths: &[u8]) {
        for (id, depth) in ids.iter().zip(depths) {
            let frame = profile.frame(*id);
            let function = self.function(&frame);
            let start = frame.image.map_or(0, |image| profile.image(image).range.start);
            let address = frame.address.and_then(|address| i64::try_from(address.wrapping_sub(start)).ok());
            let table = &mut self.frames;
            table.address.push(address.unwrap_or(-1));
            table.inline_depth.push(*depth);
            table.category.push(match frame.kind {
                Kind::Unknown => UNKNOWN,
                Kind::Thread | Kind::Note => OTHER,
                Kind::Function => CODE,
            });
            table.subcategory.push(0);
            table.func.push(function);
            table.native_symbol.push(None);
            table.inner_window_id.push(None);
            table.line.push(frame.line);
            table.column.push(None);
            table.length += 1;
        }
    }

    fn function(&mut self, frame: &Frame<'_>) -> u32 {
        let name = self.text(frame.name);
        let source = frame.file.map(|file| self.source(file));
        let resource = frame.image.map_or(-1, |image| image.0.into());
        let table = &mut self.functions;
        *self.function_index.entry((name, source, resource)).or_insert_with(|| {
            table.name.push(name);
            table.is_js.push(false);
            table.relevant_for_js.push(false);
            table.resource.push(resource);
            table.source.push(source);
            table.line_number.push(None);
            table.column_number.push(None);
            table.length += 1;
            (table.length - 1) as u32
        })
    }

    fn source(&mut self, file: &str) -> u32 {
        let filename = self.text(file);
        let table = &mut self.sources;
        *self.source_index.entry(filename).or_insert_with(|| {
            table.uuid.push(None);
            table.filename.push(filename);
            table.length += 1;
            (table.length - 1) as u32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::breakpad_id;

    #[test]
    fn a_build_id_becomes_a_guid() {
        let id = breakpad_id("0123456789abcdef0123456789abcdef01234567");
        assert_eq!(id, "67452301AB89EFCD0123456789ABCDEF0");
    }
}
