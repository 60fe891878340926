//! Where a stack begins.

use serde::Serialize;
use uniprof_collector::cpu::{CpuState, StateSource};
use uniprof_symbolizer::Registers;
use uniprof_wire::tables::ThreadEntry;

use crate::subject::{Subject, of_crash_record};

/// Which registers a stack was followed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The vCPU's registers, as they were when the guest was looked at.
    Now,
    /// The crash record.
    Crash,
    /// The thread table: where the thread left the CPU.
    Saved,
    /// None: there is no stack.
    Unknown,
}

/// The registers that a stack begins at.
pub(super) struct Beginning {
    pub(super) start: Start,
    pub(super) registers: Registers,
}

impl Beginning {
    /// What the vCPU's registers say.
    pub(super) fn of_vcpu(subject: &Subject, vcpu: u32) -> Option<Self> {
        let cpu = subject.cpus.iter().find(|cpu| cpu.vcpu == vcpu)?;
        let start = if cpu.source == StateSource::CrashRecord { Start::Crash } else { Start::Now };
        Some(Self { start, registers: registers(cpu)? })
    }

    /// What the vCPU's crash record says.
    pub(super) fn of_crash(subject: &Subject, vcpu: u32) -> Option<Self> {
        let tables = &subject.region.as_ref().ok()?.tables;
        let record = tables.crashes.get(vcpu as usize)?.entry()?;
        Some(Self { start: Start::Crash, registers: registers(&of_crash_record(vcpu, &record))? })
    }

    /// What the thread table says.
    pub(super) fn of_thread(thread: &ThreadEntry) -> Option<Self> {
        let [rip, rsp, rbp] = thread.saved;
        let registers = Registers { rip, rsp, rbp, ..Registers::default() };
        (rip != 0 && rsp != 0).then_some(Self { start: Start::Saved, registers })
    }
}

/// Registers that are not known count as 0.
fn registers(cpu: &CpuState) -> Option<Registers> {
    let known = |index: usize| cpu.general[index].unwrap_or(0);
    Some(Registers {
        rip: cpu.rip,
        rsp: cpu.rsp()?,
        rbp: cpu.rbp().unwrap_or(0),
        rbx: known(1),
        r12: known(12),
        r13: known(13),
        r14: known(14),
        r15: known(15),
    })
}
