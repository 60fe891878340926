//! Requests that come over the line: into the slots of the control page, where the guest looks for what hosts want. So there is one
//! path that checks and merges them.

use core::sync::atomic::Ordering;

use uniprof_wire::layout::CONTROL_OFFSET;
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{CONTROL_SLOTS, CONTROL_WORDS, ControlRequest};

use crate::region::{Region, Words};

const OWNER: usize = 1;

/// Which slots hold requests of the line.
#[derive(Debug, Default)]
pub(super) struct Slots([Held; CONTROL_SLOTS]);

/// Whose request a slot holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    owner: u64,
    /// When it was last renewed.
    at: u64,
    /// Number of the last flush that it asked for.
    flush: u32,
}

impl Slots {
    /// Puts a request into its slot, or takes it out where it has no lease; whether it asks for a flush. Where all slots are held, it takes the one whose owner
    /// on this line has been silent for longest; hosts that share the memory keep theirs.
    pub(super) fn put(&mut self, region: &Region, request: &ControlRequest, now: u64) -> bool {
        let found = (0..CONTROL_SLOTS).find(|&index| {
            self.0[index].owner == request.owner && slot(region, index).load(OWNER) == request.owner
        });
        if request.lease_ms == 0 {
            if let Some(index) = found {
                write(slot(region, index), &ControlRequest::default());
                self.0[index] = Held::default();
            }
            return false;
        }
        let empty = || (0..CONTROL_SLOTS).find(|&index| slot(region, index).load(OWNER) == 0);
        let silent = || {
            let ours = |index: &usize| {
                let owner = self.0[*index].owner;
                owner != 0 && slot(region, *index).load(OWNER) == owner
            };
            (0..CONTROL_SLOTS).filter(ours).min_by_key(|&index| self.0[index].at)
        };
        let Some(index) = found.or_else(empty).or_else(silent) else { return false };
        let flushes = request.flush != if found.is_some() { self.0[index].flush } else { 0 };
        if write(slot(region, index), request) {
            self.0[index] = Held { owner: request.owner, at: now, flush: request.flush };
        }
        flushes
    }
}

fn slot(region: &Region, index: usize) -> Words {
    region.words.at_byte(CONTROL_OFFSET + index * CONTROL_WORDS * 8)
}

/// Writes the slot as a host does. False where a host that shares the memory writes it at this very moment.
fn write(slot: Words, request: &ControlRequest) -> bool {
    let sequence = slot.load(0);
    let odd = sequence | 1;
    let claimed =
        slot.atomic(0).compare_exchange(sequence & !1, odd, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if claimed {
        for (word, value) in request.to_words().into_iter().enumerate() {
            slot.store(1 + word, value);
        }
        slot.store(0, odd.wrapping_add(1));
    }
    claimed
}
