//! Triple faults: the processor could handle neither a fault, nor that it could not. The guest records nothing, so the evidence is
//! what the hypervisor saw, and registers that stopped where they were.

use uniprof_collector::cpu::CpuState;
use uniprof_collector::memory::MemoryError;
use uniprof_collector::paging::{Unmapped, VirtualError};
use uniprof_wire::address::GuestVirtual;

use crate::disassembly;
use crate::subject::Subject;

use super::crash::place;
use super::fault::Fault;
use super::vcpu::is_halted;
use super::{Case, Confidence, Finding, Kind};

/// Bytes of an interrupt descriptor table up to the gate of page faults.
const GATES: u32 = 15 * 16;
/// Protected mode is on.
const CR0_PROTECTED: u64 = 1;

/// By what the hypervisor saw, or by registers that nothing else explains.
pub(super) fn of(case: &Case<'_>) -> Option<Finding> {
    let facts = case.subject.facts.as_ref();
    let told = facts.and_then(|facts| facts.ending.as_deref()).unwrap_or_default().to_lowercase();
    let said = case.why() == "triple-fault" || told.contains("triple fault");
    let was_reset = case.why() == "reset";
    let suspects = case.subject.cpus.iter().filter(|cpu| !is_reset(cpu) && !is_halted(case.subject, cpu));
    let (cpu, signs) = suspects
        .map(|cpu| (cpu, Signs::of(case.subject, cpu)))
        // The first of those that have as many.
        .rev()
        .max_by_key(|(_, signs)| signs.weight())
        .filter(|(_, signs)| said || signs.weight() > 0)
        .unzip();
    let confidence = match signs.as_ref().map_or(0, Signs::weight) {
        _ if said => Confidence::Certain,
        weight if weight >= Signs::ENOUGH => Confidence::Likely,
        weight if weight > 0 && was_reset => Confidence::Likely,
        _ => return None,
    };
    let (Some(cpu), Some(signs)) = (cpu, signs) else {
        let reason = "the processor gave up after a third exception in a row, and was reset: its registers are those of a reset";
        return Some(case.on(None, Kind::TripleFault, reason.into(), confidence));
    };
    let fault = signs.address.map(|address| Fault::page(case.subject, cpu.clone(), address, None, None));
    let mut evidence = vec![match &fault {
        Some(fault) => fault.sentence(case.subject),
        None => "an exception".into(),
    }];
    evidence[0].push_str(&format!(" at {}", place(case, cpu.rip)));
    evidence.extend(signs.table.clone());
    evidence.extend(signs.stack.clone());
    let told =
        if said { "the hypervisor saw the processor give up" } else { "nothing could handle an exception" };
    let reason = format!("{told}: {}", evidence.join("; "));
    let mut finding = case.on(case.stack_of_vcpu(cpu.vcpu), Kind::TripleFault, reason, confidence);
    finding.fault = fault;
    Some(finding)
}

/// What in a vCPU's registers speaks for a triple fault.
struct Signs {
    /// The address that its instruction can't access.
    address: Option<u64>,
    /// What is wrong with the table of handlers.
    table: Option<String>,
    /// What is wrong with the stack.
    stack: Option<String>,
}

impl Signs {
    /// An instruction that must fault, and no table to find a handler in.
    const ENOUGH: u32 = 4;

    fn of(subject: &Subject, cpu: &CpuState) -> Self {
        // Page tables that the dump lacks say nothing.
        let is_missing =
            |at| matches!(subject.memory.read(at, &mut [0; 8]), Err(MemoryError::Missing { .. }));
        let is_mapped = |at: u64| match subject.space.translate(GuestVirtual(at)) {
            Err(VirtualError::Unmapped { why: Unmapped::NoTable { at, .. }, .. }) => is_missing(at),
            Err(VirtualError::Unmapped { .. }) => false,
            _ => true,
        };
        let code = (!is_mapped(cpu.rip)).then_some(cpu.rip);
        let data = || {
            let reference = disassembly::reference(subject, GuestVirtual(cpu.rip), cpu)?;
            (!is_mapped(reference.address)).then_some(reference.address)
        };
        let table = cpu.idt.and_then(|(base, limit)| {
            if limit < GATES {
                return Some(format!(
                    "the interrupt descriptor table has {limit} bytes, too few for a handler"
                ));
            }
            let missing = !is_mapped(base) || !is_mapped(base.wrapping_add(u64::from(GATES)));
            missing.then(|| format!("the interrupt descriptor table at {base:#x} is not mapped"))
        });
        let pushed = cpu.rsp().map(|rsp| rsp.wrapping_sub(8));
        let stack = pushed
            .filter(|at| !is_mapped(*at))
            .map(|at| format!("the stack pointer is {:#x}, where nothing can be pushed", at.wrapping_add(8)));
        Self { address: code.or_else(data), table, stack }
    }

    fn weight(&self) -> u32 {
        let weigh = |there: bool, weight: u32| if there { weight } else { 0 };
        weigh(self.address.is_some(), 2) + weigh(self.table.is_some(), 2) + weigh(self.stack.is_some(), 1)
    }
}

/// Whether these are the registers that a processor has after a reset.
fn is_reset(cpu: &CpuState) -> bool {
    cpu.rip == 0xfff0 && cpu.cr0.is_none_or(|cr0| cr0 & CR0_PROTECTED == 0)
}
