//! Pictures of the model: what a terminal, or a script, gets to see.

mod cpu;
mod memory;
mod overview;
mod threads;
mod waits;

use std::sync::Arc;

use uniprof_tui::picture::{
    Events, Fate, Kind, Known, Overview, Picture, Shorter, Shown, Span, Subject, Switch, Time, VcpuNow,
};
use uniprof_wire::record::Class;

use super::history::{self, Look, Tallies};
use super::inside;
use super::model::Model;
use super::span::{QUARTERS, Reach};
use crate::profile::View;

/// What is to be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) span: Span,
    pub(super) shown: Shown,
}

/// What is known besides the model.
pub(super) struct Around<'a> {
    pub(super) subject: Arc<Subject>,
    pub(super) fate: Fate,
    /// Whether time goes on, and how fast.
    pub(super) runs: bool,
    pub(super) speed: f64,
    /// The first and last moment that can be shown, where more can be than is kept.
    pub(super) range: Option<(f64, f64)>,
    pub(super) collector: Option<(f64, u64)>,
    pub(super) switches: Arc<[Switch]>,
    pub(super) notes: Vec<String>,
    /// What its memory tells, where that can be seen: of now.
    pub(super) inside: Option<&'a inside::Seen>,
}

/// The moment that a picture is of.
struct Moment {
    /// The quarter of a second up to which something is known of it.
    quarter: u64,
    reach: Reach,
    /// How the guest's tables looked, and about a second before.
    now: Option<Look>,
    earlier: Option<Look>,
    /// What had become of the records of each class.
    tallies: Tallies,
    /// Whether the guest can be told to record more.
    is_live: bool,
}

impl Moment {
    fn new(model: &mut Model, wanted: Wanted, is_live: bool) -> Self {
        let (reach, clock) = (reach(model, wanted), model.seen.clock);
        let at = match wanted.shown {
            Shown::Now => None,
            // A time that a float has held is a little off.
            Shown::At(at) => Some(clock.tsc(at).saturating_add(clock.tsc_hz / 1000)),
        };
        let [now, earlier] = model.seen.history.looks(at, clock.tsc_hz);
        let tallies = match &now {
            // What came since the look has come.
            _ if at.is_none() => history::tallies(&model.ledger),
            Some(now) => *now.tallies,
            None => Tallies::default(),
        };
        let quarter = if at.is_none() { clock.quarter(clock.now) } else { reach.last() };
        Self { quarter, reach, now, earlier, tallies, is_live }
    }

    /// The second that it is in.
    fn second(&self) -> u64 {
        self.reach.second().end / QUARTERS
    }

    /// The rate in effect, where the guest's tables have been seen.
    fn rate(&self) -> Option<u32> {
        self.now.as_ref()?.tables.vcpus.iter().map(|vcpu| vcpu.rate).max()
    }

    /// Whether any vCPU records a class.
    fn records(&self, class: Class) -> bool {
        self.now.iter().flat_map(|now| &now.tables.vcpus).any(|vcpu| vcpu.classes & class.bit() != 0)
    }
}

/// The span that is wanted. Sums over a fixed time, and those of a moment that is not the present, are of quarters that are over: what came in one
/// that has only begun is too little, and would go on to grow.
pub(super) fn reach(model: &Model, wanted: Wanted) -> Reach {
    let clock = &model.seen.clock;
    let now = clock.quarter(clock.now);
    let (quarter, is_now) = match wanted.shown {
        Shown::Now => (now, true),
        Shown::At(at) => (clock.quarter(clock.tsc(at)).min(now), false),
    };
    let is_end = model.is_over && quarter == now;
    if !is_end && (!is_now || matches!(wanted.span, Span::Last(_))) {
        Reach::whole(wanted.span, quarter.saturating_sub(1))
    } else {
        Reach::new(wanted.span, quarter)
    }
}

