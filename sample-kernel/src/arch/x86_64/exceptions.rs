//! The end of a kernel that made a mistake the processor noticed.

use super::{Registers, TrapFrame};
use crate::crash::crash;
use crate::probes::CrashReason;

const NAMES: [&str; 22] = [
    "divide error",
    "debug",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid task state",
    "segment not present",
    "stack fault",
    "general protection fault",
    "page fault",
    "reserved exception",
    "floating-point error",
    "alignment check",
    "machine check",
    "SIMD floating-point error",
    "virtualization exception",
    "control protection",
];

/// Says what happened, for a person and for the observer, and leaves.
pub(super) fn report(frame: &TrapFrame) -> ! {
    let name = NAMES.get(frame.vector as usize).copied().unwrap_or("reserved exception");
    let registers = Registers::of(frame);
    crash(
        CrashReason::Exception,
        format_args!("exception {}: {name} at {:#x}, error {:#x}", frame.vector, frame.rip, frame.error),
        &registers,
    )
}
