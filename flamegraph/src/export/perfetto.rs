//! A Perfetto trace: the process and its threads, then a `PerfSample` for each sample.
//!
//! Field numbers: <https://github.com/google/perfetto/blob/main/protos/perfetto/trace/perfetto_trace.proto>. A trace is
//! packets, one after the other; what packets share (names, images, frames, stacks) is sent once, before its first use.

use std::io::Write;

use prost::Message;
use rustc_hash::FxHashMap;

use super::dense::Dense;
use super::perfetto_events::{CounterDescriptor, TrackEvent};
use super::row::timed;
use crate::error::RenderError;
use crate::frame::Kind;
use crate::profile::{Profile, TimedSample};
use crate::timeline::Timeline;
use crate::title::Title;

/// `BuiltinClock`.
const REALTIME: u32 = 1;
const BOOTTIME: u32 = 6;
/// `TracePacket.SequenceFlags`.
const STATE_CLEARED: u32 = 1;
const NEEDS_STATE: u32 = 2;
/// `PerfEvents.Counter`.
const SW_CPU_CLOCK: i32 = 1;
/// A trace may have several writers; ours is one.
const SEQUENCE: u32 = 1;
/// The guest's number as a process. Above that of any thread: a thread with the number of its process is its first one.
pub(super) const PROCESS: u32 = 0x7fff_fffe;
/// Perfetto takes thread 0 for a CPU's idling; samples outside all threads get this instead.
const NO_THREAD: u32 = 0x7fff_ffff;

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Packet {
    #[prost(message, optional, tag = "6")]
    clock_snapshot: Option<ClockSnapshot>,
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "12")]
    interned_data: Option<InternedData>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(uint32, optional, tag = "58")]
    timestamp_clock_id: Option<u32>,
    #[prost(message, optional, tag = "59")]
    trace_packet_defaults: Option<Defaults>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
    #[prost(message, optional, tag = "66")]
    perf_sample: Option<PerfSample>,
}

#[derive(Clone, PartialEq, Message)]
struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
    #[prost(uint32, optional, tag = "2")]
    primary_trace_clock: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Defaults {
    #[prost(message, optional, tag = "12")]
    perf_sample_defaults: Option<PerfSampleDefaults>,
    #[prost(uint32, optional, tag = "58")]
    timestamp_clock_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct PerfSampleDefaults {
    #[prost(message, optional, tag = "1")]
    timebase: Option<Timebase>,
}

#[derive(Clone, PartialEq, Message)]
struct Timebase {
    #[prost(uint64, optional, tag = "2")]
    frequency: Option<u64>,
    #[prost(int32, optional, tag = "4")]
    counter: Option<i32>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(message, optional, tag = "4")]
    thread: Option<ThreadDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ThreadDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int64, optional, tag = "2")]
    tid: Option<i64>,
    #[prost(string, optional, tag = "5")]
    thread_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct InternedData {
    #[prost(message, repeated, tag = "5")]
    function_names: Vec<InternedString>,
    #[prost(message, repeated, tag = "6")]
    frames: Vec<Frame>,
    #[prost(message, repeated, tag = "7")]
    callstacks: Vec<Callstack>,
    #[prost(message, repeated, tag = "16")]
    build_ids: Vec<InternedString>,
    #[prost(message, repeated, tag = "17")]
    mapping_paths: Vec<InternedString>,
    #[prost(message, repeated, tag = "18")]
    source_paths: Vec<InternedString>,
    #[prost(message, repeated, tag = "19")]
    mappings: Vec<Mapping>,
}

