//! What killed the guest, or what keeps it from going on: one verdict, with the evidence for it.
//!
//! Evidence, from the surest to the weakest: the guest's own crash record; how the hypervisor says that it ended; threads that wait for
//! each other; vCPUs that show no sign of life; registers that stand in a halt or in a handler; names of functions in the stacks. What
//! comes first decides, and the verdict says how sure it is.

mod blame;
mod crash;
mod fault;
mod hang;
mod still;
mod triple;
mod vcpu;

use serde::Serialize;

pub use blame::{doing, waiting_frame};
pub(crate) use blame::{is_allocator, is_plumbing};
pub use fault::{Access, Fault, Target};
pub use vcpu::state_of;

use crate::locks::Locks;
use crate::stacks::Stack;
use crate::subject::Subject;

/// What kind of end, or state, it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The kernel's own panic.
    Panic,
    /// An access to memory that is not there, or not allowed.
    PageFault,
    /// A thread's stack grew over its end.
    StackOverflow,
    /// An exception while the processor delivered another one.
    DoubleFault,
    /// A third one: the processor gave up and was reset.
    TripleFault,
    /// An access or instruction that is not allowed, or an address that is none.
    GeneralProtection,
    /// Bytes that are no instruction.
    InvalidOpcode,
    /// Any other exception that nothing handled.
    Exception,
    /// No memory was left.
    OutOfMemory,
    /// The allocator fell over its own data.
    HeapCorruption,
    /// The observation region was overwritten.
    RegionCorruption,
    /// Threads wait for locks that they hold among themselves.
    Deadlock,
    /// A vCPU runs with interrupts off and does not come back.
    Spin,
    /// The timer's interrupts stopped.
    LostTimer,
    /// A thread waits, and nothing is left that could wake it.
    LostWakeup,
    /// It makes no progress, and it is not clear why.
    Hang,
    /// It ended itself, with a status that says failure.
    Exit,
    /// It halted, as one does that is done.
    CleanHalt,
    /// Nothing is wrong with it, as far as one look can tell.
    Healthy,
    /// There is too little to tell.
    Unknown,
}

impl Kind {
    /// The words for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::PageFault => "page fault",
            Self::StackOverflow => "stack overflow",
            Self::DoubleFault => "double fault",
            Self::TripleFault => "triple fault",
            Self::GeneralProtection => "general protection fault",
            Self::InvalidOpcode => "invalid opcode",
            Self::Exception => "exception",
            Self::OutOfMemory => "out of memory",
            Self::HeapCorruption => "heap corruption",
            Self::RegionCorruption => "the observation region was overwritten",
            Self::Deadlock => "deadlock",
            Self::Spin => "spin with interrupts off",
            Self::LostTimer => "lost timer",
            Self::LostWakeup => "lost wake-up",
            Self::Hang => "hang",
            Self::Exit => "exit",
            Self::CleanHalt => "clean halt",
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
        }
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The guest or the hypervisor said so.
    Certain,
    /// All that is seen fits, and little else would.
    Likely,
    /// It fits, and other things would, too.
    Guess,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What it is.
    pub kind: Kind,
    /// The evidence, in a sentence.
    pub reason: String,
    /// The function to look at first.
    pub function: Option<String>,
    /// Its file and line.
    pub place: Option<String>,
    /// The thread's name.
    pub thread: Option<String>,
    /// The thread's number.
    pub thread_id: Option<u32>,
    /// The vCPU.
    pub vcpu: Option<u32>,
    /// How sure it is.
    pub confidence: Confidence,
}

/// A verdict, and the fault that it rests on.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// The fault, where there was one.
    pub fault: Option<Fault>,
    /// What the kernel said.
    pub message: Option<String>,
    /// The index of the stack to look at first.
    pub stack: Option<usize>,
}

/// What a verdict is made from.
pub(crate) struct Case<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) stacks: &'a [Stack],
    pub(crate) locks: &'a Locks,
}

/// The verdict on a guest, from its stacks ([`crate::stacks::of`]) and locks ([`crate::locks::of`]).
#[must_use]
pub fn of(subject: &Subject, stacks: &[Stack], locks: &Locks) -> Finding {
    let case = Case { subject, stacks, locks };
    let finding = crash::by_record(&case).or_else(|| triple::of(&case));
    let finding = finding.or_else(|| hang::deadlock(&case)).or_else(|| hang::silent_vcpu(&case));
    let finding = finding.or_else(|| crash::by_names(&case)).or_else(|| hang::overslept(&case));
    let finding = finding.or_else(|| hang::lost_wakeup(&case));
    finding.unwrap_or_else(|| still::of(&case))
}

impl Case<'_> {
    /// A finding about a stack: its thread, its vCPU, the function to blame.
    fn on(&self, stack: Option<usize>, kind: Kind, reason: String, confidence: Confidence) -> Finding {
        let found = stack.and_then(|index| self.stacks.get(index));
        let frame = found.and_then(|stack| blame::frame(stack, kind));
        let thread = found.and_then(|stack| stack.thread);
        let name = found.map(|stack| stack.name.clone()).filter(|name| !name.is_empty());
        let verdict = Verdict {
            kind,
            reason,
            function: frame.and_then(|frame| frame.function.as_deref()).map(str::to_owned),
            place: frame.and_then(|frame| frame.place()),
            thread: name.or_else(|| thread.map(|id| format!("thread {id}"))),
            thread_id: thread,
            vcpu: found.and_then(|stack| stack.vcpu),
            confidence,
        };
        Finding { verdict, fault: None, message: None, stack }
    }

    /// The index of a vCPU's stack.
    fn stack_of_vcpu(&self, vcpu: u32) -> Option<usize> {
        self.stacks.iter().position(|stack| stack.owner == crate::stacks::Owner::Vcpu(vcpu))
    }

    /// The index of a thread's stack.
    fn stack_of_thread(&self, id: u32) -> Option<usize> {
        self.stacks.iter().position(|stack| stack.owner == crate::stacks::Owner::Thread(id))
    }

    /// Why the dump was taken; empty where that is not known.
    fn why(&self) -> &str {
        self.subject.facts.as_ref().map_or("", |facts| facts.why.as_str())
    }
}

#[cfg(test)]
mod tests;
