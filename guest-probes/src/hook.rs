//! What the hooks have in common that kernels call at what they do themselves: records of classes, in the events ring.

use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Class, Record};
use uniprof_wire::tables::VcpuField;

use crate::region::writer;
use crate::vcpu::Vcpu;
use crate::{arch, control, platform};

/// Whether somebody wants records of a class now: one load and one branch. For what a kernel would otherwise do for nobody.
#[inline(always)]
#[must_use]
pub fn recording(class: Class) -> bool {
    control::classes() & class.bit() != 0
}

/// Whether anything of the heap is to be told, to [`allocated`](crate::allocated) and [`freed`](crate::freed): for allocators whose way
/// without hooks is another one than that with hooks.
#[inline(always)]
#[must_use]
pub fn watching_heap() -> bool {
    arch::has_bits!(control::CLASSES_ON, control::HEAP_WATCHED)
}

/// Writes a record into the events ring of the calling vCPU, which must stay the calling one meanwhile. Whether there was room.
pub(crate) fn write(vcpu: u32, record: &Record<'_>) -> bool {
    // A refusal is counted in the ring.
    writer(vcpu, RingKind::Events).is_some_and(|writer| writer.write_record(record).is_ok())
}

/// The same, and counts the time since `begin` as own cost.
pub(crate) fn write_counted(record: &Record<'_>, begin: u64) {
    let id = platform::vcpu();
    write(id, record);
    if let Some(vcpu) = Vcpu::of(id) {
        vcpu.add(VcpuField::ProbeTime, platform::now().saturating_sub(begin));
    }
}