/// A picture of what the model knows.
pub(super) fn picture(model: &mut Model, wanted: Wanted, around: Around<'_>, number: u64) -> Picture {
    let clock = model.seen.clock;
    let now = clock.quarter(clock.now);
    let (first, last) = model.seen.history.range().unwrap_or((now / QUARTERS, now / QUARTERS));
    let kept = (first as f64, clock.seconds(clock.now).max(last as f64));
    let (at, shown) = match wanted.shown {
        Shown::Now => (clock.seconds(clock.now), Shown::Now),
        Shown::At(at) => {
            let at = if at.is_finite() { at.clamp(kept.0, kept.1) } else { kept.1 };
            (at, Shown::At(at))
        }
    };
    let is_now = shown == Shown::Now;
    model.is_over = !around.runs && around.fate != Fate::Runs;
    let moment = Moment::new(model, Wanted { shown, ..wanted }, around.subject.kind == Kind::Live);
    let (profile, samples) = cpu::profile(model, &moment.reach);
    let overview = overview::overview(model, &moment, samples, around.collector);
    let inside = around.inside.filter(|_| is_now);
    let threads = threads::threads(model, &moment, inside);
    let until = if is_now { u64::MAX } else { clock.tsc(at) };
    let window = waits::window(model, &moment, until);
    let cpu = if samples > 0 { Ok(Arc::new(profile)) } else { Err(why_no_samples(&moment, &overview)) };
    let wall_ns = model.looks.last().and_then(|map| map.wall(clock.tsc(at))).map(|wall| wall.ns);
    Picture {
        number,
        time: Time {
            at,
            wall_ns,
            range: around.range.unwrap_or(kept),
            runs: around.runs && is_now,
            speed: around.speed,
        },
        span: wanted.span,
        culprit: culprit(model, around.inside),
        subject: around.subject,
        fate: around.fate,
        overview,
        cpu,
        shorter: Shorter {
            off_cpu: waits::shorter(model, View::OffCpu, window),
            locks: waits::shorter(model, View::Locks, window),
        },
        off_cpu: waits::profile(model, &moment, View::OffCpu, window),
        locks: waits::profile(model, &moment, View::Locks, window),
        heap: waits::profile(model, &moment, View::LiveHeap, window),
        threads,
        events: events(model, &moment, until),
        lock_rows: waits::locks(model, &moment, window),
        memory: memory::memory(model, &moment, window, inside.map_or(&[], |inside| &inside.sites)),
        switches: around.switches,
        rate: moment.rate(),
        notes: around.notes.into(),
    }
}

/// The thread that it crashed on, as its memory or it itself says.
fn culprit(model: &Model, inside: Option<&inside::Seen>) -> Option<u32> {
    let said = || model.seen.crash.map(|crash| crash.thread);
    inside.and_then(|inside| inside.culprit).or_else(said)
}

/// Events of the span; why there is none.
fn events(model: &Model, moment: &Moment, until: u64) -> Known<Arc<Events>> {
    if model.events.is_empty() {
        let why = if moment.is_live {
            "no event has come: switch sites or classes on with e"
        } else {
            "no event has come"
        };
        return Err(why.into());
    }
    Ok(Arc::new(model.events.shown(&moment.reach, until, &model.seen.guest)))
}

/// From this share on a vCPU is idle: what is left are its timer's interrupts.
const IDLE: f64 = 0.95;

/// Why there is nothing in the span.
fn why_no_samples(moment: &Moment, overview: &Overview) -> String {
    if moment.now.is_none() {
        return "no record has come yet".into();
    }
    if moment.rate() == Some(0) {
        return "the guest's sampling is off: ask for a rate with -F 99".into();
    }
    if !moment.records(Class::Sample) {
        return "the class of samples is off: switch it on with -e +samples".into();
    }
    none_of(&overview.vcpus).into()
}

/// The same of vCPUs that are sampled.
fn none_of(vcpus: &[VcpuNow]) -> &'static str {
    if vcpus.is_empty() || vcpus.iter().any(|vcpu| vcpu.idle < IDLE) {
        return "no samples yet in this span";
    }
    "no samples in this span: the guest was idle, and idle time is not sampled"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_guest_that_was_idle_is_said_to_have_been() {
        let vcpus = |shares: &[f64]| -> Vec<VcpuNow> {
            shares
                .iter()
                .map(|idle| VcpuNow { idle: *idle, busy: 1.0 - idle, ..VcpuNow::default() })
                .collect()
        };
        assert!(none_of(&vcpus(&[1.0, 0.98])).contains("was idle"));
        for shares in [&[0.011][..], &[1.0, 0.5], &[]] {
            assert_eq!(none_of(&vcpus(shares)), "no samples yet in this span", "{shares:?}");
        }
    }
}
