//! Verdicts on a guest that makes no progress.

use uniprof_collector::cpu::CpuState;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::{ThreadEntry, ThreadState, VcpuStats, WaitKind};

use crate::disassembly;
use crate::locks::{self, Wait};
use crate::stacks::{self, Owner, Stack};

use super::crash::place;
use super::vcpu::is_halted;
use super::{Case, Confidence, Finding, Kind};

/// Live vCPUs look at the control page ten times a second at least; one that has not for this long, in milliseconds, does not.
const SILENT_MS: u64 = 500;

/// Threads that wait for each other.
pub(super) fn deadlock(case: &Case<'_>) -> Option<Finding> {
    let cycle = case.locks.cycles.first()?;
    let first = cycle.waits.first()?;
    let stack = case.stack_of_thread(first.thread);
    let reason = match cycle.waits.len() {
        1 => format!("a thread waits for itself: {cycle}"),
        several => format!("{several} threads wait for each other: {cycle}"),
    };
    Some(case.on(stack, Kind::Deadlock, reason, Confidence::Certain))
}

/// A vCPU that has shown no sign of life for too long, seen from the others or from the host.
pub(super) fn silent_vcpu(case: &Case<'_>) -> Option<Finding> {
    let silent = silent(case);
    // Any code that takes a lock waits in such a loop now and then. As long as another vCPU takes interrupts, heartbeats tell.
    let all_off = case.subject.cpus.iter().all(|cpu| cpu.interrupts_on() == Some(false));
    let spins = |cpu: &&CpuState| {
        // The watchdog meant those that lag behind; where none does, all of them fell silent together.
        let told = case.why() == "watchdog" && silent.is_empty();
        let known = told || silent.iter().any(|(vcpu, _)| *vcpu == cpu.vcpu);
        cpu.interrupts_on() == Some(false)
            && !is_halted(case.subject, cpu)
            && (known || (all_off && disassembly::is_in_waiting_loop(case.subject, GuestVirtual(cpu.rip))))
    };
    if let Some(cpu) = case.subject.cpus.iter().find(spins) {
        return Some(spin(case, cpu, &silent));
    }
    let (vcpu, milliseconds) = silent.into_iter().next()?;
    let cpu = case.subject.cpus.iter().find(|cpu| cpu.vcpu == vcpu)?;
    // Who halts until a time that is yet to come needs no tick.
    let due = |thread: &ThreadEntry| thread.wakes_at == 0 || thread.wakes_at <= latest(case);
    let sleeps = stacks::threads(case.subject).any(|thread| {
        thread.state == ThreadState::Sleeping && u32::from(thread.vcpu) == vcpu && due(&thread)
    });
    let halted = is_halted(case.subject, cpu);
    if cpu.interrupts_on() != Some(true) || (halted && !sleeps) {
        return None;
    }
    let doing = match (halted, sleeps) {
        (true, _) => "waits in a halt, though a thread is to be woken",
        (false, _) => "runs with interrupts on",
    };
    let reason = format!(
        "vCPU {vcpu} {doing}, and no tick has come for {}: the timer's interrupts have stopped",
        duration(milliseconds)
    );
    Some(case.on(case.stack_of_vcpu(vcpu), Kind::LostTimer, reason, Confidence::Likely))
}

fn spin(case: &Case<'_>, cpu: &CpuState, silent: &[(u32, u64)]) -> Finding {
    let vcpu = cpu.vcpu;
    let since = silent.iter().find(|(silent, _)| *silent == vcpu).map(|(_, milliseconds)| *milliseconds);
    let (evidence, confidence) = match since {
        Some(milliseconds) => {
            let evidence = format!("it has shown no sign of life for {}", duration(milliseconds));
            (evidence, Confidence::Certain)
        }
        None if case.why() == "watchdog" => {
            ("the host saw no sign of life of it any more".into(), Confidence::Certain)
        }
        None => ("it stands in a loop that waits".into(), Confidence::Guess),
    };
    let reason = format!("vCPU {vcpu} runs {} with interrupts off, and {evidence}", place(case, cpu.rip));
    case.on(case.stack_of_vcpu(vcpu), Kind::Spin, reason, confidence)
}

/// vCPUs that have been silent for too long, and for how many milliseconds, the longest first.
pub(super) fn silent(case: &Case<'_>) -> Vec<(u32, u64)> {
    let Ok(region) = &case.subject.region else { return Vec::new() };
    let tables = &region.tables;
    let hz = tables.header.tsc_hz;
    let online = |vcpu: &VcpuStats| vcpu.online != 0;
    let latest =
        tables.vcpus.iter().filter(|vcpu| online(vcpu)).map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
    let mut silent: Vec<(u32, u64)> = (0..)
        .zip(&tables.vcpus)
        .filter(|(_, vcpu)| online(vcpu))
        .filter_map(|(number, vcpu)| {
            let ticks = u128::from(latest.saturating_sub(vcpu.heartbeat)) * 1000;
            let milliseconds = u64::try_from(ticks.checked_div(hz.into())?).ok()?;
            (milliseconds >= SILENT_MS).then_some((number, milliseconds))
        })
        .collect();
    silent.sort_by_key(|(_, milliseconds)| std::cmp::Reverse(*milliseconds));
    silent
}