#[derive(Clone, PartialEq, Message)]
struct InternedString {
    #[prost(uint64, optional, tag = "1")]
    iid: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    text: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, optional, tag = "1")]
    iid: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    build_id: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    start: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    end: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    load_bias: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "7")]
    path_string_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(uint64, optional, tag = "1")]
    iid: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    function_name_id: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    mapping_id: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    rel_pc: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    source_path_iid: Option<u64>,
    #[prost(uint32, optional, tag = "6")]
    line_number: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Callstack {
    #[prost(uint64, optional, tag = "1")]
    iid: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    frame_ids: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PerfSample {
    #[prost(uint32, optional, tag = "1")]
    cpu: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pid: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    tid: Option<u32>,
    #[prost(uint64, optional, tag = "4")]
    callstack_iid: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    timebase_count: Option<u64>,
}

impl Packet {
    /// An event at `at`.
    pub(super) fn event(at: u64, event: TrackEvent) -> Self {
        let (timestamp, timestamp_clock_id) = (Some(at), Some(BOOTTIME));
        Self { timestamp, timestamp_clock_id, track_event: Some(event), ..Self::default() }
    }

    /// A track below another one.
    pub(super) fn track(uuid: u64, name: String, parent: u64, counter: Option<CounterDescriptor>) -> Self {
        let (uuid, name, parent_uuid) = (Some(uuid), Some(name), Some(parent));
        let track = TrackDescriptor { uuid, name, parent_uuid, counter, ..TrackDescriptor::default() };
        Self { track_descriptor: Some(track), ..Self::default() }
    }
}

/// Writes `profile` as a Perfetto trace. Times are nanoseconds since the guest's boot (the clock BOOTTIME), set against the
/// wall clock where that is known; `timebase_count` is the sampled time of the vCPU so far, in nanoseconds.
///
/// # Errors
///
/// [`RenderError::NoSamples`] or [`RenderError::NoTimes`] before anything is written, or what `out` reports.
pub fn perfetto(profile: &Profile, title: &Title, out: &mut impl Write) -> Result<(), RenderError> {
    perfetto_with(profile, &Timeline::default(), title, out)
}

/// The same with what happened besides samples, on the same clock: states and spans of threads, interrupts, counters, log lines.
///
/// # Errors
///
/// [`RenderError::NoSamples`] where there are neither samples nor anything else, [`RenderError::NoTimes`], or what `out` reports.
pub fn perfetto_with(
    profile: &Profile,
    timeline: &Timeline,
    title: &Title,
    out: &mut impl Write,
) -> Result<(), RenderError> {
    let samples = if timeline.moments.is_empty() { timed(profile, "perfetto")? } else { profile.timeline() };
    let (functions, sources) = (Strings::default(), Strings::default());
    let mut file = File { profile, out, functions, sources, sent_mappings: 0 };
    file.head(title)?;
    file.threads(title, timeline)?;
    super::perfetto_events::packets(timeline, |packet| file.put(packet))?;
    file.samples(samples)
}

/// The numbers of the names of one kind.
#[derive(Default)]
struct Strings(FxHashMap<String, u64>);

impl Strings {
    /// The number of `text`, which goes to `new` where it has none yet.
    fn id(&mut self, text: &str, new: &mut Vec<InternedString>) -> u64 {
        if let Some(id) = self.0.get(text) {
            return *id;
        }
        let id = self.0.len() as u64 + 1;
        self.0.insert(text.to_owned(), id);
        new.push(InternedString { iid: Some(id), text: Some(text.as_bytes().to_vec()) });
        id
    }
}

struct File<'a, W: Write> {
    profile: &'a Profile,
    out: &'a mut W,
    functions: Strings,
    sources: Strings,
    sent_mappings: usize,
}

