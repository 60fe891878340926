//! What the probes run on in a test: this process, with a clock that the test moves. Each thread says which vCPU, thread and stack it is.
//!
//! Shared by the tests of several packages (`#[path]`). Whoever includes it declares the region beside it, by `probe::region!`.

#![allow(dead_code, reason = "no test uses all of it")]

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use uniprof_probes as probe;
use uniprof_wire::layout::{CONTROL_OFFSET, HEADER_WORDS, RegionHeader, RingKind};
use uniprof_wire::record::{Record, Records};
use uniprof_wire::ring::{self, Block, Source};
use uniprof_wire::tables::{CONTROL_WORDS, ControlRequest};

use super::region_memory;

/// The running thread, where the test does not say another.
pub(crate) const THREAD: u32 = 5;

static NOW: AtomicU64 = AtomicU64::new(1_000_000);

thread_local! {
    static THIS_VCPU: Cell<u32> = const { Cell::new(0) };
    static THIS_THREAD: Cell<u32> = const { Cell::new(THREAD) };
    static THIS_STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// How far each kind of ring has been read.
    static POSITIONS: [Cell<u64>; 2] = const { [Cell::new(0), Cell::new(0)] };
}

struct Process;
// SAFETY: an atomic, and thread locals without a destructor, which signal handlers find, too. Nothing is ever switched out.
unsafe impl probe::Platform for Process {
    fn now() -> u64 {
        NOW.fetch_add(1, Ordering::Relaxed)
    }
    fn vcpu() -> u32 {
        THIS_VCPU.get()
    }
    fn pin() {}
    fn unpin() {}
    fn stack() -> Range<usize> {
        let (low, high) = THIS_STACK.get();
        low..high
    }
    fn thread() -> probe::ThreadId {
        THIS_THREAD.get()
    }
}
probe::platform!(Process);

/// The time, without moving it. (A look by the probes takes a tick.)
pub(crate) fn now() -> u64 {
    NOW.load(Ordering::Relaxed)
}

/// Lets time pass; what it was before.
pub(crate) fn pass(ticks: u64) -> u64 {
    NOW.fetch_add(ticks, Ordering::Relaxed)
}

/// The calling thread is this vCPU from now on.
pub(crate) fn set_vcpu(id: u32) {
    THIS_VCPU.set(id);
}

/// The calling thread has this number from now on.
pub(crate) fn set_thread(id: u32) {
    THIS_THREAD.set(id);
}

/// The calling thread has this stack from now on, which must be readable for as long as it probes.
pub(crate) fn set_stack(stack: Range<usize>) {
    THIS_STACK.set((stack.start, stack.end));
}

/// The region as it lies in memory.
pub(crate) fn region() -> &'static [AtomicU64] {
    let memory = region_memory();
    // SAFETY: the static region, which is only accessed as atomic words.
    unsafe { std::slice::from_raw_parts(memory.base.cast(), memory.bytes / 8) }
}

/// One word of it, by its byte offset.
pub(crate) fn word(byte: usize) -> u64 {
    region()[byte / 8].load(Ordering::Acquire)
}

/// `N` words from there on.
pub(crate) fn words<const N: usize>(byte: usize) -> [u64; N] {
    std::array::from_fn(|i| word(byte + 8 * i))
}

/// What the header page says.
pub(crate) fn header() -> RegionHeader {
    let bytes = region_memory().bytes as u64;
    RegionHeader::from_words(&words::<HEADER_WORDS>(0), bytes).expect("a region")
}

/// One ring of vCPU 0.
pub(crate) fn ring(kind: RingKind) -> &'static [AtomicU64] {
    let geometry = header().geometry;
    let first = geometry.ring_offset(0, kind) / 8;
    &region()[first..first + geometry.ring().total_words()]
}

/// Every record of that ring since the last call, handed to `each`; how many there were.
pub(crate) fn drain(kind: RingKind, mut each: impl FnMut(Record<'_>)) -> usize {
    let geometry = header().geometry.ring();
    let mut out = vec![0; geometry.sub_buffer_words()];
    let mut count = 0;
    loop {
        let position = POSITIONS.with(|positions| positions[kind as usize].get());
        match ring::read_block(&ring(kind), geometry, Source::Live, position, &mut out) {
            Block::Copied { start, end, .. } => {
                for found in Records::new(&out[..(end - start) as usize], start, header().salt()) {
                    each(found.record.expect("intact"));
                    count += 1;
                }
                POSITIONS.with(|positions| positions[kind as usize].set(end));
            }
            Block::Empty => return count,
            other => panic!("{other:?}"),
        }
    }
}

/// The section of event sites.
pub(crate) fn section() -> &'static [u8] {
    let (start, end) = header().sites;
    // SAFETY: the section of this process. Its words change only while the control page is looked at, in the thread that calls this.
    unsafe { std::slice::from_raw_parts(start.0 as *const u8, (end.0 - start.0) as usize) }
}

/// Writes a request into a slot of the control page, as a host does.
pub(crate) fn request(slot: usize, asked: &ControlRequest) {
    let first = CONTROL_OFFSET / 8 + slot * CONTROL_WORDS;
    let words: Vec<u64> = [2].into_iter().chain(asked.to_words()).collect();
    words.iter().enumerate().rev().for_each(|(i, word)| region()[first + i].store(*word, Ordering::Release));
}
