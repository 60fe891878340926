//! The probes' own writer, natively and at full speed: signals are the interrupts, another core is the reader.
//!
//! The writer's thread is the vCPU. SIGUSR1 is an interrupt, SIGUSR2 an NMI that also hits the handler of
//! SIGUSR1. Every event carries a checksum of itself and its context's own count, so that a reader can tell a
//! corrupt record from a true one without any knowledge of the protocol.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uniprof_probes as probe;
use uniprof_wire::layout::{Geometry, HEADER_WORDS, RegionHeader, RingKind};
use uniprof_wire::record::{CLASSES, Class, Record, Records};
use uniprof_wire::ring::{self, Block, Source};

const SECONDS: u64 = 20;

probe::region!(bytes = 1 << 20);

struct Process;
// SAFETY: nothing here locks, faults or allocates; only the main thread probes, and it is never "switched out" by
// the only thing that nests in it, signal handlers.
unsafe impl probe::Platform for Process {
    fn now() -> u64 {
        static CLOCK: AtomicU64 = AtomicU64::new(1);
        CLOCK.fetch_add(1, Ordering::Relaxed)
    }
    fn vcpu() -> u32 {
        0
    }
    fn pin() {}
    fn unpin() {}
    fn stack() -> Range<usize> {
        0..0
    }
    fn thread() -> probe::ThreadId {
        9
    }
}
probe::platform!(Process);

/// Events emitted by thread, interrupt, NMI: counted by the contexts themselves.
static EMITTED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static STOP: AtomicBool = AtomicBool::new(false);

