//! `deep`: a stack of a hundred frames of one function.

use core::hint::black_box;

use super::{join_all, one_per_vcpu};
use crate::time::Deadline;

const DEPTH: u32 = 100;
/// Most of the time is spent at the bottom, so that most samples see every frame.
const STEPS: u64 = 20_000;

pub(super) fn run(vcpus: u32, end: Deadline) {
    let threads = one_per_vcpu(vcpus, "deep", |_| move || descend_until(end));
    join_all(threads);
}

#[inline(never)]
fn descend_until(end: Deadline) {
    while !end.has_passed() {
        black_box(deep_recurse(DEPTH));
    }
}

/// Calls itself until `left` is 1. What happens to the result keeps the call from becoming a jump.
#[inline(never)]
fn deep_recurse(left: u32) -> u64 {
    if left <= 1 {
        return (0..STEPS).fold(0, |sum, step| black_box(sum ^ step));
    }
    black_box(deep_recurse(black_box(left - 1))).wrapping_add(1)
}
