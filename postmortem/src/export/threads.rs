//! The threads of a core.

use serde::Serialize;
use uniprof_collector::cpu::{CpuState, RBP, RSP, StateSource};
use uniprof_wire::tables::CrashReason;

use super::elf;
use crate::stacks::{self, Owner, Stack, Start};
use crate::subject::{Subject, of_crash_record};

/// Numbers from here on are of vCPUs that ran no thread.
const VCPU_IDS: u32 = 1_000_000;

/// A thread of the core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportedThread {
    /// The number that a debugger calls it by.
    pub id: u32,
    /// Whose registers these are.
    pub owner: Owner,
    /// The guest's name for it.
    pub name: String,
    /// Which registers they are.
    pub start: Start,
}

/// What becomes a note.
pub(super) struct Thread {
    pub(super) told: ExportedThread,
    signal: u16,
    state: CpuState,
}

/// The number of a vCPU that ran no thread; where the guest has no threads at all, QEMU's own: from 1.
#[must_use]
pub fn vcpu_id(vcpu: u32, has_threads: bool) -> u32 {
    if has_threads { VCPU_IDS.saturating_add(vcpu) } else { vcpu.saturating_add(1) }
}

/// The threads, that which crashed first, then those that ran; and who is missing, in sentences.
pub(super) fn of(subject: &mut Subject) -> (Vec<Thread>, Vec<String>) {
    let stacks = stacks::of(subject);
    let mut lacks = Vec::new();
    let is_thread = |stack: &Stack| matches!(stack.owner, Owner::Thread(_)) && stack.start != Start::Unknown;
    let has_threads = stacks.iter().any(is_thread);
    let mut threads: Vec<Thread> = Vec::new();
    for stack in &stacks {
        let (id, shown_elsewhere) = match stack.owner {
            Owner::Vcpu(vcpu) => {
                let same = |other: &Stack| {
                    is_thread(other) && other.vcpu == Some(vcpu) && other.start == stack.start
                };
                (vcpu_id(vcpu, has_threads), stacks.iter().any(same))
            }
            // 0 is no thread to a debugger.
            Owner::Thread(id) => (id, id == 0),
        };
        if shown_elsewhere || threads.iter().any(|thread| thread.told.id == id) {
            continue;
        }
        let Some(state) = state(subject, stack) else {
            lacks.push(format!("{} is left out: {}", stack.title(), stack.end));
            continue;
        };
        let told = ExportedThread { id, owner: stack.owner, name: stack.name.clone(), start: stack.start };
        threads.push(Thread { told, signal: signal(subject, stack), state });
    }
    let rank = |start| match start {
        Start::Crash => 0,
        Start::Now => 1,
        Start::Saved | Start::Unknown => 2,
    };
    threads.sort_by_key(|thread| (thread.signal == 0, rank(thread.told.start)));
    (threads, lacks)
}

/// The registers that the stack begins at.
fn state(subject: &Subject, stack: &Stack) -> Option<CpuState> {
    let vcpu = stack.vcpu?;
    match stack.start {
        Start::Now => subject.cpus.iter().find(|cpu| cpu.vcpu == vcpu).cloned(),
        Start::Crash => {
            let record = subject.region.as_ref().ok()?.tables.crashes.get(vcpu as usize)?.entry();
            let given = || subject.cpus.iter().find(|cpu| cpu.vcpu == vcpu).cloned();
            record.map(|record| of_crash_record(vcpu, &record)).or_else(given)
        }
        Start::Saved => {
            let [rip, rsp, rbp] = stacks::entry(subject, stack.thread?)?.saved;
            let mut state = CpuState::new(vcpu, rip, StateSource::ThreadTable);
            (state.general[RSP], state.general[RBP]) = (Some(rsp), Some(rbp));
            Some(state)
        }
        Start::Unknown => None,
    }
}

/// The signal that Linux would have ended a process with; 0 where nothing crashed.
fn signal(subject: &Subject, stack: &Stack) -> u16 {
    const ABORT: u16 = 6;
    let Some(vcpu) = stack.vcpu.filter(|_| stack.start != Start::Saved) else { return 0 };
    let tables = subject.region.as_ref().ok().map(|region| &region.tables);
    let record = tables.and_then(|tables| tables.crashes.get(vcpu as usize)?.entry());
    match record.map(|record| (record.reason, record.vector)) {
        None => 0,
        Some((CrashReason::Panic | CrashReason::OutOfMemory, _)) => ABORT,
        Some((CrashReason::Exception, vector)) => match vector {
            0 | 16 | 19 => 8,
            1 | 3 => 5,
            6 => 4,
            17 => 7,
            _ => 11,
        },
    }
}

/// One note per thread.
pub(super) fn notes(threads: &[Thread]) -> Vec<u8> {
    threads.iter().flat_map(|thread| elf::prstatus(thread.told.id, thread.signal, &thread.state)).collect()
}
