//! Verdicts on a guest that says, or shows, that it crashed.

use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::{CrashReason, CrashRecord, Slot};

use crate::describe::NULL_BYTES;
use crate::stacks::{self, Stack};
use crate::subject::of_crash_record;

use super::fault::{Fault, Target};
use super::{Case, Confidence, Finding, Kind, blame};

/// Stack pointers this close to the end of a stack have run out of it.
const BRINK: u64 = 512;
/// A double fault within this much of a page fault's address is its consequence.
const NEAR: u64 = 64 << 10;

/// By the guest's own crash record: of several, the first in time. What a torn one says of its time may be wrong, too.
pub(super) fn by_record(case: &Case<'_>) -> Option<Finding> {
    let region = case.subject.region.as_ref().ok()?;
    let slots = (0..).zip(&region.tables.crashes);
    let records = slots.filter_map(|(vcpu, slot)| match slot {
        Slot::Whole(record) => Some((false, vcpu, record)),
        // Claimed, and perhaps not filled in.
        Slot::Torn(record) if record.rip != 0 => Some((true, vcpu, record)),
        _ => None,
    });
    let (torn, vcpu, record) = records.min_by_key(|(torn, _, record)| (*torn, record.tsc))?;
    let mut finding = match record.reason {
        CrashReason::Exception => exception(case, vcpu, record),
        CrashReason::OutOfMemory => {
            let reason = format!("the kernel had no memory left: {}", message(record));
            case.on(stack_of(case, vcpu, record), Kind::OutOfMemory, reason, Confidence::Certain)
        }
        CrashReason::Panic => panic(case, vcpu, record),
    };
    finding.verdict.vcpu = Some(vcpu);
    finding.message = Some(message(record)).filter(|message| !message.is_empty());
    if torn {
        finding.verdict.reason.push_str("; the crash record was not finished, so it may be in part wrong");
        finding.verdict.confidence = Confidence::Likely;
    }
    Some(finding)
}

fn message(record: &CrashRecord) -> String {
    String::from_utf8_lossy(record.message.bytes()).trim().to_owned()
}

fn stack_of(case: &Case<'_>, vcpu: u32, record: &CrashRecord) -> Option<usize> {
    case.stack_of_vcpu(vcpu).or_else(|| case.stack_of_thread(record.thread))
}

fn panic(case: &Case<'_>, vcpu: u32, record: &CrashRecord) -> Finding {
    let message = message(record);
    let stack = stack_of(case, vcpu, record);
    let lower = message.to_lowercase();
    let (kind, why) = match () {
        () if lower.contains("memory allocation of") || lower.contains("out of memory") => {
            (Kind::OutOfMemory, "the kernel had no memory left")
        }
        () if lower.contains("ran over the end of its stack") || lower.contains("stack overflow") => {
            (Kind::StackOverflow, "the kernel noticed that a stack had run over its end")
        }
        () if says_corrupt(&lower) => (Kind::HeapCorruption, "the kernel found its heap damaged"),
        () if in_allocator(case, stack, Kind::Panic) => {
            (Kind::HeapCorruption, "the allocator panicked over its own data: the heap was damaged before")
        }
        () => (Kind::Panic, "the kernel panicked"),
    };
    let reason = if message.is_empty() { why.to_owned() } else { format!("{why}: {message}") };
    case.on(stack, kind, reason, Confidence::Certain)
}

fn says_corrupt(message: &str) -> bool {
    let heap = ["heap", "alloc", "free list", "chunk", "canary", "red zone"];
    let damage = ["corrupt", "damaged", "overwritten", "double free", "smashed", "overrun"];
    heap.iter().any(|word| message.contains(word)) && damage.iter().any(|word| message.contains(word))
}

/// Whether what failed is the allocator itself: its code is the innermost that is not the panic's.
fn in_allocator(case: &Case<'_>, stack: Option<usize>, kind: Kind) -> bool {
    let frame = stack.and_then(|index| blame::frame(case.stacks.get(index)?, kind));
    frame.is_some_and(|frame| blame::is_allocator(frame.name()))
}

