//! `idle`: threads that sleep nearly all the time.

use alloc::format;
use alloc::vec::Vec;

use super::join_all;
use crate::sched;
use crate::time::Deadline;

const MILLISECOND_NS: u64 = 1_000_000;
/// One thread for each period on each vCPU.
const PERIODS_MS: [u64; 3] = [10, 25, 100];

pub(super) fn run(vcpus: u32, end: Deadline) {
    let mut threads = Vec::new();
    for vcpu in 0..vcpus {
        for period in PERIODS_MS {
            threads.push(sched::spawn(vcpu, format!("sleeper-{period}ms-{vcpu}"), move || {
                sleep_until(end, period)
            }));
        }
    }
    join_all(threads);
}

#[inline(never)]
fn sleep_until(end: Deadline, period_ms: u64) {
    while !end.has_passed() {
        sched::sleep(period_ms * MILLISECOND_NS);
    }
}
