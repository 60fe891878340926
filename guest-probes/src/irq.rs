//! Interrupts: how many, and what they take of each vCPU's time.

use uniprof_wire::record::{Class, InterruptRecord, Record};
use uniprof_wire::tables::VcpuField;

use crate::hook::{self, recording};
use crate::platform;
use crate::vcpu::Vcpu;

/// Runs an interrupt's handler, and tells of it. `vector` is its number, as the processor counts. An interrupt that nests in another one
/// is part of both their times.
#[inline(always)]
pub fn interrupt<R>(vector: u32, handler: impl FnOnce() -> R) -> R {
    let begin = interrupt_enter();
    let result = handler();
    interrupt_exit(vector, begin);
    result
}

/// For handlers that are no closure: the time, to be given to [`interrupt_exit`].
#[inline(always)]
#[must_use]
pub fn interrupt_enter() -> u64 {
    platform::now()
}

/// Tells that the handler of an interrupt is through that began at `begin`, on the interrupted vCPU, before it switches threads.
pub fn interrupt_exit(vector: u32, begin: u64) {
    let id = platform::vcpu();
    let Some(vcpu) = Vcpu::of(id) else { return };
    let tsc = platform::now();
    vcpu.add(VcpuField::IrqTime, tsc.saturating_sub(begin));
    vcpu.add(VcpuField::Interrupts, 1);
    if recording(Class::Irq) {
        let record = InterruptRecord { tsc, thread: platform::thread(), vector, begin };
        hook::write_counted(&Record::Interrupt(record), tsc);
    }
}
