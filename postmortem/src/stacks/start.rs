//! Where a stack begins.

use serde::Serialize;
use uniprof_collector::cpu::{CpuState, StateSource};
use uniprof_symbolizer::{RegisterFile, Registers};
use uniprof_wire::tables::ThreadEntry;

use crate::subject::{Subject, of_crash_record};

/// Places in [`RegisterFile`], by DWARF's numbering.
const RBP: usize = 6;
const RSP: usize = 7;
const RIP: usize = 16;

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
    pub(super) registers: RegisterFile,
}

impl Beginning {
    /// What the vCPU's registers say.
    pub(super) fn of_vcpu(subject: &Subject, vcpu: u32) -> Option<Self> {
        let cpu = subject.cpus.iter().find(|cpu| cpu.vcpu == vcpu)?;
        let start = if cpu.source == StateSource::CrashRecord { Start::Crash } else { Start::Now };
        Some(Self { start, registers: registers(cpu) })
    }

    /// What the vCPU's crash record says.
    pub(super) fn of_crash(subject: &Subject, vcpu: u32) -> Option<Self> {
        let tables = &subject.region.as_ref().ok()?.tables;
        let record = tables.crashes.get(vcpu as usize)?.entry()?;
        Some(Self { start: Start::Crash, registers: registers(&of_crash_record(vcpu, &record)) })
    }

    /// What the thread table says.
    pub(super) fn of_thread(thread: &ThreadEntry) -> Option<Self> {
        let [rip, rsp, rbp] = thread.saved;
        let mut registers = RegisterFile::from(&Registers { rip, rsp, rbp, ..Registers::default() });
        // The table has no others: nobody knows them.
        for (index, register) in registers.0.iter_mut().enumerate() {
            if ![RBP, RSP, RIP].contains(&index) {
                *register = None;
            }
        }
        (rip != 0 && rsp != 0).then_some(Self { start: Start::Saved, registers })
    }
}

/// The registers in the order of DWARF: psABI, figure 3.36.
pub(crate) fn registers(cpu: &CpuState) -> RegisterFile {
    /// Where in [`CpuState::general`] the first eight of DWARF's registers are.
    const ORDER: [usize; 8] = [0, 2, 3, 1, 4, 5, 6, 7];
    let mut registers = RegisterFile::default();
    for (index, register) in registers.0.iter_mut().take(cpu.general.len()).enumerate() {
        *register = cpu.general[ORDER.get(index).copied().unwrap_or(index)];
    }
    registers.0[RIP] = Some(cpu.rip);
    registers
}