fn exception(case: &Case<'_>, vcpu: u32, record: &CrashRecord) -> Finding {
    let subject = case.subject;
    let cpu = of_crash_record(vcpu, record);
    let thread = stacks::entry(subject, record.thread);
    let stack = stack_of(case, vcpu, record);
    let fault = match record.vector {
        14 => Fault::page(subject, cpu, record.cr2, Some(record.error_code), thread.as_ref()),
        // What the processor was about to deliver is not in the record; a page fault leaves its address.
        8 if record.cr2.abs_diff(record.registers[7]) < NEAR => {
            Fault { vector: Some(8), ..Fault::page(subject, cpu, record.cr2, None, thread.as_ref()) }
        }
        vector => Fault::other(subject, cpu, vector),
    };
    let at = place(case, record.rip);
    let (kind, reason) = match record.vector {
        14 => page_fault(case, &fault, stack, &at),
        8 => (Kind::DoubleFault, double_fault(case, record)),
        13 | 12 => protection(case, &fault, stack, &at, record.error_code),
        6 => (Kind::InvalidOpcode, format!("the bytes at {at} are no instruction that the processor knows")),
        vector => (Kind::Exception, format!("exception {vector} ({}) at {at}", name(vector))),
    };
    // That the allocator failed is certain; that its data were damaged is a conclusion.
    let sure = if kind == Kind::HeapCorruption { Confidence::Likely } else { Confidence::Certain };
    let mut finding = case.on(stack, kind, reason, sure);
    finding.fault = Some(fault);
    finding
}

fn page_fault(case: &Case<'_>, fault: &Fault, stack: Option<usize>, at: &str) -> (Kind, String) {
    let sentence = fault.sentence(case.subject);
    if matches!(fault.target, Some(Target::StackGuard { .. })) {
        return (Kind::StackOverflow, format!("{sentence}: the stack ran over its end at {at}"));
    }
    if in_allocator(case, stack, Kind::PageFault) {
        let reason = format!(
            "the allocator made {sentence}, at {at}: its own data were damaged before, by something else"
        );
        return (Kind::HeapCorruption, reason);
    }
    (Kind::PageFault, format!("{sentence}, by {at}"))
}

fn protection(
    case: &Case<'_>,
    fault: &Fault,
    stack: Option<usize>,
    at: &str,
    error_code: u64,
) -> (Kind, String) {
    let what = match fault.address {
        Some(_) => fault.sentence(case.subject),
        None => format!("error code {error_code:#x}"),
    };
    if fault.address.is_some() && in_allocator(case, stack, Kind::GeneralProtection) {
        let reason = format!(
            "the allocator made {what}, at {at}: its own data were damaged before, by something else"
        );
        return (Kind::HeapCorruption, reason);
    }
    (Kind::GeneralProtection, format!("the processor refused {at}: {what}"))
}

fn double_fault(case: &Case<'_>, record: &CrashRecord) -> String {
    let rsp = record.registers[7];
    let thread = stacks::entry(case.subject, record.thread);
    let low = thread.map(|thread| thread.stack.0.0).filter(|low| *low != 0);
    let mapped = case.subject.space.translate(GuestVirtual(rsp.wrapping_sub(8))).is_ok();
    let why = match low {
        Some(low) if rsp < low.saturating_add(BRINK) && rsp > low.saturating_sub(NEAR) => {
            format!(
                "the stack pointer {rsp:#x} was at the end of the thread's stack, which begins at {low:#x}: it ran over"
            )
        }
        _ if !mapped => format!("the stack pointer was {rsp:#x}, where nothing can be pushed"),
        _ if record.cr2 < NULL_BYTES => "an exception came while another one was being delivered".into(),
        _ => format!(
            "an exception came while another one was being delivered; the last page fault was at {:#x}",
            record.cr2
        ),
    };
    format!("{why}, at {}", place(case, record.rip))
}

/// A code address as people write it: the function where there is one.
pub(super) fn place(case: &Case<'_>, address: u64) -> String {
    match case.subject.program.symbol(GuestVirtual(address)) {
        Some(symbol) => format!("{symbol} ({address:#x})"),
        None => format!("the code at {address:#x}"),
    }
}

pub(super) fn name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point error",
        21 => "control protection",
        _ => "reserved",
    }
}

/// By names of functions, in guests that leave no record: a panic handler in a stack, or a trap handler.
pub(super) fn by_names(case: &Case<'_>) -> Option<Finding> {
    let dying = |stack: &Stack| stack.frames.iter().rposition(|frame| blame::is_panic(frame.name()));
    let (index, frame) = case
        .stacks
        .iter()
        .enumerate()
        .find_map(|(index, stack)| Some((index, stack.frames.get(dying(stack)?)?)))?;
    let reason = format!(
        "{} is in the stack of {}; the guest left no crash record, so that is all there is to go by",
        frame.name(),
        case.stacks[index].title()
    );
    Some(case.on(Some(index), Kind::Panic, reason, Confidence::Likely))
}
