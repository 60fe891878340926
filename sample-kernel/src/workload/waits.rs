//! `waits`: four functions that block, each in another way, and how long each did, measured around the call: a profile of blocked time whose
//! right answer is known. Scripts look for the functions by name, so their symbols are plain.

use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{join_all, observer};
use crate::console::print_line;
use crate::probes::{self, Class, Span, SpanId};
use crate::sched::{self, JoinHandle, WaitQueue};
use crate::sync::{Mutex, SpinLock};
use crate::time::Deadline;
use crate::{arch, sched::spawn};

pub(super) const DEFAULT_SECONDS: u64 = 5;

const MILLISECOND_NS: u64 = 1_000_000;
const SLEEP_NS: u64 = 20 * MILLISECOND_NS;
const CHILD_NS: u64 = 25 * MILLISECOND_NS;
const MAIL_NS: u64 = 15 * MILLISECOND_NS;
const HELD_NS: u64 = 30 * MILLISECOND_NS;
const FREE_NS: u64 = 5 * MILLISECOND_NS;

/// What one function has waited.
struct Sum {
    waits: AtomicU64,
    ticks: AtomicU64,
}

impl Sum {
    const fn new() -> Self {
        Self { waits: AtomicU64::new(0), ticks: AtomicU64::new(0) }
    }

    #[inline(always)]
    fn add(&self, wait: impl FnOnce()) {
        let begin = arch::now();
        wait();
        self.ticks.fetch_add(arch::now() - begin, Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }
}

static SLEEPS: Sum = Sum::new();
static JOINS: Sum = Sum::new();
static EVENTS: Sum = Sum::new();
static LOCKS: Sum = Sum::new();

static MAILBOX: WaitQueue = WaitQueue::new();
static MAIL: AtomicU32 = AtomicU32::new(0);
/// The span of a letter, from its writer to its reader.
static LETTER: SpinLock<Option<SpanId>> = SpinLock::new(None);
static LEDGER: Mutex<u64> = Mutex::new(0);
static LEDGER_HELD: AtomicBool = AtomicBool::new(false);
/// Those who wait for mail and for the ledger have ended: their partners may.
static OVER: AtomicU32 = AtomicU32::new(0);

pub(super) fn run(vcpus: u32, end: impl FnOnce() -> Deadline) {
    observer::wait_for(Class::OffCpu);
    let end = end();
    let other = vcpus - 1;
    let start = |vcpu, name: &str, body: fn(Deadline)| spawn(vcpu, String::from(name), move || body(end));
    let threads = [
        start(0, "sleeper", |end| repeat(end, waits_sleep)),
        start(0, "parent", |end| repeat(end, waits_join)),
        start(0, "reader", |end| {
            repeat(end, waits_event);
            OVER.fetch_add(1, Ordering::Release);
        }),
        start(0, "clerk", |end| {
            repeat(end, || {
                await_holder();
                waits_lock();
            });
            OVER.fetch_add(1, Ordering::Release);
        }),
        start(other, "writer", |_| until_over(write_mail)),
        start(other, "auditor", |_| until_over(hold_ledger)),
    ];
    join_all(threads.into_iter().collect());
    for (function, sum) in
        [("waits_sleep", &SLEEPS), ("waits_join", &JOINS), ("waits_event", &EVENTS), ("waits_lock", &LOCKS)]
    {
        let [waits, ticks] = [&sum.waits, &sum.ticks].map(|count| count.load(Ordering::Relaxed));
        print_line!("waits: function={function} waits={waits} tsc={ticks}");
    }
}

fn repeat(end: Deadline, wait: fn()) {
    while !end.has_passed() {
        wait();
    }
}

fn until_over(work: fn()) {
    while OVER.load(Ordering::Acquire) < 2 {
        work();
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn waits_sleep() {
    SLEEPS.add(|| sched::sleep(SLEEP_NS));
}

#[unsafe(no_mangle)]
#[inline(never)]
fn waits_join() {
    let child = start_child();
    JOINS.add(|| child.join());
}

#[inline(never)]
fn start_child() -> JoinHandle {
    spawn(0, String::from("child"), || sched::sleep(CHILD_NS))
}

#[unsafe(no_mangle)]
#[inline(never)]
fn waits_event() {
    EVENTS.add(|| MAILBOX.wait_until(|| MAILBOX.event(&MAIL), || MAIL.swap(0, Ordering::Acquire) != 0));
    end_span(LETTER.lock().take());
}

/// Ends the span of a letter, on whichever thread.
fn end_span(letter: Option<SpanId>) {
    drop(letter.map(Span::adopt));
}

#[inline(never)]
fn write_mail() {
    sched::sleep(MAIL_NS);
    let letter = probes::span!("waits.mail").detach();
    let unread = LETTER.lock().replace(letter);
    end_span(unread);
    MAIL.store(1, Ordering::Release);
    MAILBOX.wake_one();
}

#[inline(never)]
fn await_holder() {
    while !LEDGER_HELD.load(Ordering::Acquire) {
        sched::sleep(MILLISECOND_NS);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn waits_lock() {
    LOCKS.add(|| *LEDGER.lock() += 1);
}

#[inline(never)]
fn hold_ledger() {
    let mut ledger = LEDGER.lock();
    LEDGER_HELD.store(true, Ordering::Release);
    sched::sleep(HELD_NS);
    *ledger += 1;
    LEDGER_HELD.store(false, Ordering::Release);
    drop(ledger);
    sched::sleep(FREE_NS);
}
