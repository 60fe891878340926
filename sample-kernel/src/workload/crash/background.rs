//! What else goes on in the server: threads that compute, sleep and wait while one of them fails.

use alloc::format;
use alloc::string::String;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::probes;
use crate::sched::{self, JoinHandle, WaitQueue};
use crate::time::Deadline;

const MILLISECOND_NS: u64 = 1_000_000;
const ACCEPTORS: u32 = 3;
/// Some milliseconds of work.
const BLOCKS: u64 = 400;
const BLOCK_STEPS: u64 = 4_000;

static NEW_CONNECTIONS: WaitQueue = WaitQueue::new();
static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

/// Starts a worker on each vCPU that computes without a pause.
pub(super) fn start_busy(vcpus: u32) {
    start_waiting();
    start_workers(vcpus, 0);
}

/// Starts a worker on each vCPU that mostly sleeps.
pub(super) fn start_light(vcpus: u32) {
    start_waiting();
    start_workers(vcpus, 50);
}

/// Starts the threads that only wait: the machine stays idle.
pub(super) fn start_waiting() {
    for number in 0..ACCEPTORS {
        detach(sched::spawn(0, format!("accept-{number}"), accept_connections));
    }
    detach(sched::spawn(0, String::from("housekeeper"), expire_sessions));
}

fn start_workers(vcpus: u32, pause_ms: u64) {
    for vcpu in 0..vcpus {
        detach(sched::spawn(vcpu, format!("worker-{vcpu}"), move || serve_batches(vcpu, pause_ms)));
    }
}

/// The thread goes on by itself.
pub(super) fn detach(thread: JoinHandle) {
    drop(thread);
}

#[inline(never)]
fn accept_connections() {
    loop {
        NEW_CONNECTIONS
            .wait_until(|| NEW_CONNECTIONS.event(&CONNECTIONS), || CONNECTIONS.load(Ordering::Acquire) > 0);
    }
}

#[inline(never)]
fn expire_sessions() {
    loop {
        sched::sleep(60_000 * MILLISECOND_NS);
    }
}

#[inline(never)]
fn serve_batches(vcpu: u32, pause_ms: u64) {
    let mut digest = u64::from(vcpu) + 1;
    for batch in 0_u64.. {
        let blocks = if pause_ms == 0 { BLOCKS } else { 1 };
        digest = serve_batch(digest, blocks);
        probes::event!("worker.batch", batch = batch, vcpu = vcpu);
        if pause_ms > 0 {
            sched::sleep(pause_ms * MILLISECOND_NS);
        }
    }
}

#[inline(never)]
fn serve_batch(digest: u64, blocks: u64) -> u64 {
    (0..blocks).fold(digest, |digest, block| black_box(hash_block(digest, block)))
}

#[inline(never)]
fn hash_block(digest: u64, block: u64) -> u64 {
    (0..BLOCK_STEPS).fold(digest ^ block, |digest, step| {
        black_box((digest ^ step ^ (digest >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    })
}

/// Waits for the end of the machine, which comes from elsewhere unless there is a deadline.
pub(super) fn wait_for(end: Deadline) {
    while !end.has_passed() {
        sched::sleep(100 * MILLISECOND_NS);
    }
}
