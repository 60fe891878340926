//! Spans that are open: a table of a fixed size, so that ends find their beginnings without an allocator.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tracing_core::span::Id;
use uniprof_probes::{Span, SpanId};

/// Spans that can be open at once.
const SLOTS: usize = 256;
const FREE: u32 = 0;
/// The last handle has been dropped, and whoever did that ends the span.
const CLOSING: u32 = 1;
const ONE_HANDLE: u32 = 2;
/// The number of all spans that found no slot.
const REFUSED: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct OpenSpans {
    slots: [Slot; SLOTS],
    /// Numbers of spans say which slot they have, and how many were begun before.
    begun: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// [`FREE`], [`CLOSING`], or the number of the span's handles and one more.
    state: AtomicU32,
    span: Cell<Option<SpanId>>,
}

// SAFETY: `span` is only touched by whoever has the slot to itself: who took it by changing `state` from `FREE`, before the span's number is
// known to anybody, and who dropped the last handle.
unsafe impl Sync for Slot {}

impl OpenSpans {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { Slot { state: AtomicU32::new(FREE), span: Cell::new(None) } }; SLOTS],
            begun: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Opens the span that `make` makes for its number.
    pub(super) fn begin(&self, make: impl FnOnce(u64) -> Span) -> Id {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let places = (0..SLOTS).map(|step| (number as usize + step) % SLOTS);
        let take = |place: &usize| {
            let state = &self.slots[*place].state;
            state.load(Ordering::Relaxed) == FREE
                && state.compare_exchange(FREE, ONE_HANDLE, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let Some(place) = { places }.find(take) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Id::from_u64(REFUSED);
        };
        // Not 0, and different for every span; the low part is the slot.
        let id = (number + 1) * SLOTS as u64 + place as u64;
        self.slots[place].span.set(Some(make(id).detach()));
        Id::from_u64(id)
    }

    fn slot(&self, id: &Id) -> Option<&Slot> {
        (id.into_u64() != REFUSED).then(|| &self.slots[id.into_u64() as usize % SLOTS])
    }

    /// Counts another handle.
    pub(super) fn hold(&self, id: &Id) {
        if let Some(slot) = self.slot(id) {
            slot.state.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops a handle; with the last one the span ends, and that is returned.
    pub(super) fn release(&self, id: &Id) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        if slot.state.fetch_sub(1, Ordering::AcqRel) - 1 != CLOSING {
            return false;
        }
        drop(slot.span.take().map(Span::adopt));
        slot.state.store(FREE, Ordering::Release);
        true
    }
}
