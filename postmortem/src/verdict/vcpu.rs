//! What a vCPU was doing, in words.

use uniprof_collector::cpu::CpuState;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::Slot;

use crate::subject::Subject;

/// Whether a vCPU waits in `hlt`: the source of its registers says so, or the instruction before is one.
pub(crate) fn is_halted(subject: &Subject, cpu: &CpuState) -> bool {
    const HLT: u8 = 0xf4;
    let byte = |at: u64| {
        let mut byte = [0];
        subject.space.read(GuestVirtual(at), &mut byte).is_ok_and(|()| byte == [HLT])
    };
    cpu.halted.unwrap_or_else(|| byte(cpu.rip.wrapping_sub(1)))
}

/// What a vCPU was doing, in words: `crashed`, `idle`, `halted`, `running`, with what is worth knowing about interrupts.
#[must_use]
pub fn state_of(subject: &Subject, cpu: &CpuState) -> String {
    let region = subject.region.as_ref().ok();
    let crash = region.and_then(|region| region.tables.crashes.get(cpu.vcpu as usize));
    if crash.is_some_and(|slot| *slot != Slot::Empty) {
        return "crashed".into();
    }
    match (is_halted(subject, cpu), cpu.interrupts_on()) {
        (true, Some(false)) => "halted with interrupts off",
        (true, _) => "idle",
        (false, Some(false)) => "running with interrupts off",
        (false, _) => "running",
    }
    .into()
}
