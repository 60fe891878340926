//! `ratio`: a profile whose right answer is known. Three functions do the same unit of work, six, three and one times a
//! round: 60, 30 and 10 per cent of the time, by construction, or as `shares=` says. Scripts look for the three by name, so
//! their symbols are plain.

use core::hint::black_box;

use super::{join_all, one_per_vcpu};
use crate::console::print_line;
use crate::time::Deadline;

/// Steps in a unit: some ten microseconds, short against any sampling period, so that no period can fall in step.
const STEPS: u32 = 4_000;

pub(super) fn run(vcpus: u32, shares: [u32; 3], end: Deadline) {
    let threads = one_per_vcpu(vcpus, "ratio", |vcpu| move || work(vcpu, shares, end));
    join_all(threads);
}

#[inline(never)]
fn work(vcpu: u32, shares: [u32; 3], end: Deadline) {
    let mut state = u64::from(vcpu) + 1;
    let mut rounds = 0_u64;
    while !end.has_passed() {
        state = round(state, shares);
        rounds += 1;
    }
    print_line!("ratio: vcpu={vcpu} rounds={rounds} state={state:#x}");
}

#[inline(never)]
fn round(mut state: u64, [sixty, thirty, ten]: [u32; 3]) -> u64 {
    for _ in 0..sixty {
        state = black_box(ratio_sixty(state));
    }
    for _ in 0..thirty {
        state = black_box(ratio_thirty(state));
    }
    for _ in 0..ten {
        state = black_box(ratio_ten(state));
    }
    state
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.ratio")]
#[inline(never)]
fn ratio_sixty(state: u64) -> u64 {
    unit(state, 0x9e37_79b9_7f4a_7c15)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.ratio")]
#[inline(never)]
fn ratio_thirty(state: u64) -> u64 {
    unit(state, 0xbf58_476d_1ce4_e5b9)
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.ratio")]
#[inline(never)]
fn ratio_ten(state: u64) -> u64 {
    unit(state, 0x94d0_49bb_1331_11eb)
}

/// The unit of work, inlined into each of the three: a profile shows it as an inlined frame. The constants differ so that
/// the compiler cannot merge the three into one function, and are of one length so that the code is of one length too.
#[inline(always)]
fn unit(mut state: u64, constant: u64) -> u64 {
    for _ in 0..STEPS {
        state = mix(state, constant);
    }
    state
}

/// One step, each needing the one before, so that nothing is done ahead or left out.
#[inline(always)]
fn mix(state: u64, constant: u64) -> u64 {
    let state = (state ^ (state >> 29)).wrapping_mul(constant);
    black_box(state ^ (state >> 32))
}
