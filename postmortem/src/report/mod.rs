//! The report: everything that a person on call needs of a dead guest, in one document.
//!
//! Its schema is `uniprof.core/1` (`docs/schema/core.json`); text is made of it elsewhere.

mod locals;
mod parts;

use serde::{Serialize, Serializer};
use uniprof_collector::paging::PAGE_BYTES;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::{Slot, ThreadEntry, ThreadState};

pub use locals::FunctionLocals;
pub use parts::{CycleReport, FaultReport, GroupReport, GuestSummary, LocksReport, ThreadReport, VcpuReport};

use crate::disassembly;
use crate::locks;
use crate::stacks;
use crate::subject::Subject;
use crate::verdict::{self, Finding, Verdict};

/// Name and version of the document.
pub const SCHEMA: &str = "uniprof.core/1";
/// Instructions that are shown before and after the one that failed.
const AROUND: (usize, usize) = (4, 3);

/// The document.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whose it is.
    pub guest: GuestSummary,
    /// What killed it, or what it is at.
    pub verdict: Verdict,
    /// What the kernel said when it died.
    pub message: Option<String>,
    /// The fault that the verdict rests on, where there was one.
    pub fault: Option<FaultReport>,
    /// All vCPUs.
    pub vcpus: Vec<VcpuReport>,
    /// All threads, those that have ended left out.
    pub threads: Vec<ThreadReport>,
    /// Stacks that are alike, each once.
    pub stacks: Vec<GroupReport>,
    /// Who waits for what.
    pub locks: LocksReport,
    /// Arguments and locals of the function to blame and of those that led there.
    pub locals: Vec<FunctionLocals>,
    /// The last events, each as `uniprof trace --json` has it. Whoever reads the rings fills this in.
    pub events: Vec<serde_json::Value>,
    /// The console's last lines.
    pub console: Vec<String>,
    /// What became of the records in the rings; filled in with the events.
    pub loss: Option<Loss>,
    /// What is missing, damaged or strange, in sentences.
    pub remarks: Vec<String>,
}

/// The account of the rings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Records that the guest wrote since its boot.
    pub emitted: u64,
    /// Those that were recovered.
    pub recovered: u64,
    /// Those that were not, by cause.
    pub lost_by: std::collections::BTreeMap<String, u64>,
}

/// A report, and what it was made from.
pub struct Examination {
    /// The document.
    pub report: Report,
    /// The verdict with its fault.
    pub finding: Finding,
    /// All stacks.
    pub stacks: Vec<stacks::Stack>,
}

/// Looks at everything, and says what it comes to.
pub fn examine(subject: &mut Subject) -> Report {
    examination(subject).report
}

/// As [`examine`], with what the report was made from.
pub fn examination(subject: &mut Subject) -> Examination {
    let stacks = stacks::of(subject);
    let locks = locks::of(subject, &stacks);
    let finding = verdict::of(subject, &stacks, &locks);
    let fault = finding.fault.as_ref().map(|fault| {
        let listing = disassembly::around(subject, GuestVirtual(fault.cpu.rip), Some(&fault.cpu), AROUND);
        FaultReport::new(fault, subject, listing)
    });
    let mut remarks = subject.remarks.clone();
    remarks.extend(strange(subject));
    let blamed = finding.stack.and_then(|index| stacks.get(index));
    let locals = blamed.map(|stack| locals::of(subject, stack, &finding.verdict, &mut remarks));
    let locals = locals.unwrap_or_default();
    // What a thread that has ended left on its stack tells nothing.
    let ended = |stack: &&stacks::Stack| stack.state == Some(ThreadState::Exited);
    let living: Vec<stacks::Stack> = stacks.iter().filter(|stack| !ended(stack)).cloned().collect();
    let report = Report {
        schema: SCHEMA,
        guest: GuestSummary::of(subject),
        verdict: finding.verdict.clone(),
        message: finding.message.clone(),
        fault,
        vcpus: stacks.iter().filter_map(|stack| VcpuReport::of(subject, stack)).collect(),
        threads: stacks.iter().filter_map(|stack| ThreadReport::of(subject, stack, &locks)).collect(),
        stacks: stacks::group(&living).iter().map(GroupReport::of).collect(),
        locks: LocksReport::of(&locks),
        locals,
        events: Vec::new(),
        console: subject.facts.as_ref().map(|facts| facts.console.clone()).unwrap_or_default(),
        loss: None,
        remarks,
    };
    Examination { report, finding, stacks }
}

/// What is missing, or does not fit together.
fn strange(subject: &mut Subject) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Err(why) = &subject.region {
        remarks.push(format!("{why}: threads, events and the crash record are not known"));
    }
    if let Ok(region) = &subject.region {
        let torn = region.tables.threads.iter().filter(|slot| matches!(slot, Slot::Torn(_)));
        match torn.count() {
            0 => {}
            1 => {
                remarks.push("the entry of one thread was being changed, or is damaged: it is marked".into())
            }
            count => remarks.push(format!(
                "the entries of {count} threads were being changed, or are damaged: they are marked"
            )),
        }
    }
    if subject.program.images().is_empty() {
        remarks
            .push("no image of the guest was found, so nothing has a name: give it with --kernel ELF".into());
    }
    if subject.cpus.is_empty() {
        remarks.push("nobody knows the registers of any vCPU".into());
    } else if subject.space.tables().is_none() {
        remarks.push("no vCPU had page tables: addresses are taken for physical ones".into());
    }
    if let Some(damage) = subject.program.unwinder().damage() {
        remarks.push(format!("the call-frame information of an image is damaged: {damage}"));
    }
    remarks.extend(overflowed(subject));
    remarks
}

/// Threads whose saved stack pointer lies outside their stack.
fn overflowed(subject: &Subject) -> Vec<String> {
    let outside = |thread: &ThreadEntry| {
        let (low, high) = thread.stack;
        let rsp = thread.saved[1];
        rsp != 0 && low < high && (rsp < low.0 || rsp > high.0) && low.0.abs_diff(rsp) < 16 * PAGE_BYTES
    };
    let threads = stacks::threads(subject).filter(outside).take(8);
    threads
        .map(|thread| {
            format!("the saved stack pointer of {} lies outside its stack", stacks::title_of(&thread))
        })
        .collect()
}

/// A number as `0x…`: JSON's numbers are no longer exact where addresses are.
pub(crate) fn hex<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:#x}"))
}

#[cfg(test)]
mod tests;
