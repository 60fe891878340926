//! Verdicts on a guest that shows no sign of a crash.

use uniprof_wire::tables::ThreadState;

use crate::stacks;

use super::hang::{all_idle, silent};
use super::vcpu::is_halted;
use super::{Case, Confidence, Finding, Kind};

/// What is left to say.
pub(super) fn of(case: &Case<'_>) -> Finding {
    let subject = case.subject;
    let ending = subject.facts.as_ref().and_then(|facts| facts.ending.clone());
    match (case.why(), ending) {
        ("watchdog", _) => {
            let reason =
                "the host saw no sign of life any more; registers and threads do not show why".into();
            return case.on(busiest(case), Kind::Hang, reason, Confidence::Likely);
        }
        ("panic", _) => {
            let record = match case.subject.region {
                Ok(_) => "left no record of it",
                Err(_) => "a record of it, if it left one, can't be found",
            };
            let reason = format!("the guest told its hypervisor that it panicked, and {record}");
            return case.on(busiest(case), Kind::Panic, reason, Confidence::Certain);
        }
        ("exit", Some(ending)) => {
            let reason = format!("the guest ended itself: {ending}");
            return case.on(busiest(case), Kind::Exit, reason, Confidence::Certain);
        }
        ("reset", ending) => {
            let told = ending.map_or_else(String::new, |ending| format!(": {ending}"));
            let reason = format!("the processor was reset, by a triple fault or by the guest itself{told}");
            return case.on(busiest(case), Kind::TripleFault, reason, Confidence::Guess);
        }
        _ => {}
    }
    if subject.cpus.is_empty() {
        let reason = match &subject.region {
            Ok(_) if subject.was_moving() => {
                "nothing that the guest keeps of itself tells of a crash, and no threads have waited for each other for a second; \
                 registers, which would tell more, are not known"
                    .to_owned()
            }
            Ok(_) => "there are no registers, and the region tells of no crash".to_owned(),
            Err(why) => format!("there are no registers, and {why}"),
        };
        return case.on(None, Kind::Unknown, reason, Confidence::Guess);
    }
    let halted = |off: bool| {
        subject.cpus.iter().all(|cpu| is_halted(subject, cpu) && (cpu.interrupts_on() == Some(false)) == off)
    };
    if halted(true) {
        let reason =
            "all vCPUs are halted with interrupts off, and nothing tells of a crash: it is done".into();
        return case.on(None, Kind::CleanHalt, reason, Confidence::Likely);
    }
    let silent = silent(case);
    let sure =
        if subject.region.is_ok() && silent.is_empty() { Confidence::Likely } else { Confidence::Guess };
    let reason = if all_idle(case) {
        "all vCPUs wait for an interrupt, and nothing tells of a crash".to_owned()
    } else {
        let running = stacks::threads(subject).filter(|thread| thread.state == ThreadState::Running).count();
        let threads = match running {
            0 => String::new(),
            1 => ", a thread runs".to_owned(),
            several => format!(", {several} threads run"),
        };
        format!("nothing tells of a crash{threads}, and no threads wait for each other")
    };
    case.on(busiest(case), Kind::Healthy, reason, sure)
}

/// The stack of a vCPU that is not idle.
fn busiest(case: &Case<'_>) -> Option<usize> {
    let busy = case.subject.cpus.iter().find(|cpu| !is_halted(case.subject, cpu))?;
    case.stack_of_vcpu(busy.vcpu)
}
