#![no_std]
#![no_main]
#![cfg_attr(feature = "no-probes", allow(unused, reason = "what only probes look at"))]
//! The reference unikernel of `uniprof`: small, but with what makes observing a real one hard: several vCPUs, preemption,
//! interrupts at any moment, a heap, crashes. It boots by PVH under QEMU on `q35` and `microvm`, runs one workload in one
//! address space at one privilege level, and ends the machine.
//!
//! It is not a general operating system. What it runs is chosen by its command line: see `command_line`.

extern crate alloc;

mod arch;
mod boot;
mod command_line;
mod console;
mod crash;
mod drain;
mod exit;
mod heap;
mod net;
mod percpu;
mod probes;
mod region;
mod sched;
mod sync;
mod text;
mod tick;
mod time;
mod virtio;
mod workload;

/// The unwinding tables of `core` name it; nothing unwinds here, a panic ends the machine.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// `alloc` is compiled to be able to unwind, and its landing pads end here. None is ever entered, for the same reason.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("something unwinds in a kernel that does not")
}
