//! What happened besides samples, as Perfetto's track events.
//!
//! A thread's spans lie on its own track, whether it ran or waited on a child of that: the states of `sched_switch` would need
//! kernel events of a Linux machine, which this is not.

use std::collections::BTreeMap;

use prost::Message;

use super::perfetto::{PROCESS, Packet, thread_track};
use crate::error::RenderError;
use crate::timeline::{Mark, Moment, Timeline, Track};

/// `TrackEvent.Type`.
const SLICE_BEGIN: i32 = 1;
const SLICE_END: i32 = 2;
const INSTANT: i32 = 3;
const COUNTER: i32 = 4;
/// Numbers of tracks that are no thread's begin here.
const FIRST_TRACK: u64 = 1 << 40;

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<Annotation>,
    #[prost(int32, optional, tag = "9")]
    kind: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(double, optional, tag = "44")]
    double_counter_value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Annotation {
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CounterDescriptor {}

/// The threads that something happened on.
pub(super) fn threads(timeline: &Timeline) -> impl Iterator<Item = u32> + '_ {
    timeline.moments.iter().filter_map(|moment| match moment.track {
        Track::Thread(id) | Track::State(id) => Some(id),
        _ => None,
    })
}

/// Hands over tracks, then events in the order of time: of slices that begin together the longer ones first, ends before beginnings.
pub(super) fn packets(
    timeline: &Timeline,
    mut put: impl FnMut(Packet) -> Result<(), RenderError>,
) -> Result<(), RenderError> {
    let mut tracks: BTreeMap<&Track, u64> = BTreeMap::new();
    for moment in &timeline.moments {
        let next = FIRST_TRACK + tracks.len() as u64;
        tracks.entry(&moment.track).or_insert(match moment.track {
            Track::Thread(id) => thread_track(id),
            _ => next,
        });
    }
    for (track, uuid) in &tracks {
        if let Some(packet) = descriptor(track, *uuid) {
            put(packet)?;
        }
    }
    let mut events: Vec<(u64, u8, u64, &Moment)> = Vec::with_capacity(timeline.moments.len() * 2);
    for moment in &timeline.moments {
        match moment.mark {
            Mark::Slice { end } => {
                let end = end.max(moment.at);
                events.push((moment.at, 1, u64::MAX - end, moment));
                // One that begins and ends in the same moment must not end before it begins.
                events.push((end, if end == moment.at { 2 } else { 0 }, u64::MAX - moment.at, moment));
            }
            Mark::Instant | Mark::Value(_) => events.push((moment.at, 1, u64::MAX, moment)),
        }
    }
    events.sort_by_key(|(at, order, length, _)| (*at, *order, *length));
    for (at, order, _, moment) in events {
        let is_end = matches!(moment.mark, Mark::Slice { .. }) && order != 1;
        let event = event(moment, tracks.get(&moment.track).copied(), is_end);
        put(Packet::event(at, event))?;
    }
    Ok(())
}

fn descriptor(track: &Track, uuid: u64) -> Option<Packet> {
    let (name, parent, counter) = match track {
        Track::Thread(_) => return None,
        Track::State(id) => ("state".to_owned(), thread_track(*id), None),
        Track::Interrupts(vcpu) => (format!("interrupts of vCPU {vcpu}"), PROCESS.into(), None),
        Track::Across(name) => (name.clone(), PROCESS.into(), None),
        Track::Console => ("console".to_owned(), PROCESS.into(), None),
        Track::Clock => ("clock".to_owned(), PROCESS.into(), None),
        Track::Counter(name) => (name.clone(), PROCESS.into(), Some(CounterDescriptor {})),
    };
    Some(Packet::track(uuid, name, parent, counter))
}

fn event(moment: &Moment, track_uuid: Option<u64>, is_end: bool) -> TrackEvent {
    if is_end {
        return TrackEvent { kind: Some(SLICE_END), track_uuid, ..TrackEvent::default() };
    }
    let (kind, value) = match moment.mark {
        Mark::Slice { .. } => (SLICE_BEGIN, None),
        Mark::Instant => (INSTANT, None),
        Mark::Value(value) => (COUNTER, Some(value)),
    };
    let details = moment.details.iter();
    TrackEvent {
        debug_annotations: details
            .map(|(name, value)| Annotation { string_value: Some(value.clone()), name: Some(name.clone()) })
            .collect(),
        kind: Some(kind),
        track_uuid,
        categories: vec![moment.category.to_owned()],
        name: value.is_none().then(|| moment.name.clone()),
        double_counter_value: value,
    }
}
