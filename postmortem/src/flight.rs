//! The flight recorder: what the rings of a guest still hold, as a recording.
//!
//! A recording is what every other command reads, so a picture, an export or a list of events of a dead guest is made by the
//! same code as of a live one, with the same account of loss.

use std::sync::Arc;

use uniprof_collector::clock::HostTime;
use uniprof_collector::drain::{Begin, Drainer};
use uniprof_collector::dump::Facts;
use uniprof_collector::memory::{GuestMemory, MemoryError};
use uniprof_collector::recording::{Body, ClockPair, Message, RecordError, SessionInfo, Writer};
use uniprof_wire::ring::Source;

use crate::region::Region;

/// Name of the session's field that marks such a recording: `core` or `live`, where it came from.
pub const RECOVERED: &str = "recovered";

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum FlightError {
    /// The region's memory can't be read.
    #[error("the rings of the observation region can't be read: {0}")]
    Memory(#[from] MemoryError),
    /// The recording can't be put together.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What the rings hold, as a finished recording. `source` says whether the guest still writes to them. Times are the
/// guest's: its start is the recording's start, its last sign of life the end.
pub fn recording(
    memory: &Arc<dyn GuestMemory>,
    region: &Region,
    facts: Option<&Facts>,
    source: Source,
) -> Result<Vec<u8>, FlightError> {
    let clock = Clock::new(region, facts);
    let mut writer = Writer::new(Vec::new(), &session(region, facts, source, &clock))?;
    let mut failed = None;
    let mut write = |at: HostTime, body: Body<'_>| {
        if failed.is_none() {
            failed = writer.write(&Message { at, session: 0, body }).err();
        }
    };
    let mut drainer = Drainer::attach(Arc::clone(memory), region.found, 0)?;
    drainer.begin(Begin::Boot, &mut |message| write(clock.start, message.body))?;
    drainer.finish(source, &mut |message| match message.body {
        // How the guest's clock stood to a host's that looks at it years later says nothing.
        Body::Clock(_) => {}
        body => write(clock.end, body),
    })?;
    write(clock.end, Body::Clock(ClockPair { tsc: clock.last_tsc, uncertainty_ns: 0 }));
    for line in facts.iter().flat_map(|facts| &facts.console) {
        write(clock.end, Body::Console { continued: false, bytes: line.as_bytes().into() });
    }
    write(clock.end, Body::End(br#"{"reason":"core"}"#.as_slice().into()));
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(writer.finish()?),
    }
}

/// When the guest started, and when it last gave a sign of life.
struct Clock {
    start: HostTime,
    end: HostTime,
    last_tsc: u64,
}

impl Clock {
    fn new(region: &Region, facts: Option<&Facts>) -> Self {
        let header = &region.tables.header;
        let signs = region.tables.vcpus.iter().map(|vcpu| vcpu.heartbeat);
        let crashes = region.tables.crashes.iter().filter_map(|slot| Some(slot.entry()?.tsc));
        let last_tsc = signs.chain(crashes).max().unwrap_or(0).max(header.boot_tsc);
        let ticks = u128::from(last_tsc - header.boot_tsc) * 1_000_000_000;
        let up = ticks.checked_div(header.tsc_hz.into()).and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
        let taken = facts.map(|facts| facts.taken_ns).filter(|taken| *taken != 0);
        let booted = match header.boot_wall_ns {
            0 => taken.map_or(0, |taken| taken.saturating_sub(up)),
            told => told,
        };
        let start = HostTime { realtime_ns: booted, monotonic_ns: 0 };
        let end = HostTime { realtime_ns: booted.saturating_add(up), monotonic_ns: up };
        Self { start, end, last_tsc }
    }
}

fn session(region: &Region, facts: Option<&Facts>, source: Source, clock: &Clock) -> SessionInfo {
    let tables = &region.tables;
    let header = &tables.header;
    let told = |of: fn(&Facts) -> &String| facts.map(of).filter(|text| !text.is_empty()).cloned();
    let name = || String::from_utf8_lossy(header.name.bytes()).into_owned();
    let origin = if source == Source::Dead { "core" } else { "live" };
    SessionInfo {
        version: 1,
        guest: told(|facts| &facts.guest).unwrap_or_else(name),
        kernel: told(|facts| &facts.kernel).unwrap_or_default(),
        build_id: tables.build_id().or_else(|| facts?.build_id.clone()),
        images: tables.loaded_images(),
        boot_id: header.boot_id,
        architecture: header.architecture.name().into(),
        tsc_hz: header.tsc_hz,
        vcpus: header.geometry.vcpus(),
        ring_bytes: header.geometry.ring_bytes().into(),
        started_ns: clock.start.realtime_ns,
        extra: [(RECOVERED.to_owned(), origin.into())].into(),
        ..SessionInfo::default()
    }
}
