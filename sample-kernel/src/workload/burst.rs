//! `burst`: events as fast as they can be recorded, and a count of them that the probes have no part in.

use super::{join_all, one_per_vcpu};
use crate::console::print_line;
use crate::probes;
use crate::time::Deadline;

pub(super) const DEFAULT_SECONDS: u64 = 5;

/// Events between two looks at the clock.
const RUN: u64 = 256;

pub(super) fn run(vcpus: u32, end: Deadline) {
    let threads = one_per_vcpu(vcpus, "burst", |vcpu| move || emit_until(vcpu, end));
    join_all(threads);
}

#[inline(never)]
fn emit_until(vcpu: u32, end: Deadline) {
    let mut emitted = 0_u64;
    while !end.has_passed() {
        for _ in 0..RUN {
            probes::event!("burst", number = emitted, vcpu = vcpu);
            emitted += 1;
        }
    }
    print_line!("burst: vcpu={vcpu} emitted={emitted}");
}
