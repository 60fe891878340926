//! What a fault was about: the address, and what is there.

use std::fmt;

use serde::Serialize;
use uniprof_collector::cpu::CpuState;
use uniprof_collector::paging::{PAGE_BYTES, Translation};
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::ThreadEntry;

use crate::describe::{NULL_BYTES, is_canonical};
use crate::disassembly;
use crate::stacks;
use crate::subject::Subject;

use super::crash::name;

/// Frames of this many bytes may step over a guard page.
const STEP: u64 = 64 << 10;

/// What lies at the address of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Target {
    /// A null pointer, and an offset to it.
    Null {
        /// The offset.
        offset: u64,
    },
    /// The page below a thread's stack.
    StackGuard {
        /// The stack's thread.
        thread: u32,
        /// How far below its end, in bytes.
        below: u64,
    },
    /// A page that is not mapped, while the next one is.
    GuardPage,
    /// A page that is mapped, but not for such an access.
    Forbidden {
        /// Whether it can be written to.
        writable: bool,
        /// Whether it can be executed.
        executable: bool,
    },
    /// It is no address that page tables can map.
    NotCanonical,
    /// Nothing is mapped there.
    Wild,
    /// It is mapped, and nothing forbids the access: the page tables are others than then, or another processor changed them.
    Mapped,
}

/// What the code wanted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To run it.
    Execute,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execution",
        })
    }
}

/// A fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The number of the exception; `None` where it is not known that there was one.
    pub vector: Option<u8>,
    /// The address that could not be accessed.
    pub address: Option<u64>,
    /// What lies there.
    pub target: Option<Target>,
    /// What the code wanted there.
    pub access: Option<Access>,
    /// The registers at the fault.
    pub cpu: CpuState,
}

impl Fault {
    /// A page fault, by its address, error code and registers. `thread` is the one that ran.
    pub(super) fn page(
        subject: &Subject,
        cpu: CpuState,
        address: u64,
        error_code: Option<u64>,
        thread: Option<&ThreadEntry>,
    ) -> Self {
        let access = match error_code {
            Some(code) if code & 1 << 4 != 0 => Some(Access::Execute),
            Some(code) if code & 1 << 1 != 0 => Some(Access::Write),
            Some(_) if address == cpu.rip => Some(Access::Execute),
            Some(_) => Some(Access::Read),
            None => None,
        };
        let target = target(subject, &cpu, address, thread);
        Self { vector: Some(14), address: Some(address), target: Some(target), access, cpu }
    }

    /// Any other exception. A general protection fault of an address that is none says which.
    pub(super) fn other(subject: &Subject, cpu: CpuState, vector: u8) -> Self {
        let reference = (vector == 13 || vector == 12).then(|| {
            let reference = disassembly::reference(subject, GuestVirtual(cpu.rip), &cpu)?;
            (!is_canonical(reference.address, levels(subject))).then_some(reference.address)
        });
        let address = reference.flatten();
        let target = address.map(|_| Target::NotCanonical);
        Self { vector: Some(vector), address, target, access: None, cpu }
    }

    /// What happened, in words: "a write to 0x18, null + 0x18".
    #[must_use]
    pub fn sentence(&self, subject: &Subject) -> String {
        let access = self.access.map_or_else(
            || "an access".into(),
            |access| match access {
                Access::Execute => "an execution".to_owned(),
                access => format!("a {access}"),
            },
        );
        let preposition = if self.access == Some(Access::Write) { "to" } else { "of" };
        let Some(address) = self.address else {
            return self
                .vector
                .map_or_else(|| "a fault".into(), |vector| format!("exception {vector} ({})", name(vector)));
        };
        let what = match &self.target {
            Some(Target::Null { offset: 0 }) => "a null pointer".into(),
            Some(Target::Null { offset }) => format!("a null pointer + {offset:#x}"),
            Some(Target::StackGuard { thread, below }) => {
                format!(
                    "{below} bytes below the end of the stack of {}, in its guard page",
                    title(subject, *thread)
                )
            }
            Some(Target::GuardPage) => "in a guard page: it is not mapped, but the page above it is".into(),
            Some(Target::Forbidden { writable, executable }) => {
                let can = match (writable, executable) {
                    (false, false) => "only be read",
                    (false, true) => "be read and executed, not written",
                    (true, false) => "be read and written, not executed",
                    (true, true) => "not be accessed like that",
                };
                let place = subject.describe(GuestVirtual(address));
                let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
                format!("which is mapped{place} but can {can}")
            }
            Some(Target::NotCanonical) => "which is no canonical address: a wild pointer".into(),
            Some(Target::Mapped) => "which is mapped in the page tables as they are now".into(),
            Some(Target::Wild) | None => "where nothing is mapped: a wild pointer".into(),
        };
        let text = match &self.target {
            Some(Target::NotCanonical | Target::Wild) => self.text(subject),
            _ => None,
        };
        let text =
            text.map_or_else(String::new, |text| format!("; the pointer's bytes are the text {text:?}"));
        format!("{access} {preposition} {address:#x}, {what}{text}")
    }

