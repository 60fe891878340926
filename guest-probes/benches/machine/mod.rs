//! What the probes run on in a benchmark: this process as a kernel with one vCPU, whose platform costs what a real one's does.
//!
//! Shared by the benchmarks of several packages (`#[path]`).

#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use uniprof_probes as probe;

static PINS: AtomicU32 = AtomicU32::new(0);
static STACK: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

struct Process;
// SAFETY: one thread probes; nothing here locks, faults or allocates.
unsafe impl probe::Platform for Process {
    #[inline(always)]
    fn now() -> u64 {
        ticks()
    }
    #[inline(always)]
    fn vcpu() -> u32 {
        0
    }
    // As a kernel does it: a counter of the CPU, without a bus lock.
    #[inline(always)]
    fn pin() {
        PINS.store(PINS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    #[inline(always)]
    fn unpin() {
        PINS.store(PINS.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
    #[inline(always)]
    fn stack() -> Range<usize> {
        STACK[0].load(Ordering::Relaxed)..STACK[1].load(Ordering::Relaxed)
    }
    #[inline(always)]
    fn thread() -> probe::ThreadId {
        1
    }
}
probe::platform!(Process);

/// The time stamp counter.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: rdtsc has no precondition.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The stack from now on, which must be readable for as long as anything probes.
#[inline(always)]
pub(crate) fn set_stack(stack: Range<usize>) {
    STACK[0].store(stack.start, Ordering::Relaxed);
    STACK[1].store(stack.end, Ordering::Relaxed);
}
