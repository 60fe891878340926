//! The port of a kernel in Rust, as `docs/porting.md` shows it. The module `machine` stands for the kernel, so that this compiles.

#![allow(dead_code, reason = "a kernel's interrupts and allocator call what nothing calls here")]

use core::ops::Range;
use uniprof_probes as probe;

probe::region!(bytes = 4 << 20);

struct Kernel;
// SAFETY: each reads a register or this vCPU's own words: no lock, no fault, no allocation, no probe.
#[rustfmt::skip]
unsafe impl probe::Platform for Kernel {
    fn now() -> u64 { machine::rdtsc() }
    fn vcpu() -> u32 { machine::vcpu() }
    fn pin() { machine::preemption_off(); }
    fn unpin() { machine::preemption_on(); }
    fn stack() -> Range<usize> { machine::stack_of_thread() }
    fn thread() -> probe::ThreadId { machine::thread() }
}
probe::platform!(Kernel);

fn boot() {
    let config = probe::Config {
        name: "my-kernel",
        tsc_hz: machine::tsc_hz(),
        vcpus: machine::vcpus(),
        ..probe::Config::new(region_memory())
    };
    // SAFETY: nothing else uses the region.
    machine::print(format_args!("probes {}", unsafe { probe::init(config) }));
    machine::set_timer(probe::next_tick());
}

fn timer(interrupted: &machine::Frame) {
    // SAFETY: this is the handler that interrupted the vCPU.
    unsafe { probe::tick(interrupted.rip, interrupted.rsp, interrupted.rbp) };
    machine::set_timer(probe::next_tick());
}

fn get(key: u64) {
    let _span = probe::span!("kv.get", key = key);
}

fn main() {
    boot();
    get(7);
}

/// What a kernel has anyway.
mod machine {
    use core::ops::Range;

    pub(super) struct Frame {
        pub(super) rip: u64,
        pub(super) rsp: u64,
        pub(super) rbp: u64,
    }

    pub(super) fn rdtsc() -> u64 {
        1
    }
    pub(super) fn tsc_hz() -> u64 {
        1_000_000_000
    }
    pub(super) fn vcpu() -> u32 {
        0
    }
    pub(super) fn vcpus() -> u32 {
        1
    }
    pub(super) fn preemption_off() {}
    pub(super) fn preemption_on() {}
    pub(super) fn stack_of_thread() -> Range<usize> {
        0..0
    }
    pub(super) fn thread() -> u32 {
        1
    }
    pub(super) fn set_timer(_ticks: u64) {}
    pub(super) fn print(text: core::fmt::Arguments<'_>) {
        println!("{text}");
    }
}
