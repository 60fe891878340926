//! The stacks of all vCPUs and threads: who was where, and how sure that is.
//!
//! A vCPU's stack begins at its registers. Where the guest left a crash record and the vCPU has gone elsewhere since (it halted, it
//! left the crash handler), the stack begins at what the record says: as of the crash. A thread that runs has the stack of its vCPU;
//! any other thread has the one that its registers in the thread table lead to.

pub(crate) mod frame;
mod group;
mod start;

use serde::Serialize;
use uniprof_symbolizer::DetailedFrame;
use uniprof_wire::tables::{CrashReason, Slot, ThreadEntry, ThreadState};

pub use frame::StackFrame;
pub use group::{StackGroup, group};
pub use start::Start;

use crate::subject::Subject;
use start::Beginning;

/// Threads whose stacks are followed: a thread table has no more.
pub const MAX_THREADS: usize = 256;
/// vCPUs whose stacks are followed: a region has no more.
const MAX_VCPUS: usize = 256;

/// Whose stack it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A vCPU, by number.
    Vcpu(u32),
    /// A thread, by its number in the guest.
    Thread(u32),
}

/// The stack of a vCPU or of a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Whose.
    pub owner: Owner,
    /// The vCPU that it is, that it ran on, or on which it ran last.
    pub vcpu: Option<u32>,
    /// The thread that it is, or that the vCPU ran; `None` where that is not known or it ran none.
    pub thread: Option<u32>,
    /// The thread's name; empty where there is none.
    pub name: String,
    /// What a thread was doing by the thread table; `None` of vCPUs.
    pub state: Option<ThreadState>,
    /// Whether the thread's entry was being changed, or is damaged: then nothing of it is sure.
    pub torn: bool,
    /// Where it begins.
    pub start: Start,
    /// The frames as the machine has them, innermost first, each with the registers that it had: [`StackFrame::depth`] counts these.
    pub unwound: Vec<DetailedFrame>,
    /// The innermost function first; inlined functions are frames of their own.
    pub frames: Vec<StackFrame>,
    /// Why it ends where it does, or why there is none, in words.
    pub end: String,
    /// Whether it was followed to its outermost frame.
    pub complete: bool,
}

impl Stack {
    /// The thread's name, or what else to call it.
    #[must_use]
    pub fn title(&self) -> String {
        match self.owner {
            Owner::Vcpu(vcpu) => format!("vCPU {vcpu}"),
            Owner::Thread(id) => thread_title(id, &self.name),
        }
    }
}

/// What to call a thread: its name and its number.
#[must_use]
pub fn thread_title(id: u32, name: &str) -> String {
    if name.is_empty() { format!("thread {id}") } else { format!("{name} (thread {id})") }
}

/// The stacks of all vCPUs, by number, and after them those of all threads, by number.
pub fn of(subject: &mut Subject) -> Vec<Stack> {
    let mut stacks = of_vcpus(subject);
    stacks.extend(of_threads(subject, &stacks));
    stacks
}

/// The stacks of all vCPUs.
pub fn of_vcpus(subject: &mut Subject) -> Vec<Stack> {
    let numbers: Vec<u32> = subject.cpus.iter().map(|cpu| cpu.vcpu).take(MAX_VCPUS).collect();
    numbers.into_iter().map(|vcpu| of_vcpu(subject, vcpu)).collect()
}

fn of_vcpu(subject: &mut Subject, vcpu: u32) -> Stack {
    let now = Beginning::of_vcpu(subject, vcpu).map(|beginning| walk(subject, &beginning));
    let crash = Beginning::of_crash(subject, vcpu).map(|beginning| walk(subject, &beginning));
    let walked = match (now, crash) {
        (Some(now), Some(crash)) if !leads_through(subject, vcpu, &now, &crash) => crash,
        (Some(now), _) => now,
        (None, Some(crash)) => crash,
        (None, None) => Walked::none("its registers are not known"),
    };
    let thread = thread_of(subject, vcpu);
    let name = thread.and_then(|id| entry(subject, id)).map(|thread| name_of(&thread)).unwrap_or_default();
    walked.into_stack(Stack { vcpu: Some(vcpu), thread, name, ..Stack::empty(Owner::Vcpu(vcpu)) })
}

/// Whether a stack leads through where the crash record's begins. The record of a panic is taken deep in its handler, so it is its
/// caller that both must have; that of an exception begins at the very frame that failed, which is missing in a stack that was
/// followed through the handler without call-frame information.
fn leads_through(subject: &Subject, vcpu: u32, now: &Walked, crash: &Walked) -> bool {
    let tables = subject.region.as_ref().ok().map(|region| &region.tables);
    let record = tables.and_then(|tables| tables.crashes.get(vcpu as usize)?.entry());
    let is_exception = record.is_some_and(|record| record.reason == CrashReason::Exception);
    let caller = crash.unwound.get(1).filter(|_| !is_exception);
    let Some(sought) = caller.or_else(|| crash.unwound.first()) else { return true };
    now.unwound.iter().any(|frame| frame.frame.address == sought.frame.address)
}

