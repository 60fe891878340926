//! The probes' own writer, natively and at full speed: signals are the interrupts, another core is the reader.
//!
//! The writer's thread is the vCPU. SIGUSR1 is an interrupt, SIGUSR2 an NMI that also hits the handler of
//! SIGUSR1. Every event carries a checksum of itself and its context's own count, so that a reader can tell a
//! corrupt record from a true one without any knowledge of the protocol. Interrupts also take snapshots of a stack whose every word
//! is known, and NMIs write log lines between their words. Calls, lock waits, interrupts and wake-ups nest in each other, too.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uniprof_probes as probe;
use uniprof_wire::layout::{RegionHeader, RingKind};
use uniprof_wire::record::{CLASSES, Class, EventRecord, Record, Records, SnapshotRecord};
use uniprof_wire::ring::{self, Block, Source};

mod machine;

const SECONDS: u64 = 20;

probe::region!(bytes = 1 << 20);

/// The stack that snapshots are taken of: each word is its own number, mixed.
static STACK: [u64; 1024] = {
    let mut words = [0; 1024];
    let mut i = 0;
    while i < words.len() {
        words[i] = mixed(3, i as u64);
        i += 1;
    }
    words
};

fn stack_range() -> Range<usize> {
    let low = STACK.as_ptr() as usize;
    low..low + size_of_val(&STACK)
}

/// Events emitted by thread, interrupt, NMI: counted by the contexts themselves.
static EMITTED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Calls by the thread, waits for locks by interrupts, interrupts told by interrupts and NMIs.
static HOOKS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Ticks of interrupts and log lines of NMIs.
static TICKS: AtomicU64 = AtomicU64::new(0);
static LINES: AtomicU64 = AtomicU64::new(0);
/// Undoes the multiplication in [`mixed`].
const MIX_INVERSE: u64 = 0xf1de83e19937733d;
const _: () = assert!(MIX_INVERSE.wrapping_mul(0x9e37_79b9_7f4a_7c15) == 1);
static STOP: AtomicBool = AtomicBool::new(false);