fn mixed(context: u64, count: u64) -> u64 {
    (count ^ context << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn count(context: u64) -> u64 {
    EMITTED[context as usize].fetch_add(1, Ordering::Relaxed)
}

fn from_thread() {
    let n = count(0);
    if n.is_multiple_of(3) {
        probe::event!("thread.long", c = 0u64, n = n, m = mixed(0, n), a = n + 1, b = n + 2, d = n + 3);
    } else {
        probe::event!("thread", c = 0u64, n = n, m = mixed(0, n));
    }
}

extern "C" fn interrupt(_: libc::c_int) {
    let n = count(1);
    probe::event!("interrupt", c = 1u64, n = n, m = mixed(1, n), a = n + 1);
    // Now and then a burst that laps what it interrupted, and so has to be refused.
    if n.is_multiple_of(256) {
        for _ in 0..2000 {
            let n = count(1);
            probe::event!("interrupt.burst", c = 1u64, n = n, m = mixed(1, n));
        }
    }
}

extern "C" fn nmi(_: libc::c_int) {
    let n = count(2);
    probe::event!("nmi", c = 2u64, n = n, m = mixed(2, n));
}

fn on_signal(signal: libc::c_int, handler: extern "C" fn(libc::c_int), blocked: &[libc::c_int]) {
    // SAFETY: a zeroed sigaction is valid; the handlers only use atomics and the probes.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        blocked.iter().for_each(|&other| {
            libc::sigaddset(&raw mut action.sa_mask, other);
        });
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// The region as a host sees it.
fn region() -> (RegionHeader, &'static [AtomicU64]) {
    let memory = region_memory();
    // SAFETY: the static region; both sides only use atomic words.
    let words: &[AtomicU64] = unsafe { std::slice::from_raw_parts(memory.base.cast(), memory.bytes / 8) };
    let header: [u64; HEADER_WORDS] = std::array::from_fn(|i| words[i].load(Ordering::Acquire));
    (RegionHeader::from_words(&header, memory.bytes as u64).expect("a region"), words)
}

fn events_ring(geometry: Geometry, words: &[AtomicU64]) -> &[AtomicU64] {
    let first = geometry.ring_offset(0, RingKind::Events) / 8;
    &words[first..first + geometry.ring().total_words()]
}

#[derive(Debug, Default)]
struct Seen {
    accepted: u64,
    overruns: u64,
    per_context: [u64; 3],
}

fn check(record: Record<'_>, seen: &mut Seen) {
    let Record::Event(event) = record else { panic!("nobody wrote {record:?}") };
    let [context, n, mixture, rest @ ..] = event.args else { panic!("{event:?}") };
    assert!(*context < 3 && *mixture == mixed(*context, *n), "corrupt: {event:?}");
    assert!(rest.iter().enumerate().all(|(i, &arg)| arg == n + 1 + i as u64), "corrupt: {event:?}");
    assert_eq!(event.thread, 9);
    seen.accepted += 1;
    seen.per_context[*context as usize] += 1;
}

/// Reads until the writer has stopped and nothing is left.
fn read_all() -> Seen {
    let (header, words) = region();
    let geometry = header.geometry.ring();
    let ring = events_ring(header.geometry, words);
    let mut out = vec![0; geometry.sub_buffer_words()];
    let mut seen = Seen::default();
    let mut position = 0;
    loop {
        let stopped = STOP.load(Ordering::Acquire);
        match ring::read_block(&ring, geometry, Source::Live, position, &mut out) {
            Block::Copied { start, end, .. } => {
                for found in Records::new(&out[..(end - start) as usize], start, header.salt()) {
                    match found.record {
                        Ok(record) => check(record, &mut seen),
                        Err(bad) => panic!("{bad:?} at {} in {start}..{end}", found.position),
                    }
                }
                position = end;
            }
            Block::Overrun { resume } => {
                seen.overruns += 1;
                position = resume;
            }
            Block::Empty if stopped => return seen,
            Block::Empty => std::hint::spin_loop(),
            Block::ImplausibleHead { head } => panic!("head {head} at {position}"),
        }
    }
}

#[test]
fn no_corrupt_record_in_twenty_seconds() {
    let config = probe::Config { tsc_hz: 1_000, ring_bytes: 16 << 10, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    on_signal(libc::SIGUSR1, interrupt, &[]);
    on_signal(libc::SIGUSR2, nmi, &[libc::SIGUSR1]);
    // SAFETY: no precondition.
    let vcpu = unsafe { libc::pthread_self() };
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(read_all);
        scope.spawn(move || {
            let mut i = 0u64;
            while !STOP.load(Ordering::Acquire) {
                i += 1;
                let signal = if i.is_multiple_of(3) { libc::SIGUSR2 } else { libc::SIGUSR1 };
                // SAFETY: the thread lives: it waits for this one.
                unsafe { libc::pthread_kill(vcpu, signal) };
                for _ in 0..i % 1500 {
                    std::hint::spin_loop();
                }
            }
        });
        let end = Instant::now() + Duration::from_secs(SECONDS);
        while Instant::now() < end && !reader.is_finished() {
            (0..1000).for_each(|_| from_thread());
        }
        STOP.store(true, Ordering::Release);
        reader.join().expect("no corrupt record")
    });
    println!("{seen:?} of {EMITTED:?}");
    account(&seen);
}

/// The guest's counters against the contexts' own.
fn account(seen: &Seen) {
    let (header, words) = region();
    let geometry = header.geometry.ring();
    let ring = events_ring(header.geometry, words);
    let mut slots = vec![0; geometry.slots() * CLASSES];
    let counters = ring::read_counters(&ring, geometry, Source::Live, 1, &mut slots).expect("quiet");
    let event = Class::Event as usize;
    let committed: u64 = slots.iter().skip(event).step_by(CLASSES).sum();
    let emitted: u64 = EMITTED.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    assert_eq!(committed + counters.refused[event], emitted);
    assert!(counters.refused[event] > 0, "bursts in handlers are refused now and then");
    assert!(seen.overruns > 0, "the reader is lapped now and then");
    assert!(seen.accepted > 10_000 && seen.per_context.iter().all(|&n| n > 10), "{seen:?}");
}
