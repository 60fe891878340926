//! The heap, as far as the guest counts it; by stack where its memory was looked into.

use std::sync::Arc;

use uniprof_postmortem::heap;
use uniprof_tui::picture::{HeapSite, Known, Memory};

use super::Moment;
use crate::monitor::model::Model;
use crate::monitor::span::QUARTERS;

/// Seconds of history.
const HISTORY: u64 = 60;

/// The heap at a moment. `sites`: what was found by stack.
pub(super) fn memory(model: &Model, moment: &Moment, sites: &[HeapSite]) -> Known<Arc<Memory>> {
    let history = &model.seen.history;
    let second = moment.quarter / QUARTERS;
    let none = || "the guest does not count its heap: its kernel has to tell the probes of it".to_owned();
    let now = history.at(second).ok_or_else(none)?;
    let (totals, _) = heap::counters(&now.tables.vcpus);
    if totals.allocated_blocks == 0 && sites.is_empty() {
        return Err(none());
    }
    let allocated_rate = history.earlier_than(now, model.seen.clock.tsc_hz).map_or(0.0, |earlier| {
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
        sites: sites.to_vec(),
        history: (first..=second).filter_map(live).collect(),
    }))
}