fn of_threads(subject: &mut Subject, vcpus: &[Stack]) -> Vec<Stack> {
    let mut threads: Vec<ThreadEntry> = threads(subject).collect();
    threads.sort_by_key(|thread| thread.id);
    threads.truncate(MAX_THREADS);
    let torn: Vec<u32> = torn(subject).collect();
    let of_thread =
        |thread: &ThreadEntry| Stack { torn: torn.contains(&thread.id), ..of_thread(subject, thread, vcpus) };
    threads.iter().map(of_thread).collect()
}

fn of_thread(subject: &mut Subject, thread: &ThreadEntry, vcpus: &[Stack]) -> Stack {
    let blank = Stack {
        vcpu: Some(thread.vcpu.into()),
        thread: Some(thread.id),
        name: name_of(thread),
        state: Some(thread.state),
        ..Stack::empty(Owner::Thread(thread.id))
    };
    let running = vcpus.iter().find(|stack| stack.thread == Some(thread.id));
    let running = running.or_else(|| {
        let home = |stack: &&Stack| stack.owner == Owner::Vcpu(thread.vcpu.into()) && stack.thread.is_none();
        vcpus.iter().find(home).filter(|_| thread.state == ThreadState::Running)
    });
    match (running, thread.state) {
        (_, ThreadState::Exited) => Stack { end: "it has ended".into(), ..blank },
        (Some(vcpu), _) => {
            let Stack { vcpu, start, unwound, frames, end, complete, .. } = vcpu.clone();
            Stack { vcpu, start, unwound, frames, end, complete, ..blank }
        }
        (None, ThreadState::Running) => {
            let end = format!("it ran on vCPU {}, whose registers are not known", thread.vcpu);
            Stack { end, ..blank }
        }
        (None, _) => match Beginning::of_thread(thread) {
            Some(beginning) => walk(subject, &beginning).into_stack(blank),
            None => {
                let end = "the thread table has no registers of it";
                Stack { end: end.into(), ..blank }
            }
        },
    }
}

/// What following a stack came to.
struct Walked {
    start: Start,
    unwound: Vec<DetailedFrame>,
    frames: Vec<StackFrame>,
    end: String,
    complete: bool,
}

impl Walked {
    fn none(why: &str) -> Self {
        Self {
            start: Start::Unknown,
            unwound: Vec::new(),
            frames: Vec::new(),
            end: why.into(),
            complete: false,
        }
    }

    fn into_stack(self, blank: Stack) -> Stack {
        let Self { start, unwound, frames, end, complete } = self;
        Stack { start, unwound, frames, end, complete, ..blank }
    }
}

fn walk(subject: &mut Subject, beginning: &Beginning) -> Walked {
    let Subject { space, program, .. } = subject;
    let mut unwound = Vec::new();
    let end = program.unwinder().unwind_with(&beginning.registers, |at| space.word(at), &mut unwound);
    let mut frames = Vec::new();
    for (depth, one) in unwound.iter().enumerate() {
        frame::push(program, depth, &one.frame, &mut frames);
    }
    Walked { start: beginning.start, unwound, frames, end: end.to_string(), complete: end.is_complete() }
}

impl Stack {
    fn empty(owner: Owner) -> Self {
        Self {
            owner,
            vcpu: None,
            thread: None,
            name: String::new(),
            state: None,
            torn: false,
            start: Start::Unknown,
            unwound: Vec::new(),
            frames: Vec::new(),
            end: String::new(),
            complete: false,
        }
    }
}

/// The threads of the table, in its order.
pub(crate) fn threads(subject: &Subject) -> impl Iterator<Item = ThreadEntry> {
    let region = subject.region.as_ref().ok();
    region.into_iter().flat_map(|region| &region.tables.threads).filter_map(|slot| slot.entry())
}

fn torn(subject: &Subject) -> impl Iterator<Item = u32> {
    let region = subject.region.as_ref().ok();
    region.into_iter().flat_map(|region| &region.tables.threads).filter_map(|slot| match slot {
        Slot::Torn(thread) => Some(thread.id),
        _ => None,
    })
}

/// A thread by its number.
pub(crate) fn entry(subject: &Subject, id: u32) -> Option<ThreadEntry> {
    let living = |thread: &ThreadEntry| thread.id == id && thread.state != ThreadState::Exited;
    threads(subject).find(living).or_else(|| threads(subject).find(|thread| thread.id == id))
}

/// A thread's name, which the guest chose.
pub(crate) fn name_of(thread: &ThreadEntry) -> String {
    String::from_utf8_lossy(thread.name.bytes()).into_owned()
}

pub(crate) fn title_of(thread: &ThreadEntry) -> String {
    thread_title(thread.id, &name_of(thread))
}

/// The thread that a vCPU ran: as its crash record says, or its table.
pub(crate) fn thread_of(subject: &Subject, vcpu: u32) -> Option<u32> {
    let tables = &subject.region.as_ref().ok()?.tables;
    let index = vcpu as usize;
    let crash = tables.crashes.get(index).and_then(|slot| Some(slot.entry()?.thread)).filter(|id| *id != 0);
    let running = || Some(tables.vcpus.get(index)?.current_thread).filter(|id| *id != 0);
    crash.or_else(running)
}

#[cfg(test)]
mod tests;
