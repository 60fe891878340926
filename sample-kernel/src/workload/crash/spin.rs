//! `crash-spin`: a driver waits for a device with interrupts off, and the device never answers. That vCPU does nothing else any
//! more; others go on.

use alloc::string::String;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use super::background;
use crate::sched;
use crate::sync::InterruptsOff;
use crate::time::Deadline;

const QUEUE_DEPTH: u32 = 64;
const COMPLETE: u32 = 1 << 31;

/// What the device would write.
static COMPLETION: AtomicU32 = AtomicU32::new(0);

pub(super) fn run(vcpus: u32, end: Deadline) {
    background::start_light(vcpus);
    sched::sleep(300_000_000);
    let unlucky = super::unlucky_vcpu(vcpus);
    background::detach(sched::spawn(unlucky, String::from("nic-poll"), || poll_device(QUEUE_DEPTH)));
    background::wait_for(end);
}

#[inline(never)]
fn poll_device(depth: u32) {
    loop {
        let done = submit_and_wait(black_box(depth), 7);
        black_box(done);
    }
}

#[inline(never)]
fn submit_and_wait(depth: u32, descriptor: u32) -> u32 {
    let _interrupts = InterruptsOff::new();
    let tail = (descriptor + 1) % depth;
    super::say_ready("spin");
    let status = wait_for_completion(black_box(descriptor), tail);
    status & !COMPLETE
}

#[inline(never)]
fn wait_for_completion(descriptor: u32, tail: u32) -> u32 {
    let mut polls = 0_u64;
    loop {
        let status = COMPLETION.load(Ordering::Acquire);
        if status & COMPLETE != 0 {
            black_box((descriptor, tail, polls));
            return status;
        }
        polls = black_box(polls + 1);
        core::hint::spin_loop();
    }
}