const fn mixed(context: u64, count: u64) -> u64 {
    (count ^ context << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn count(context: u64) -> u64 {
    EMITTED[context as usize].fetch_add(1, Ordering::Relaxed)
}

fn from_thread() {
    let n = count(0);
    if n.is_multiple_of(5) {
        let n = HOOKS[0].fetch_add(1, Ordering::Relaxed);
        let _ = probe::call!("call" -> u64, n = n, m = mixed(4, n)).returned(n + 1);
    }
    if n.is_multiple_of(3) {
        probe::event!("thread.long", c = 0u64, n = n, m = mixed(0, n), a = n + 1, b = n + 2, d = n + 3);
    } else {
        probe::event!("thread", c = 0u64, n = n, m = mixed(0, n));
    }
}

extern "C" fn interrupt(_: libc::c_int) {
    probe::interrupt(HOOKS[2].fetch_add(1, Ordering::Relaxed) as u32, on_interrupt);
}

fn on_interrupt() {
    let n = HOOKS[1].fetch_add(1, Ordering::Relaxed);
    let wait = probe::lock_wait(probe::LockKind::Spin, mixed(5, n) as usize, n as u32);
    probe::woken_by_interrupt(9);
    wait.acquired();
    let n = count(1);
    probe::event!("interrupt", c = 1u64, n = n, m = mixed(1, n), a = n + 1);
    tick(TICKS.fetch_add(1, Ordering::Relaxed));
    // Now and then a burst that laps what it interrupted, and so has to be refused.
    if n.is_multiple_of(256) {
        for _ in 0..2000 {
            let n = count(1);
            probe::event!("interrupt.burst", c = 1u64, n = n, m = mixed(1, n));
        }
    }
}

extern "C" fn nmi(_: libc::c_int) {
    let begin = probe::interrupt_enter();
    let n = count(2);
    probe::event!("nmi", c = 2u64, n = n, m = mixed(2, n));
    LINES.fetch_add(1, Ordering::Relaxed);
    probe::log_line(LINE);
    probe::interrupt_exit(HOOKS[2].fetch_add(1, Ordering::Relaxed) as u32, begin);
}

const LINE: &str = "a line in the middle of a snapshot";

/// A snapshot from a place in the stack that `n` chooses: short ones and those that a sub-buffer cuts.
fn tick(n: u64) {
    let rsp = STACK.as_ptr() as u64 + (mixed(1, n) >> 32) % 1024 * 8;
    let [rip, rbp, rbx, r12, r13, r14, r15] = std::array::from_fn(|i| mixed(i as u64, n));
    let registers = probe::Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 };
    // SAFETY: an interrupt's handler, which does not nest in itself, and the stack is a constant.
    unsafe { probe::tick_with_registers(&registers) };
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

#[derive(Debug, Default)]
struct Seen {
    accepted: u64,
    overruns: u64,
    per_context: [u64; 3],
    snapshots: u64,
    snapshot_words: u64,
    lines: u64,
    /// As in [`HOOKS`].
    hooks: [u64; 3],
}

fn check(record: Record<'_>, seen: &mut Seen) {
    match record {
        Record::Event(event) => check_event(event, seen),
        Record::Snapshot(snapshot) => check_snapshot(snapshot, seen),
        Record::Log(line) => {
            assert!(line.text.bytes().eq(LINE.bytes()), "corrupt: {line:?}");
            seen.lines += 1;
        }
        Record::Call(call) => {
            let &[n, mixture, result] = call.args else { panic!("{call:?}") };
            assert!(mixture == mixed(4, n) && result == n + 1 && call.begin < call.tsc, "corrupt: {call:?}");
            seen.hooks[0] += 1;
        }
        Record::LockWait(wait) => {
            let n = wait.lock.0.wrapping_mul(MIX_INVERSE) ^ 5 << 60;
            assert!(n as u32 == wait.owner && wait.begin < wait.tsc && wait.thread == 9, "corrupt: {wait:?}");
            seen.hooks[1] += 1;
        }
        Record::Interrupt(interrupt) => {
            assert!(interrupt.begin < interrupt.tsc && interrupt.thread == 9, "corrupt: {interrupt:?}");
            seen.hooks[2] += 1;
        }
        Record::Wake(wake) => assert_eq!((wake.thread, wake.waker, wake.by_interrupt), (9, 9, true)),
        _ => panic!("nobody wrote {record:?}"),
    }
}

fn check_snapshot(snapshot: SnapshotRecord<'_>, seen: &mut Seen) {
    let probe::Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 } = snapshot.registers;
    let n = rip.wrapping_mul(MIX_INVERSE);
    let registers = [rip, rbp, rbx, r12, r13, r14, r15];
    assert_eq!(registers, std::array::from_fn(|i| mixed(i as u64, n)), "corrupt: {snapshot:x?}");
    let stack = stack_range();
    let first = (rsp as usize - stack.start) / 8;
    assert_eq!(snapshot.stack_end, stack.end as u64);
    assert!(
        snapshot.stack.iter().eq(STACK[first..].iter().take(snapshot.stack.len())),
        "corrupt: {snapshot:x?}"
    );
    // Rings of 16 KiB have sub-buffers of 2 KiB, of which header, TSC and registers take 14 words.
    assert_eq!(snapshot.stack.len(), (STACK.len() - first).min(256 - 14));
    seen.snapshots += 1;
    seen.snapshot_words += snapshot.stack.len() as u64;
}

fn check_event(event: EventRecord<'_>, seen: &mut Seen) {
    let [context, n, mixture, rest @ ..] = event.args else { panic!("{event:?}") };
    assert!(*context < 3 && *mixture == mixed(*context, *n), "corrupt: {event:?}");
    assert!(rest.iter().enumerate().all(|(i, &arg)| arg == n + 1 + i as u64), "corrupt: {event:?}");
    assert_eq!(event.thread, 9);
    seen.accepted += 1;
    seen.per_context[*context as usize] += 1;
}

/// A ring that is being read.
struct Reading {
    ring: &'static [AtomicU64],
    position: u64,
    seen: Seen,
}

impl Reading {
    /// Reads the next block; false where there is none.
    fn step(&mut self, header: &RegionHeader, out: &mut [u64]) -> bool {
        let position = self.position;
        match ring::read_block(&self.ring, header.geometry.ring(), Source::Live, position, out) {
            Block::Copied { start, end, .. } => {
                for found in Records::new(&out[..(end - start) as usize], start, header.salt()) {
                    match found.record {
                        Ok(record) => check(record, &mut self.seen),
                        Err(bad) => panic!("{bad:?} at {} in {start}..{end}", found.position),
                    }
                }
                self.position = end;
            }
            Block::Overrun { resume } => {
                self.seen.overruns += 1;
                self.position = resume;
            }
            Block::Empty => return false,
            Block::ImplausibleHead { head } => panic!("head {head} at {position}"),
        }
        true
    }
}

/// Reads both rings in turn until the writer has stopped and nothing is left.
fn read_all() -> [Seen; 2] {
    let header = machine::header();
    let mut out = vec![0; header.geometry.ring().sub_buffer_words()];
    let mut rings =
        RingKind::ALL.map(|kind| Reading { ring: machine::ring(kind), position: 0, seen: Seen::default() });
    loop {
        let stopped = STOP.load(Ordering::Acquire);
        let [core, events] = rings.each_mut().map(|reading| reading.step(&header, &mut out));
        if !core && !events {
            if stopped {
                return rings.map(|reading| reading.seen);
            }
            std::hint::spin_loop();
        }
    }
}

#[test]
fn no_corrupt_record_in_twenty_seconds() {
    let config = probe::Config {
        tsc_hz: 1_000,
        ring_bytes: 16 << 10,
        snapshot_bytes: 1 << 20,
        classes: Class::RECORDED & !Class::Thread.bit(),
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    machine::set_thread(9);
    machine::set_stack(stack_range());
    probe::thread_start(9, "vcpu", 0..0, 0);
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
    println!("{seen:?} of {EMITTED:?}, {TICKS:?} ticks, {LINES:?} lines");
    let [core, events] = seen;
    let [emitted, ticks, lines] = [EMITTED.each_ref().map(value).iter().sum(), value(&TICKS), value(&LINES)];
    assert!(
        account(RingKind::Events, Class::Event, emitted) > 0,
        "bursts in handlers are refused now and then"
    );
    account(RingKind::Core, Class::Sample, ticks);
    account(RingKind::Core, Class::Log, lines);
    for (class, hook) in [(Class::Call, 0), (Class::Lock, 1), (Class::Irq, 2)] {
        account(RingKind::Events, class, value(&HOOKS[hook]));
        assert!(events.hooks[hook] > 10, "{}: {:?}", class.name(), events.hooks);
    }
    account(RingKind::Events, Class::OffCpu, value(&HOOKS[1]));
    assert!(events.overruns > 0, "the reader is lapped now and then");
    assert!(events.accepted > 10_000 && events.per_context.iter().all(|&n| n > 0), "{events:?}");
    assert!(core.snapshots > 100 && core.lines > 10, "{core:?}");
}

fn value(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// The guest's counters against the contexts' own; how many it refused.
fn account(kind: RingKind, class: Class, emitted: u64) -> u64 {
    let header = machine::header();
    let geometry = header.geometry.ring();
    let ring = machine::ring(kind);
    let mut slots = vec![0; geometry.slots() * CLASSES];
    let counters = ring::read_counters(&ring, geometry, Source::Live, 1, &mut slots).expect("quiet");
    let committed: u64 = slots.iter().skip(class as usize).step_by(CLASSES).sum();
    let refused = counters.refused[class as usize];
    assert_eq!(committed + refused, emitted, "{}", class.name());
    refused
}
