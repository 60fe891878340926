//! What is known of the guest: its region, how far each ring was read, and what changes slowly.

use std::sync::Arc;

use uniprof_wire::{
    layout::RingKind,
    ring::{Counters, MAX_POSITION, RingGeometry},
    stream::{Area, Begin, RingName},
};

use super::super::areas::Areas;
use crate::{
    clock::HostTime,
    histograms::Histograms,
    memory::FoundRegion,
    recording::{Body, Message, RingCounters, RingId},
    tables::Tables,
};

/// One ring of the guest.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) id: RingId,
    /// Up to where it was read. `None`: where reading begins is not known yet.
    pub(super) expected: Option<u64>,
    /// The counters that close its account.
    pub(super) last: Option<(Counters, Vec<u64>)>,
    pub(super) over: Over,
    pub(super) sought_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    No,
    Closed,
    /// It was written to all the time.
    Uncounted,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) region: FoundRegion,
    pub(super) tables: Tables,
    /// Header page, control page and tables, as they came last.
    pub(super) bytes: Arc<[u8]>,
    pub(super) rings: Vec<Ring>,
    pub(super) areas: Areas,
    /// The histograms as they were told last.
    pub(super) histograms: Option<Histograms>,
    /// It is read from its boot on.
    is_of_boot: bool,
    has_told_heap: bool,
}

impl Known {
    pub(super) fn new(region: FoundRegion, tables: Tables, bytes: &[u8], begin: Begin) -> Self {
        let expected = (begin == Begin::Boot).then_some(0);
        let rings = (0..region.header.geometry.vcpus())
            .flat_map(|vcpu| RingKind::ALL.map(|kind| RingId { vcpu: vcpu as u16, kind }))
            .map(|id| Ring { id, expected, last: None, over: Over::No, sought_ns: 0 })
            .collect();
        let (areas, bytes) = (Areas::default(), bytes.into());
        let is_of_boot = begin == Begin::Boot;
        Self { region, tables, bytes, rings, areas, histograms: None, is_of_boot, has_told_heap: false }
    }

    /// Tells the histograms, if they are others than were told last, or the blocks of the heap: what was there before reading began, and what is
    /// there at its end. The first look at histograms is told even if there was no value yet: it is what later ones are compared with.
    pub(super) fn tell_area(
        &mut self,
        area: Area,
        session: u32,
        at: HostTime,
        emit: &mut impl FnMut(Message<'static>),
    ) {
        let geometry = self.region.header.geometry;
        match area {
            Area::Sites => {}
            Area::Heap => {
                // Records tell of all blocks from the boot on: the first look is of no use then.
                let is_of_use = std::mem::replace(&mut self.has_told_heap, true) || !self.is_of_boot;
                if let Some(blocks) = self.areas.live_blocks(geometry).filter(|_| is_of_use) {
                    emit(Message { at, session, body: Body::Heap(blocks.to_words().into()) });
                }
            }
            Area::Net => {
                if let Some(network) = self.areas.network(geometry) {
                    emit(Message { at, session, body: Body::Network(network.to_words().into()) });
                }
            }
            Area::Histograms => {
                let Some(now) = self.areas.histograms(geometry) else { return };
                if self.histograms.is_none() && self.is_of_boot {
                    // As they were at the boot.
                    emit(Message { at, session, body: Body::Histograms(Vec::new().into()) });
                }
                if self.histograms.as_ref() != Some(&now) {
                    emit(Message { at, session, body: Body::Histograms(now.to_words().into()) });
                    self.histograms = Some(now);
                }
            }
        }
    }

    /// Whether the last counters of all rings have come, or never will.
    pub(super) fn is_counted(&self) -> bool {
        self.rings.iter().all(|ring| ring.over != Over::No || ring.last.is_some())
    }
}

impl Ring {
    pub(super) fn counters(
        &self,
        counters: &Counters,
        slots: Vec<u64>,
        last: bool,
        session: u32,
        at: HostTime,
    ) -> Message<'static> {
        let Counters { head, refused } = *counters;
        let body = RingCounters { ring: self.id, head, last, refused, slots: slots.into() };
        Message { at, session, body: Body::Counters(body) }
    }

    /// Closes the account once everything up to its end has been read.
    pub(super) fn close_if_read(
        &mut self,
        session: u32,
        now: HostTime,
        emit: &mut impl FnMut(Message<'static>),
    ) {
        let Some(expected) = self.expected else { return };
        if self.last.as_ref().is_some_and(|(counters, _)| expected >= counters.head)
            && let Some((counters, slots)) = self.last.take()
        {
            emit(self.counters(&counters, slots, true, session, now));
            self.over = Over::Closed;
        }
    }
}

pub(super) const fn name(id: RingId) -> RingName {
    RingName { vcpu: id.vcpu, kind: id.kind }
}

/// Whether a guest with such rings can have sent such a block: part of one sub-buffer, and sealed if it ends it.
pub(super) fn is_plausible(geometry: RingGeometry, start: u64, words: usize, sealed: bool) -> bool {
    let sub_buffer = geometry.sub_buffer_words() as u64;
    let end = start.saturating_add(words as u64);
    let border = geometry.sub_buffer_start(start).saturating_add(sub_buffer);
    words > 0 && end <= MAX_POSITION && end <= border && sealed == (end == border)
}
