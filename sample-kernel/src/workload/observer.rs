//! For workloads that count what they do: an observer who starts with the guest asks for his classes a moment after boot.

use crate::probes::{self, Class};
use crate::{sched, time};

const LOOK_NS: u64 = 5_000_000;
/// Without an observer the workload goes on by itself.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Waits until somebody wants records of the class, but not long.
pub(super) fn wait_for(class: Class) {
    let patience = time::Deadline::in_ns(PATIENCE_NS);
    while !probes::recording(class) && !patience.has_passed() {
        sched::sleep(LOOK_NS);
    }
}
