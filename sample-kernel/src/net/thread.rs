//! The thread that owns the network: it sleeps until the device, somebody with an answer or a deadline wakes it.

use core::sync::atomic::{AtomicU32, Ordering};

use smoltcp::time::Instant;

use super::limits::Limits;
use super::link::Link;
use super::stack::Stack;
use super::{ANSWERS, Addresses, BELL};
use crate::console::print_line;
use crate::sched::{self, WaitQueue};
use crate::{arch, time};

/// Frames before others of this vCPU get their turn.
const FRAMES: usize = 64;
/// How often it looks at a device that does not interrupt.
const POLL_NS: u64 = 1_000_000;
/// How long a workload that ends waits until its clients have what was answered.
const LAST_NS: u64 = 1_000_000_000;

const RUNS: u32 = 0;
const FINISHES: u32 = 1;
const FINISHED: u32 = 2;
static STATE: AtomicU32 = AtomicU32::new(RUNS);
/// 1 once it has ended.
static OVER: AtomicU32 = AtomicU32::new(0);
static OVER_QUEUE: WaitQueue = WaitQueue::new();

fn now() -> Instant {
    Instant::from_micros(time::nanoseconds(arch::now()) as i64 / 1000)
}

/// At that time, in TSC ticks.
fn tsc(instant: Instant) -> u64 {
    time::ticks(instant.total_micros().max(0) as u64 * 1000)
}

pub(super) fn run((mut link, limits): (Link, Limits), addresses: Addresses) {
    BELL.claim();
    if !link.interrupts() {
        print_line!("net: the device does not interrupt; looking at it every {} ms", POLL_NS / 1_000_000);
    }
    let mut stack = Stack::new(&mut link, addresses, limits, now());
    let mut last = u64::MAX;
    loop {
        link.set_interrupts(false);
        let more = receive(&mut link, &mut stack);
        while let Some(answer) = ANSWERS.try_take() {
            stack.answered(answer, now());
        }
        let next = stack.look_after(&mut link.sender(), now());
        link.flush();
        if STATE.load(Ordering::Acquire) == FINISHES {
            last = last.min(arch::now().saturating_add(time::ticks(LAST_NS)));
            if !stack.is_busy() || arch::now() >= last {
                break;
            }
        }
        if more {
            sched::yield_now();
            continue;
        }
        link.set_interrupts(true);
        if link.has_some() || !ANSWERS.is_empty() {
            continue;
        }
        let mut wakes_at = next.map_or(u64::MAX, tsc).min(last);
        if !link.interrupts() {
            wakes_at = wakes_at.min(arch::now().saturating_add(time::ticks(POLL_NS)));
        }
        BELL.wait_until(wakes_at);
    }
    stack.abort(&mut link.sender(), now());
    link.flush();
    OVER.store(1, Ordering::Release);
    STATE.store(FINISHED, Ordering::Release);
    OVER_QUEUE.wake_all();
    // The device keeps what it was lent.
    core::mem::forget(link);
}

/// Takes a batch of frames; whether there may be more.
fn receive(link: &mut Link, stack: &mut Stack) -> bool {
    let (mut receiver, mut sender) = link.split();
    for _ in 0..FRAMES {
        let Some(frame) = receiver.receive() else { return false };
        stack.receive(frame, &mut sender, now());
    }
    true
}

/// Waits until it has sent what it can.
pub(super) fn finish() {
    if STATE.compare_exchange(RUNS, FINISHES, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        BELL.ring();
        OVER_QUEUE.wait_until(|| OVER_QUEUE.event(&OVER), || OVER.load(Ordering::Acquire) != 0);
    }
}
