//! Profiles of what is not on the CPU, and the locks that are waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use uniprof_events::waits::{Locks, Stacks, Window};
use uniprof_flamegraph::Profile;
use uniprof_symbolizer::AddressKind;
use uniprof_tui::picture::{Known, LockRow, Span};
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::Class;
use uniprof_wire::tables::{ThreadState, VcpuStats, WaitKind};

use super::Moment;
use crate::monitor::heap::Step;
use crate::monitor::history::Look;
use crate::monitor::model::Model;
use crate::monitor::span::whole;
use crate::monitor::waits::Waits;
use crate::profile::figures::Vcpu;
use crate::profile::images::Images;
use crate::profile::not_running::{self, Records};
use crate::profile::{Figures, View};

/// Locks that are shown.
const MOST_LOCKS: usize = 200;
/// Why there is nothing of a moment.
const NOT_KEPT: &str = "waits of so long ago are not kept";

/// From when to when records count. Those that are kept limit it, too.
pub(super) fn window(model: &Model, moment: &Moment, until: u64) -> Window {
    let clock = &model.seen.clock;
    let end = until.min(clock.now);
    let seconds = match moment.reach.span() {
        Span::All => return Window { begin: clock.boot_tsc, end },
        span => whole(span),
    };
    let ticks = (seconds.clamp(0.0, 1e6) * clock.tsc_hz as f64) as u64;
    Window { begin: end.saturating_sub(ticks), end }
}

/// The profile of a view within a window; why there is none.
pub(super) fn profile(model: &mut Model, moment: &Moment, view: View, window: Window) -> Known<Arc<Profile>> {
    let known = known(model, view, window);
    let figures = figures(model, moment, known.unwrap_or(window));
    let Model { images, seen, .. } = model;
    // What has ended can't be told to record more.
    let why_nothing = || {
        let why = figures.why_nothing(view);
        if moment.is_live { why.replace("record with -e", "switch on with e:") } else { why }
    };
    let is_empty = match view {
        View::LiveHeap => seen.waits.heap.is_empty(),
        View::Locks => seen.waits.locks.is_empty(),
        _ => seen.waits.off_cpu.is_empty(),
    };
    if is_empty {
        return Err(why_nothing());
    }
    let Some(window) = known else { return Err(NOT_KEPT.into()) };
    let mut records = Records::of(view);
    match view {
        View::LiveHeap => seen.waits.heap.until(window.end, |step| match step {
            Step::Look(blocks) => records.look(blocks),
            Step::Record(vcpu, record) => records.take(vcpu, record),
        }),
        View::Locks => seen.waits.locks.each(window, |vcpu, record| records.take(vcpu, record)),
        _ => seen.waits.off_cpu.each(window, |vcpu, record| records.take(vcpu, record)),
    }
    let profile = not_running::profile(records, &figures, images);
    if profile.total().samples == 0 {
        return Err(why_nothing());
    }
    Ok(Arc::new(profile))
}

/// The waits that a view is made of.
fn waits(model: &Model, view: View) -> &Waits {
    if view == View::Locks { &model.seen.waits.locks } else { &model.seen.waits.off_cpu }
}

/// The part of a window that a view can be of.
fn known(model: &Model, view: View, window: Window) -> Option<Window> {
    if view == View::LiveHeap { Some(window) } else { waits(model, view).known(window) }
}

/// Over how much less than the window a view goes, and why.
pub(super) fn shorter(model: &Model, view: View, window: Window) -> Option<String> {
    let clock = &model.seen.clock;
    let waits = waits(model, view);
    if waits.is_empty() {
        return None;
    }
    let Some(known) = waits.known(window) else { return Some(NOT_KEPT.into()) };
    // Nobody misses less than that.
    if known.begin <= window.begin.saturating_add(clock.tsc_hz / 4) {
        return None;
    }
    let seconds = clock.span(known.end - known.begin);
    let why = if waits.has_gone() { "older waits are not kept" } else { "waits were not recorded before" };
    Some(format!("of the last {seconds:.1} s: {why}"))
}