impl<W: Write> File<'_, W> {
    fn put(&mut self, packet: Packet) -> Result<(), RenderError> {
        let packet = Packet { trusted_packet_sequence_id: Some(SEQUENCE), ..packet };
        Ok(self.out.write_all(&Trace { packet: vec![packet] }.encode_to_vec())?)
    }

    fn head(&mut self, title: &Title) -> Result<(), RenderError> {
        let clock = |id, timestamp| Clock { clock_id: Some(id), timestamp: Some(timestamp) };
        if let Some(booted) = title.booted_ns {
            let clocks = vec![clock(BOOTTIME, 0), clock(REALTIME, booted)];
            let snapshot = ClockSnapshot { clocks, primary_trace_clock: Some(BOOTTIME) };
            self.put(Packet { clock_snapshot: Some(snapshot), ..Packet::default() })?;
        }
        // Viewers take the wall clock on from the last one before.
        for point in &title.clock {
            let clocks = vec![clock(BOOTTIME, point.at), clock(REALTIME, point.wall)];
            let snapshot = ClockSnapshot { clocks, primary_trace_clock: Some(BOOTTIME) };
            self.put(Packet { clock_snapshot: Some(snapshot), ..Packet::default() })?;
        }
        let timebase = Timebase {
            frequency: title.rate.map(|rate| rate.round() as u64),
            counter: Some(SW_CPU_CLOCK),
            name: Some("cpu-clock".into()),
        };
        let defaults = Defaults {
            perf_sample_defaults: Some(PerfSampleDefaults { timebase: Some(timebase) }),
            timestamp_clock_id: Some(BOOTTIME),
        };
        let flags = Some(STATE_CLEARED | NEEDS_STATE);
        self.put(Packet { trace_packet_defaults: Some(defaults), sequence_flags: flags, ..Packet::default() })
    }

    fn threads(&mut self, title: &Title, timeline: &Timeline) -> Result<(), RenderError> {
        let name = if title.guest.is_empty() { "guest" } else { &title.guest };
        let process = ProcessDescriptor { pid: Some(PROCESS as i32), process_name: Some(name.to_owned()) };
        let track = TrackDescriptor {
            uuid: Some(PROCESS.into()),
            process: Some(process),
            ..TrackDescriptor::default()
        };
        self.put(Packet { track_descriptor: Some(track), ..Packet::default() })?;
        let mut ids: Vec<u32> = self.profile.owners().into_iter().map(|(owner, _)| owner.thread).collect();
        ids.extend(super::perfetto_events::threads(timeline));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let known = timeline.threads.get(&id).filter(|_| self.profile.thread_name(id).is_none());
            let thread = ThreadDescriptor {
                pid: Some(PROCESS as i32),
                tid: Some(thread_number(id).into()),
                thread_name: Some(match known {
                    Some(name) => name.clone(),
                    None => super::thread_name(self.profile, id).into_owned(),
                }),
            };
            // Different from the process's whatever the guest numbers its threads.
            let uuid = Some(thread_track(id));
            let track = TrackDescriptor { uuid, thread: Some(thread), ..TrackDescriptor::default() };
            self.put(Packet { track_descriptor: Some(track), ..Packet::default() })?;
        }
        Ok(())
    }

    fn samples(&mut self, samples: &[TimedSample]) -> Result<(), RenderError> {
        let dense = Dense::new(self.profile, |frame| frame.kind != Kind::Thread);
        let mut sent_frames = vec![false; dense.frames.len()];
        let mut sent_stacks = vec![false; dense.nodes.len()];
        let mut cpu_time: FxHashMap<u32, u64> = FxHashMap::default();
        for sample in samples {
            let node = dense.node(sample.stack);
            let is_new = node.is_some_and(|node| !std::mem::replace(&mut sent_stacks[node as usize], true));
            let interned_data = is_new.then(|| self.intern(&dense, node, &mut sent_frames));
            let time = cpu_time.entry(sample.owner.vcpu).or_default();
            *time = time.saturating_add(sample.weight);
            let sample_of = PerfSample {
                cpu: Some(sample.owner.vcpu),
                pid: Some(PROCESS),
                tid: Some(thread_number(sample.owner.thread)),
                callstack_iid: node.map(|node| u64::from(node) + 1),
                timebase_count: Some(*time),
            };
            self.put(Packet {
                timestamp: Some(sample.at),
                timestamp_clock_id: Some(BOOTTIME),
                sequence_flags: Some(NEEDS_STATE),
                interned_data,
                perf_sample: Some(sample_of),
                ..Packet::default()
            })?;
        }
        Ok(())
    }

    /// What a reader does not know yet of a stack.
    fn intern(&mut self, dense: &Dense, node: Option<u32>, sent: &mut [bool]) -> InternedData {
        let mut data = InternedData::default();
        let mut frame_ids: Vec<u64> = Vec::new();
        for frame in dense.path(node) {
            frame_ids.push(u64::from(frame) + 1);
            if !std::mem::replace(&mut sent[frame as usize], true) {
                self.frame(dense, frame, &mut data);
            }
        }
        frame_ids.reverse();
        data.callstacks.push(Callstack { iid: node.map(|node| u64::from(node) + 1), frame_ids });
        data
    }

    fn frame(&mut self, dense: &Dense, number: u32, data: &mut InternedData) {
        let profile = self.profile;
        let frame = profile.frame(dense.frames[number as usize]);
        let mapping_id = frame.image.map(|id| {
            while self.sent_mappings <= id.0 as usize {
                self.mapping(data);
            }
            u64::from(id.0) + 1
        });
        let bias = frame.image.map_or(0, |id| profile.image(id).bias);
        data.frames.push(Frame {
            iid: Some(u64::from(number) + 1),
            function_name_id: Some(self.functions.id(&super::marked_name(&frame), &mut data.function_names)),
            mapping_id,
            rel_pc: frame.address.map(|address| address.wrapping_sub(bias)),
            source_path_iid: frame.file.map(|file| self.sources.id(file, &mut data.source_paths)),
            line_number: frame.line,
        });
    }

    /// The next image that was not sent.
    fn mapping(&mut self, data: &mut InternedData) {
        let image = &self.profile.images()[self.sent_mappings];
        self.sent_mappings += 1;
        let iid = Some(self.sent_mappings as u64);
        data.mapping_paths.push(InternedString { iid, text: Some(image.name.clone().into_bytes()) });
        let build_id = image.build_id.as_deref().map(bytes);
        data.build_ids.extend(build_id.map(|text| InternedString { iid, text: Some(text) }));
        data.mappings.push(Mapping {
            iid,
            build_id: image.build_id.as_ref().and(iid),
            start: Some(image.range.start),
            end: Some(image.range.end),
            // In Perfetto's sense: the link-time address of what lies at `start`.
            load_bias: Some(image.range.start.wrapping_sub(image.bias)),
            path_string_ids: iid.into_iter().collect(),
        });
    }
}

/// The track of a thread.
pub(super) fn thread_track(id: u32) -> u64 {
    1 << 32 | u64::from(id)
}

fn thread_number(id: u32) -> u32 {
    if id == 0 { NO_THREAD } else { id }
}

/// A build-id as bytes; what is no hexadecimal, as it is.
fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
    bytes.collect::<Option<Vec<u8>>>().unwrap_or_else(|| hex.as_bytes().to_vec())
}
