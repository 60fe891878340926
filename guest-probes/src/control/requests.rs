//! The requests that live: read from the control page, and dropped when their askers have fallen silent.

use core::sync::atomic::{Ordering, fence};

use uniprof_wire::layout::CONTROL_OFFSET;
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{CONTROL_SLOTS, CONTROL_WORDS, ControlRequest, Slot};

use crate::region::Region;

/// Longest lease that a guest grants.
const MAX_LEASE_MS: u64 = 60_000;

/// Word of a slot with its owner; 0: nobody's.
const OWNER_WORD: usize = 1;

/// What one slot showed, and when that was new.
#[derive(Clone, Copy)]
struct Seen {
    owner: u64,
    renewals: u64,
    since: u64,
    mark: u32,
    flush: u32,
}

/// All slots of the control page.
pub(super) struct Requests {
    seen: [Seen; CONTROL_SLOTS],
    /// What asks for nothing where a slot is empty or its lease has passed.
    live: [ControlRequest; CONTROL_SLOTS],
    /// Slots with a mark that has not been written.
    marks: [bool; CONTROL_SLOTS],
    flush: bool,
    /// When somebody was first seen who had not been there before, the latest.
    newest: u64,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Self {
            seen: [Seen { owner: 0, renewals: 0, since: 0, mark: 0, flush: 0 }; CONTROL_SLOTS],
            live: [ControlRequest::NOTHING; CONTROL_SLOTS],
            marks: [false; CONTROL_SLOTS],
            flush: false,
            newest: 0,
        }
    }

    /// Those that live.
    pub(super) fn live(&self) -> &[ControlRequest] {
        &self.live
    }

    /// At which look somebody was first seen who had not been there before, the latest.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Looks at every slot.
    pub(super) fn read(&mut self, region: &Region, now: u64) {
        for slot in 0..CONTROL_SLOTS {
            match read_slot(region, slot) {
                Slot::Empty if self.live[slot].owner == 0 => continue,
                Slot::Empty => self.live[slot] = ControlRequest::NOTHING,
                Slot::Whole(request) => {
                    self.live[slot] = request;
                    self.note(slot, now);
                }
                // Somebody writes it: what it said before goes on for its lease. Who died while writing is silent.
                Slot::Torn(_) => {}
            }
            let lease = u64::from(self.live[slot].lease_ms).min(MAX_LEASE_MS);
            let lease = u128::from(lease) * u128::from(region.tsc_hz) / 1000;
            if u128::from(now.saturating_sub(self.seen[slot].since)) > lease {
                self.live[slot] = ControlRequest::NOTHING;
            }
        }
    }

    /// Notes what is new in a slot.
    fn note(&mut self, slot: usize, now: u64) {
        let (request, seen) = (&self.live[slot], &mut self.seen[slot]);
        if seen.owner != request.owner {
            self.newest = now;
            *seen = Seen { owner: request.owner, renewals: request.renewals, since: now, mark: 0, flush: 0 };
        } else if seen.renewals != request.renewals {
            (seen.renewals, seen.since) = (request.renewals, now);
        }
        if seen.mark != request.mark {
            seen.mark = request.mark;
            self.marks[slot] = request.mark != 0;
        }
        if seen.flush != request.flush {
            seen.flush = request.flush;
            self.flush |= request.flush != 0;
        }
    }

    /// Hands over each mark that has been asked for since the last look.
    pub(super) fn take_marks(&mut self, write: fn(&[u8])) {
        for (asked, request) in self.marks.iter_mut().zip(&self.live) {
            if core::mem::take(asked) {
                write(request.mark_text.bytes());
            }
        }
    }

    /// Whether a flush has been asked for since the last look.
    pub(super) fn take_flush(&mut self) -> bool {
        core::mem::take(&mut self.flush)
    }
}

fn read_slot(region: &Region, slot: usize) -> Slot<ControlRequest> {
    let page = region.words.at_byte(CONTROL_OFFSET + slot * CONTROL_WORDS * 8);
    // Most are, at 40 looks a second: the rest of an empty slot says nothing.
    if page.load(OWNER_WORD) == 0 {
        return Slot::Empty;
    }
    let words = core::array::from_fn(|i| page.load(i));
    let found = ControlRequest::from_words(&words);
    fence(Ordering::Acquire);
    match found {
        Slot::Whole(request) if page.load(0) != words[0] => Slot::Torn(request),
        found => found,
    }
}
