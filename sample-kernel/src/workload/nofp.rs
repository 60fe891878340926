//! `nofp`: a known profile below code without frame pointers. `nofp.c`, which is compiled without them, calls through six functions to
//! `nofp_sixty`, `nofp_thirty` and `nofp_ten`, which have 60, 30 and 10 per cent of the time.

use core::hint::black_box;

use super::{join_all, one_per_vcpu};
use crate::time::Deadline;

unsafe extern "C" {
    /// Pure: a number of a number.
    safe fn nofp_enter(state: u64) -> u64;
}

pub(super) fn run(vcpus: u32, end: Deadline) {
    let threads = one_per_vcpu(vcpus, "nofp", |vcpu| move || work(vcpu, end));
    join_all(threads);
}

#[inline(never)]
fn work(vcpu: u32, end: Deadline) {
    let mut state = u64::from(vcpu) + 1;
    while !end.has_passed() {
        state = call_c(state);
    }
}

/// The last frame that has a frame pointer.
#[inline(never)]
fn call_c(state: u64) -> u64 {
    black_box(nofp_enter(black_box(state)))
}