/// Those that profiles and their absence need.
fn figures(model: &Model, moment: &Moment, window: Window) -> Figures {
    let clock = &model.seen.clock;
    let mut figures = Figures {
        session: model.session.clone(),
        seconds: clock.span(window.end.saturating_sub(window.begin)),
        boot_tsc: clock.boot_tsc,
        tsc_hz: clock.tsc_hz,
        threads: model.seen.guest.threads.clone(),
        window: Some(window),
        ..Figures::default()
    };
    if let Some(Look { tables, .. }) = &moment.now {
        figures.last_threads = tables.threads.iter().filter_map(|slot| slot.entry()).collect();
        figures.last_vcpus.clone_from(&tables.vcpus);
        let vcpu = |stats: &VcpuStats| Vcpu { rate: stats.rate, on: stats.classes, ..Vcpu::default() };
        figures.vcpus = (0..).zip(tables.vcpus.iter().map(vcpu)).collect();
    }
    // They are looked at together only.
    figures.vcpus.entry(0).or_default().classes = moment.tallies;
    figures
}

/// The locks that somebody waits for, or has waited for within a window, those with the longest waits first.
pub(super) fn locks(model: &mut Model, moment: &Moment, window: Window) -> Known<Arc<[LockRow]>> {
    let Model { images, seen, .. } = model;
    let mut rows: BTreeMap<GuestVirtual, LockRow> = BTreeMap::new();
    let (mut joined, mut stacks) = (Locks::default(), Stacks::default());
    let known = seen.waits.locks.known(window);
    if let Some(window) = known {
        seen.waits.locks.each(window, |vcpu, record| joined.record(vcpu, record, &mut stacks));
    }
    let ns = |ticks| seen.clock.nanoseconds(ticks);
    let mut longest_held: BTreeMap<GuestVirtual, (u64, Option<String>)> = BTreeMap::new();
    let mut last = None;
    for blame in joined.finish(known.unwrap_or(window).begin) {
        let lock = blame.wait.lock;
        let row = rows.entry(lock).or_insert_with(|| row(images, lock));
        let waited = ns(blame.wait.taken.saturating_sub(blame.wait.begin));
        // A wait comes in parts, one after the other.
        if last != Some(blame.wait) {
            last = Some(blame.wait);
            row.waits += 1;
            row.waited_ns = row.waited_ns.saturating_add(waited);
            row.longest_ns = row.longest_ns.max(waited);
        }
        let held = longest_held.entry(lock).or_default();
        if !blame.is_released && blame.ticks() > held.0 {
            let stack = blame.holder.stack.map(|stack| stacks.get(stack));
            let name = stack.and_then(|callers| function(images, callers.frames));
            *held = (blame.ticks(), name);
        }
    }
    for (lock, (_, name)) in longest_held {
        rows.entry(lock).and_modify(|row| row.held_in = name);
    }
    let entries = moment.now.iter().flat_map(|now| now.tables.threads.iter());
    for entry in entries.filter_map(|slot| slot.entry()) {
        if entry.wait == WaitKind::Lock && entry.state_now() == ThreadState::Blocked {
            let row = rows.entry(entry.waits_for).or_insert_with(|| row(images, entry.waits_for));
            row.waiters.push(entry.id);
            row.holder = row.holder.or((entry.waits_on != 0).then_some(entry.waits_on));
        }
    }
    if rows.is_empty() && !moment.records(Class::Lock) {
        let why = if moment.is_live {
            "no thread waits for a lock now, and waits are not recorded: switch on locks with e"
        } else {
            "no thread waits for a lock at this moment, and waits were not recorded"
        };
        return Err(why.into());
    }
    let mut rows: Vec<LockRow> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.waiters.len(), row.waited_ns)));
    rows.truncate(MOST_LOCKS);
    Ok(rows.into())
}

fn row(images: &Images, lock: GuestVirtual) -> LockRow {
    let name = images.symbolizers().find_map(|(_, symbolizer)| {
        let (name, offset) = symbolizer.image().owner_of(symbolizer.bias().to_link(lock))?;
        Some(if offset == 0 { name } else { format!("{name}+{offset:#x}") })
    });
    LockRow {
        name: name.unwrap_or_else(|| lock.to_string()),
        holder: None,
        waiters: Vec::new(),
        waits: 0,
        waited_ns: 0,
        longest_ns: 0,
        held_in: None,
    }
}

/// The innermost function that is neither the kernel's own for locks nor for waiting.
fn function(images: &mut Images, frames: &[u64]) -> Option<String> {
    let mut names = Vec::new();
    for address in frames {
        if let Some((_, resolution)) = images.resolve(GuestVirtual(*address), AddressKind::Return) {
            names.extend(resolution.frames().iter().map(|frame| frame.function.to_string()));
        }
    }
    let is_own = |name: &String| {
        let lower = name.to_lowercase();
        ["lock", "mutex", "guard", "contention", "core::", "alloc::", "drop"]
            .iter()
            .any(|part| lower.contains(part))
    };
    names.iter().find(|name| !is_own(name)).or(names.first()).cloned()
}