    /// The text that the pointer is, as a string that was written over it leaves.
    fn text(&self, subject: &Subject) -> Option<String> {
        let (_, value) = disassembly::reference(subject, GuestVirtual(self.cpu.rip), &self.cpu)?.base?;
        let bytes = value.to_le_bytes();
        let is_text = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        // One byte eight times is rather a pattern that fills memory.
        let varied = bytes.iter().any(|byte| *byte != bytes[0]);
        (is_text && varied).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn levels(subject: &Subject) -> u8 {
    subject.space.tables().map_or(4, |tables| tables.levels)
}

fn title(subject: &Subject, id: u32) -> String {
    stacks::entry(subject, id)
        .map_or_else(|| stacks::thread_title(id, ""), |thread| stacks::title_of(&thread))
}

fn target(subject: &Subject, cpu: &CpuState, address: u64, thread: Option<&ThreadEntry>) -> Target {
    if !is_canonical(address, levels(subject)) {
        return Target::NotCanonical;
    }
    let translation = subject.space.tables().map(|_| subject.space.translate(GuestVirtual(address)));
    if let Some(Ok(Translation { writable, executable, .. })) = translation {
        let forbids = !writable || !executable;
        return if forbids { Target::Forbidden { writable, executable } } else { Target::Mapped };
    }
    if address < NULL_BYTES {
        return Target::Null { offset: address };
    }
    if let Some(guard) = guard(subject, cpu, address, thread) {
        return guard;
    }
    let above = (address - address % PAGE_BYTES).wrapping_add(PAGE_BYTES);
    let next = translation.map(|_| subject.space.translate(GuestVirtual(above)));
    let stack = cpu.rsp().is_some_and(|rsp| rsp.abs_diff(address) <= STEP);
    match next {
        Some(Ok(_)) if stack || below_any_stack(subject, address).is_some() => Target::GuardPage,
        _ => Target::Wild,
    }
}

/// Whether the address lies below the stack that the code ran on, near where its stack pointer was.
fn guard(subject: &Subject, cpu: &CpuState, address: u64, thread: Option<&ThreadEntry>) -> Option<Target> {
    let own = thread.copied().or_else(|| {
        let rsp = cpu.rsp()?;
        let holds =
            |thread: &ThreadEntry| (thread.stack.0.0.saturating_sub(STEP)..=thread.stack.1.0).contains(&rsp);
        stacks::threads(subject).find(holds)
    })?;
    let low = own.stack.0.0;
    let near =
        cpu.rsp().is_some_and(|rsp| rsp >= low.saturating_sub(STEP) && rsp <= low.saturating_add(STEP));
    let below = low.checked_sub(address).filter(|below| (1..=STEP).contains(below))?;
    (near && low != 0).then_some(Target::StackGuard { thread: own.id, below })
}

/// The thread in the page below whose stack the address lies.
fn below_any_stack(subject: &Subject, address: u64) -> Option<u32> {
    let is_below = |thread: &ThreadEntry| {
        thread.stack.0.0.checked_sub(address).is_some_and(|below| (1..=PAGE_BYTES).contains(&below))
    };
    stacks::threads(subject).find(is_below).map(|thread| thread.id)
}
