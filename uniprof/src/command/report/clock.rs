//! The part of a report that says how far its times can be trusted.
//!
//! ```text
//! wall-clock times to 310 µs (in pauses to 1.01 s)
//! order of events on different vCPUs to 14.2 µs (4,312 wake-ups)
//! ```

use std::io::Write;

use serde::Serialize;
use uniprof_flamegraph::Unit;

use crate::profile::Figures;

/// What is known of the guest's clock.
#[derive(Serialize)]
pub(super) struct Clock {
    /// Ticks a second that times are made of.
    hz: Option<f64>,
    /// What the guest says of that, where it is wrong.
    contradicted_hz: Option<u64>,
    /// Wall-clock times are off by no more than this: anywhere between the first pair and the last, and outside of pauses.
    bound_ns: Option<u64>,
    running_bound_ns: Option<u64>,
    /// Pairs of the guest's and the host's clock, those that were left out because they contradict the others.
    pairs: usize,
    dropped: u64,
    jumps: u64,
    /// By how much the host's wall clock was set, each time that it was.
    steps_ns: Vec<i64>,
    pauses: Vec<Pause>,
    /// The vCPUs' clocks differ by no more than this.
    order_bound_ns: Option<u64>,
    vcpus: Vec<Lead>,
}

#[derive(Serialize)]
struct Pause {
    /// The last value of the guest's clock that was seen before, and when that was on the wall.
    after_tsc: u64,
    after_ns: u64,
    ns: u64,
    bound_ns: u64,
}

/// By how much the second vCPU's clock is ahead of the first one's.
#[derive(Serialize)]
struct Lead {
    vcpus: [u32; 2],
    least_ns: Option<i64>,
    most_ns: Option<i64>,
}

impl Clock {
    pub(super) fn new(figures: &Figures) -> Self {
        let clocks = &figures.clocks;
        let maps = || clocks.iter().map(|(_, map)| map);
        let pause = |pause: uniprof_collector::clock::Pause| Pause {
            after_tsc: pause.tsc.0,
            after_ns: pause.after_ns,
            ns: pause.ns,
            bound_ns: pause.bound_ns,
        };
        let ns = |ticks: i64| {
            let ns = figures.nanoseconds(ticks.unsigned_abs())?.try_into().unwrap_or(i64::MAX);
            Some(if ticks < 0 { -ns } else { ns })
        };
        let lead = |lead: uniprof_events::Lead| Lead {
            vcpus: [lead.vcpus.0, lead.vcpus.1],
            least_ns: lead.least.and_then(ns),
            most_ns: lead.most.and_then(ns),
        };
        Self {
            hz: clocks.last().and_then(|map| map.hz()),
            contradicted_hz: maps().find_map(|map| map.contradicted_hz()),
            bound_ns: maps().filter_map(|map| map.worst_bound_ns(true)).max(),
            running_bound_ns: maps().filter_map(|map| map.worst_bound_ns(false)).max(),
            pairs: maps().map(|map| map.pairs()).sum(),
            dropped: maps().map(|map| map.dropped()).sum(),
            jumps: maps().map(|map| map.jumps()).sum(),
            steps_ns: maps().flat_map(|map| map.steps().to_vec()).collect(),
            pauses: maps().flat_map(|map| map.pauses()).map(pause).collect(),
            order_bound_ns: figures.apart.bound().and_then(|ticks| figures.nanoseconds(ticks)),
            vcpus: figures.apart.leads().map(lead).collect(),
        }
    }
}

pub(super) fn print(out: &mut impl Write, figures: &Figures) -> std::io::Result<()> {
    let clock = Clock::new(figures);
    let time = |ns| Unit::Nanoseconds.short(ns);
    if let Some(bound) = clock.running_bound_ns.or(clock.bound_ns) {
        let paused = clock.bound_ns.filter(|_| !clock.pauses.is_empty()).map(time);
        let paused = paused.map_or(String::new(), |paused| format!(" (in pauses to {paused})"));
        writeln!(out, "wall-clock times to {}{paused}", time(bound))?;
    }
    if let Some(bound) = clock.order_bound_ns {
        let wakes = figures.apart.pairs();
        writeln!(out, "order of events on different vCPUs to {} ({wakes} wake-ups)", time(bound))?;
    }
    Ok(())
}