fn duration(milliseconds: u64) -> String {
    if milliseconds < 10_000 { format!("{milliseconds} ms") } else { format!("{} s", milliseconds / 1000) }
}

/// A thread that goes on waiting for what has come, or for what nothing is left to bring.
pub(super) fn lost_wakeup(case: &Case<'_>) -> Option<Finding> {
    let missed = case.locks.waits.iter().filter(|wait| wait.has_come == Some(true));
    let missed = missed.filter(|wait| locks::is_settled(case.subject, wait));
    if let Some(wait) = missed.min_by_key(|wait| wait.since) {
        let come = if wait.kind == WaitKind::Lock { "it is free" } else { "it has come" };
        let since = since(case, wait).map_or_else(String::new, |time| format!(", for {time}"));
        let reason = format!(
            "{wait}{since}, though {come}: nobody woke the thread, or it went to sleep too late to hear of it"
        );
        return Some(case.on(
            case.stack_of_thread(wait.thread),
            Kind::LostWakeup,
            reason,
            Confidence::Certain,
        ));
    }
    let threads: Vec<_> = stacks::threads(case.subject)
        .filter(|thread| !is_idle(case, thread.id) && thread.state != ThreadState::Exited)
        .collect();
    let blocked = |thread: &ThreadEntry| thread.state_now() == ThreadState::Blocked;
    if threads.is_empty() || !threads.iter().all(blocked) || !all_idle(case) {
        return None;
    }
    let events = case.locks.waits.iter().filter(|wait| wait.kind == WaitKind::Event);
    // Where the guest says that there still is a reason to wait, it is no more than quiet.
    let wait = events.filter(|wait| wait.has_come.is_none()).min_by_key(|wait| wait.since)?;
    let reason = format!(
        "{wait}, and nothing is left that could wake it: all {} threads wait, none sleeps until a time, and all vCPUs are idle",
        threads.len()
    );
    // A guest that waits for the outside looks alike.
    let confidence = if case.why() == "watchdog" { Confidence::Likely } else { Confidence::Guess };
    Some(case.on(case.stack_of_thread(wait.thread), Kind::LostWakeup, reason, confidence))
}

/// For how long a thread has waited, up to the guest's last sign of life.
fn since(case: &Case<'_>, wait: &Wait) -> Option<String> {
    let hz = case.subject.region.as_ref().ok()?.tables.header.tsc_hz;
    let ticks = latest(case).checked_sub(wait.since).filter(|_| wait.since != 0)?;
    Some(duration(u64::try_from((u128::from(ticks) * 1000).checked_div(hz.into())?).ok()?))
}

/// The guest's clock at its last sign of life.
fn latest(case: &Case<'_>) -> u64 {
    let tables = case.subject.region.as_ref().ok().map(|region| &region.tables);
    tables.into_iter().flat_map(|tables| &tables.vcpus).map(|vcpu| vcpu.heartbeat).max().unwrap_or(0)
}

/// A thread that has slept on past its time: the timer that should have woken it has not.
pub(super) fn overslept(case: &Case<'_>) -> Option<Finding> {
    let hz = case.subject.region.as_ref().ok()?.tables.header.tsc_hz;
    let late = |thread: &ThreadEntry| {
        let due = thread.wakes_at;
        let ticks = latest(case).checked_sub(due).filter(|_| due != 0 && !thread.is_woken())?;
        u64::try_from((u128::from(ticks) * 1000).checked_div(hz.into())?).ok()
    };
    let sleepers = stacks::threads(case.subject)
        .filter(|thread| matches!(thread.state, ThreadState::Sleeping | ThreadState::Blocked));
    let (thread, milliseconds) = sleepers
        .filter_map(|thread| Some((thread, late(&thread)?)))
        .filter(|(_, milliseconds)| *milliseconds >= SILENT_MS)
        .max_by_key(|(_, milliseconds)| *milliseconds)?;
    let reason = format!(
        "{} should have been woken {} before the guest's last sign of life: the timer did not come",
        stacks::title_of(&thread),
        duration(milliseconds)
    );
    Some(case.on(case.stack_of_thread(thread.id), Kind::LostTimer, reason, Confidence::Likely))
}

/// Whether all vCPUs wait for an interrupt.
pub(super) fn all_idle(case: &Case<'_>) -> bool {
    let told = case.subject.region.as_ref().ok().map(|region| &region.tables.vcpus);
    let mut cpus = case.subject.cpus.iter().peekable();
    if cpus.peek().is_some() {
        return cpus.all(|cpu| is_halted(case.subject, cpu));
    }
    told.is_some_and(|vcpus| vcpus.iter().filter(|vcpu| vcpu.online != 0).all(|vcpu| vcpu.idle_since != 0))
}

/// Whether a thread is a vCPU's idle thread: it waits for nothing and yet gives way to all others.
pub(super) fn is_idle(case: &Case<'_>, id: u32) -> bool {
    let stack: Option<&Stack> = case.stacks.iter().find(|stack| stack.owner == Owner::Thread(id));
    stack.is_some_and(|stack| {
        stack.name.starts_with("idle") || stack.frames.iter().any(|frame| frame.name().ends_with("::idle"))
    })
}
