//! `crash-scribble`: wild writes over the observation region itself, so that a reader has to do with what is left: entries of threads,
//! the middle of every ring. Then a null pointer.

use core::hint::black_box;

use uniprof_wire::layout::{Geometry, HEADER_WORDS, RegionHeader, RingKind};
use uniprof_wire::ring::HEAD;
use uniprof_wire::tables::{THREAD_SLOTS, THREAD_WORDS};

use super::frontend::Request;
use crate::region;

/// Words of each wild write into a ring.
const WORDS: usize = 32;
/// Slots of `accept-1`, which becomes nonsense, and of `housekeeper`, which looks as if it were being changed: their numbers, unless
/// the threads of this workload changed.
const WRECKED_THREAD: usize = 3;
const TORN_THREAD: usize = 5;

/// The totals that the server would show.
#[repr(C)]
struct Totals {
    requests: u64,
    bytes: u64,
    peak: u64,
}

#[inline(never)]
pub(super) fn flush_statistics(request: &Request) -> u64 {
    let merged = merge_counters(0x5eed ^ request.id);
    let sum = publish_totals(black_box(core::ptr::null()), merged);
    black_box((request, sum));
    sum
}

/// Writes where it should not.
#[inline(never)]
fn merge_counters(seed: u64) -> u64 {
    let Some(memory) = region::words() else { return 0 };
    let header: [u64; HEADER_WORDS] = core::array::from_fn(|word| memory.load(word));
    let Ok(header) = RegionHeader::from_words(&header, u64::MAX) else { return 0 };
    let geometry = header.geometry;
    let mut noise = Noise(seed);
    let slot = |thread: usize| geometry.thread_table() / 8 + thread % THREAD_SLOTS * THREAD_WORDS;
    for word in 0..THREAD_WORDS {
        memory.store(slot(WRECKED_THREAD) + word, noise.next());
    }
    memory.store(slot(TORN_THREAD), memory.load(slot(TORN_THREAD)) | 1);
    for vcpu in 0..geometry.vcpus() {
        for kind in RingKind::ALL {
            scribble_ring(&memory, geometry, geometry.ring_offset(vcpu, kind) / 8, &mut noise);
        }
    }
    noise.next()
}

/// Overwrites what lies halfway through the records of the latest lap.
fn scribble_ring(memory: &region::RegionWords, geometry: Geometry, first: usize, noise: &mut Noise) {
    let ring = geometry.ring();
    let head = memory.load(first + HEAD);
    let start = ring.sub_buffer_start(head).max(head.saturating_sub(ring.ring_words() as u64));
    let middle = start + (head - start) / 2;
    for word in 0..WORDS as u64 {
        memory.store(first + ring.word_of(middle + word), noise.next());
    }
}

#[inline(never)]
fn publish_totals(totals: *const Totals, merged: u64) -> u64 {
    // SAFETY: none, this is the crash: null.
    let peak = unsafe { (*totals).peak };
    black_box((totals, merged, peak));
    // SAFETY: none; never reached.
    peak + unsafe { (*totals).requests + (*totals).bytes }
}

/// xorshift64: the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
