//! The heap, as far as the guest counts it; by stack where its memory was looked into.

use std::sync::Arc;

use uniprof_events::waits::Window;
use uniprof_postmortem::heap;
use uniprof_symbolizer::AddressKind;
use uniprof_tui::picture::{HeapSite, Known, Memory};
use uniprof_wire::address::GuestVirtual;

use super::Moment;
use crate::monitor::growth::rate;
use crate::monitor::heap::Sum;
use crate::monitor::heap_sites;
use crate::monitor::inside::MOST_SITES;
use crate::monitor::model::Model;
use crate::profile::images::Images;

/// Seconds of history.
const HISTORY: u64 = 60;

/// The heap at a moment. `seen`: what was found by stack in its memory; else it is what records say.
pub(super) fn memory(
    model: &mut Model,
    moment: &Moment,
    window: Window,
    seen: &[HeapSite],
) -> Known<Arc<Memory>> {
    let sites = if seen.is_empty() { sites(model, window) } else { seen.to_vec() };
    let (history, second) = (&model.seen.history, moment.second());
    let none = || "the guest does not count its heap: its kernel has to tell the probes of it".to_owned();
    let now = moment.now.as_ref().ok_or_else(none)?;
    let (totals, _) = heap::counters(&now.tables.vcpus);
    if totals.allocated_blocks == 0 && sites.is_empty() {
        return Err(none());
    }
    let allocated_rate = moment.earlier.as_ref().map(|earlier| {
        let before = heap::counters(&earlier.tables.vcpus).0.allocated_bytes;
        let seconds = model.seen.clock.span(now.tsc.saturating_sub(earlier.tsc));
        totals.allocated_bytes.saturating_sub(before) as f64 / seconds.max(1e-9)
    });
    let first = second.saturating_sub(HISTORY - 1);
    let live =
        |second| history.before(second + 1).map(|look| heap::counters(&look.tables.vcpus).0.live_bytes);
    Ok(Arc::new(Memory {
        live_bytes: Some(totals.live_bytes),
        heap_bytes: None,
        allocated_rate,
        sites,
        history: (first..=second).filter_map(live).collect(),
    }))
}

/// By stack, what lived at the end of a window, and how much more that was than at its begin.
fn sites(model: &mut Model, window: Window) -> Vec<HeapSite> {
    let Model { images, seen, .. } = model;
    let blocks = &seen.waits.heap;
    if blocks.is_empty() {
        return Vec::new();
    }
    let begin = window.begin.max(blocks.begin());
    let seconds = seen.clock.span(window.end.saturating_sub(begin));
    let before = blocks.live(begin.min(window.end));
    let mut sums: Vec<(Box<[u64]>, Sum)> = blocks.live(window.end).into_iter().collect();
    sums.sort_by(|(stack, sum), (other_stack, other)| {
        other.bytes.cmp(&sum.bytes).then_with(|| stack.cmp(other_stack))
    });
    sums.truncate(MOST_SITES);
    let site = |(callers, sum): (Box<[u64]>, Sum)| {
        let then = before.get(&callers).map_or(0, |sum| sum.bytes);
        heap_sites::site(names(images, &callers), sum.blocks, sum.bytes, rate(sum.bytes, then, seconds))
    };
    heap_sites::of(sums.into_iter().map(site))
}

/// What is at return addresses, and inlined there, the innermost first.
fn names(images: &mut Images, callers: &[u64]) -> Vec<String> {
    let mut names = Vec::new();
    for address in callers {
        match images.resolve(GuestVirtual(*address), AddressKind::Return) {
            Some((_, resolution)) if !resolution.frames().is_empty() => {
                names.extend(resolution.frames().iter().map(|frame| frame.function.to_string()));
            }
            _ => names.push(format!("{address:#x}")),
        }
    }
    names
}
