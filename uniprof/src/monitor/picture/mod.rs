//! Pictures of the model: what a terminal, or a script, gets to see.

mod cpu;
mod memory;
mod overview;
mod threads;
mod waits;

use std::sync::Arc;

use uniprof_tui::picture::{Events, Fate, Known, Picture, Shown, Span, Subject, Switch, Time};

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
    quarter: u64,
    reach: Reach,
}

/// The span that is wanted.
pub(super) fn reach(model: &Model, wanted: Wanted) -> Reach {
    let clock = &model.seen.clock;
    let quarter = match wanted.shown {
        Shown::Now => clock.quarter(clock.now),
        Shown::At(at) => clock.quarter(clock.tsc(at).min(clock.now)),
    };
    Reach::new(wanted.span, quarter)
}

/// A picture of what the model knows.
pub(super) fn picture(model: &mut Model, wanted: Wanted, around: Around<'_>, number: u64) -> Picture {
    let clock = model.seen.clock;
    let now = clock.quarter(clock.now);
    let (first, last) = model.seen.history.range().unwrap_or((now / QUARTERS, now / QUARTERS));
    let kept = (first as f64, clock.seconds(clock.now).max(last as f64));
    let (quarter, at, is_now) = match wanted.shown {
        Shown::Now => (now, clock.seconds(clock.now), true),
        Shown::At(at) => {
            let at = if at.is_finite() { at.clamp(kept.0, kept.1) } else { kept.1 };
            (clock.quarter(clock.tsc(at)), at, false)
        }
    };
    let moment = Moment { quarter, reach: Reach::new(wanted.span, quarter) };
    let (profile, samples) = cpu::profile(model, &moment.reach);
    let overview = overview::overview(model, &moment, samples, around.collector);
    let inside = around.inside.filter(|_| is_now);
    let threads = threads::threads(model, &moment, inside);
    let until = if is_now { u64::MAX } else { clock.tsc(at) };
    let window = waits::window(model, &moment, until);
    let cpu = if samples > 0 { Ok(Arc::new(profile)) } else { Err(why_no_samples(model)) };
    let rate = rate(model);
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
        subject: around.subject,
        fate: around.fate,
        overview,
        cpu,
        off_cpu: waits::profile(model, View::OffCpu, window),
        locks: waits::profile(model, View::Locks, window),
        heap: waits::profile(model, View::LiveHeap, window),
        threads,
        events: events(model, &moment, until),
        lock_rows: waits::locks(model, window),
        memory: memory::memory(model, &moment, window, inside.map_or(&[], |inside| &inside.sites)),
        switches: around.switches,
        rate,
        notes: around.notes.into(),
    }
}

/// Events of the span; why there is none.
fn events(model: &Model, moment: &Moment, until: u64) -> Known<Arc<Events>> {
    if model.events.is_empty() {
        return Err("no event has come: switch sites or classes on with e".into());
    }
    Ok(Arc::new(model.events.shown(&moment.reach, until, &model.seen.guest)))
}

/// The rate in effect.
fn rate(model: &Model) -> u32 {
    let tables = model.ledger.tables();
    tables.and_then(|tables| tables.vcpus.iter().map(|vcpu| vcpu.rate).max()).unwrap_or(0)
}

/// Why there is nothing in the span.
fn why_no_samples(model: &Model) -> String {
    use uniprof_wire::record::Class;
    let Some(tables) = model.ledger.tables() else { return "no record has come yet".into() };
    if rate(model) == 0 {
        return "the guest's sampling is off: ask for a rate with -F 99".into();
    }
    if tables.vcpus.iter().all(|vcpu| vcpu.classes & Class::Sample.bit() == 0) {
        return "the class of samples is off: switch it on with -e +samples".into();
    }
    "no samples in this span: the guest was idle, and idle time is not sampled".into()
}
