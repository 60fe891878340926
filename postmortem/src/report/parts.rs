//! The parts of the report.

use std::collections::BTreeMap;

use serde::Serialize;
use uniprof_collector::cpu::{CpuState, GENERAL, StateSource};
use uniprof_wire::tables::ThreadState;

use crate::disassembly::{Line, Listing, ListingError};
use crate::locks::{self, Locks, Wait};
use crate::stacks::{self, Owner, Stack, StackFrame, StackGroup, Start};
use crate::subject::Subject;
use crate::verdict::{Access, Fault};

/// Whose report it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GuestSummary {
    /// The guest's name.
    pub name: String,
    /// The file that it was started from.
    pub kernel: String,
    /// Its build-id.
    pub build_id: Option<String>,
    /// Why the dump was taken, in a word; empty where that is not known.
    pub why: String,
    /// How the guest ended.
    pub ending: Option<String>,
    /// What it ran on.
    pub hypervisor: String,
    /// When the dump was taken, nanoseconds since 1970.
    pub taken_ns: Option<u64>,
    /// For how long it had been up.
    pub up_seconds: Option<f64>,
}

impl GuestSummary {
    pub(super) fn of(subject: &Subject) -> Self {
        let mut summary = Self::default();
        if let Ok(region) = &subject.region {
            let tables = &region.tables;
            summary.name = String::from_utf8_lossy(tables.header.name.bytes()).into_owned();
            summary.build_id = tables.build_id();
            let signs = tables.vcpus.iter().map(|vcpu| vcpu.heartbeat);
            let crashes = tables.crashes.iter().filter_map(|slot| Some(slot.entry()?.tsc));
            let last = signs.chain(crashes).max().unwrap_or(0);
            let ticks = last.saturating_sub(tables.header.boot_tsc) as f64;
            summary.up_seconds = (tables.header.tsc_hz != 0).then(|| ticks / tables.header.tsc_hz as f64);
        }
        if let Some(facts) = &subject.facts {
            if !facts.guest.is_empty() {
                summary.name.clone_from(&facts.guest);
            }
            summary.kernel.clone_from(&facts.kernel);
            summary.build_id = facts.build_id.clone().or(summary.build_id);
            summary.why.clone_from(&facts.why);
            summary.ending.clone_from(&facts.ending);
            summary.hypervisor.clone_from(&facts.hypervisor);
            summary.taken_ns = Some(facts.taken_ns).filter(|taken| *taken != 0);
        }
        let first = subject.program.images().first();
        if let Some(kernel) = first.filter(|_| summary.kernel.is_empty()) {
            summary.kernel.clone_from(&kernel.name);
        }
        summary
    }
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultReport {
    /// The number of the exception.
    pub vector: Option<u8>,
    /// The address that could not be accessed.
    pub address: Option<String>,
    /// What happened, in words.
    pub what: String,
    /// What the code wanted there.
    pub access: Option<Access>,
    /// The instruction, as text.
    pub instruction: Option<String>,
    /// Its file and line.
    pub source: Option<String>,
    /// The instructions around it.
    pub listing: Vec<Line>,
    /// All registers by name.
    pub registers: BTreeMap<String, String>,
    /// What is missing, in sentences.
    pub remarks: Vec<String>,
}

impl FaultReport {
    pub(super) fn new(fault: &Fault, subject: &Subject, listing: Result<Listing, ListingError>) -> Self {
        let (listing, remarks) = match listing {
            Ok(listing) => (listing.lines, listing.remarks),
            Err(why) => (Vec::new(), vec![why.to_string()]),
        };
        let current = listing.iter().find(|line| line.current);
        Self {
            vector: fault.vector,
            address: fault.address.map(|address| format!("{address:#x}")),
            what: fault.sentence(subject),
            access: fault.access,
            instruction: current.map(|line| line.text.clone()),
            source: current.and_then(|line| line.source.clone()),
            registers: registers(&fault.cpu),
            listing,
            remarks,
        }
    }
}

/// The registers that are known, by name.
pub(super) fn registers(cpu: &CpuState) -> BTreeMap<String, String> {
    let general = GENERAL.iter().zip(cpu.general).map(|(name, value)| (*name, value));
    let others = [
        ("rip", Some(cpu.rip)),
        ("rflags", cpu.rflags),
        ("cs", cpu.cs.map(u64::from)),
        ("fs_base", cpu.fs_base),
        ("gs_base", cpu.gs_base),
        ("cr0", cpu.cr0),
        ("cr2", cpu.cr2),
        ("cr3", cpu.cr3.map(|cr3| cr3.0)),
        ("cr4", cpu.cr4),
        ("idt_base", cpu.idt.map(|(base, _)| base)),
        ("idt_limit", cpu.idt.map(|(_, limit)| limit.into())),
    ];
    let known = general.chain(others).filter_map(|(name, value)| Some((name, value?)));
    known.map(|(name, value)| (name.to_owned(), format!("{value:#x}"))).collect()
}

/// A vCPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VcpuReport {
    /// Its number.
    pub vcpu: u32,
    /// What it was doing, in words.
    pub state: String,
    /// The thread that it ran.
    pub thread: Option<u32>,
    /// The thread's name.
    pub thread_name: String,
    /// Who knew the registers.
    pub source: &'static str,
    /// The registers by name.
    pub registers: BTreeMap<String, String>,
    /// From which registers the stack was followed.
    pub start: Start,
    /// The stack, innermost first.
    pub frames: Vec<StackFrame>,
    /// Why it ends there.
    pub end: String,
}

impl VcpuReport {
    /// `None` of a thread's stack.
    pub(super) fn of(subject: &Subject, stack: &Stack) -> Option<Self> {
        let Owner::Vcpu(vcpu) = stack.owner else { return None };
        let cpu = subject.cpus.iter().find(|cpu| cpu.vcpu == vcpu)?;
        Some(Self {
            vcpu,
            state: crate::verdict::state_of(subject, cpu),
            thread: stack.thread,
            thread_name: stack.name.clone(),
            source: source(cpu.source),
            registers: registers(cpu),
            start: stack.start,
            frames: stack.frames.clone(),
            end: stack.end.clone(),
        })
    }
}

fn source(source: StateSource) -> &'static str {
    match source {
        StateSource::QemuNote => "QEMU's note",
        StateSource::PrStatus => "an NT_PRSTATUS note",
        StateSource::XenContext => "Xen's context",
        StateSource::Monitor => "the hypervisor",
        StateSource::CrashRecord => "the crash record",
        StateSource::ThreadTable => "the thread table",
        StateSource::Given => "given",
    }
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadReport {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it was doing: `ready`, `running`, `blocked`, `sleeping`.
    pub state: &'static str,
    /// The vCPU that it ran on, or on which it ran last.
    pub vcpu: Option<u32>,
    /// Whether its entry was being changed, or is damaged: then nothing of it is sure.
    pub torn: bool,
    /// CPU time up to its last switch, in seconds.
    pub cpu_seconds: Option<f64>,
    /// What it waits for.
    pub waits: Option<Wait>,
    /// From which registers the stack was followed.
    pub start: Start,
    /// The stack, innermost first.
    pub frames: Vec<StackFrame>,
    /// Why it ends there, or why there is none.
    pub end: String,
}

impl ThreadReport {
    /// `None` of a vCPU's stack, and of a thread that has ended.
    pub(super) fn of(subject: &Subject, stack: &Stack, locks: &Locks) -> Option<Self> {
        let Owner::Thread(id) = stack.owner else { return None };
        let state = stack.state.filter(|state| *state != ThreadState::Exited)?;
        let hz = subject.region.as_ref().ok().map(|region| region.tables.header.tsc_hz).filter(|hz| *hz != 0);
        let ticks = stacks::entry(subject, id).map(|thread| thread.cpu_time);
        Some(Self {
            id,
            name: stack.name.clone(),
            state: state_name(state),
            vcpu: stack.vcpu,
            torn: stack.torn,
            cpu_seconds: ticks.zip(hz).map(|(ticks, hz)| ticks as f64 / hz as f64),
            waits: locks.waits.iter().find(|wait| wait.thread == id).cloned(),
            start: stack.start,
            frames: stack.frames.clone(),
            end: stack.end.clone(),
        })
    }
}

/// A word for a thread's state.
const fn state_name(state: ThreadState) -> &'static str {
    match state {
        ThreadState::Ready => "ready",
        ThreadState::Running => "running",
        ThreadState::Blocked => "blocked",
        ThreadState::Sleeping => "sleeping",
        ThreadState::Exited => "exited",
    }
}

/// Stacks that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    /// How many there are.
    pub count: usize,
    /// Whose they are.
    pub owners: Vec<String>,
    /// Those of them that are threads, by number.
    pub threads: Vec<u32>,
    /// The frames, innermost first.
    pub frames: Vec<StackFrame>,
    /// Why they end there, or why there is no stack.
    pub end: String,
    /// Whether they were followed to their outermost frame.
    pub complete: bool,
}

impl GroupReport {
    pub(super) fn of(group: &StackGroup) -> Self {
        Self {
            count: group.owners.len(),
            owners: group.titles.clone(),
            threads: group.threads().collect(),
            frames: group.stack.frames.clone(),
            end: group.stack.end.clone(),
            complete: group.stack.complete,
        }
    }
}

/// Who waits for what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LocksReport {
    /// Threads that wait.
    pub waits: Vec<Wait>,
    /// Circles of them.
    pub cycles: Vec<CycleReport>,
}

/// Threads that wait for each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CycleReport {
    /// Their numbers: each waits for the next, the last for the first.
    pub threads: Vec<u32>,
    /// It in words.
    pub text: String,
}

impl LocksReport {
    pub(super) fn of(locks: &Locks) -> Self {
        let cycle = |cycle: &locks::Cycle| CycleReport {
            threads: cycle.waits.iter().map(|wait| wait.thread).collect(),
            text: cycle.to_string(),
        };
        Self { waits: locks.waits.clone(), cycles: locks.cycles.iter().map(cycle).collect() }
    }
}
