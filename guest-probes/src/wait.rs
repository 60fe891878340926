//! What threads that do not run wait for, and where they go on: what a dump needs to show their stacks and to find a deadlock.

use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{ThreadEntry, WaitKind, thread_field};

use crate::platform::{self, ThreadId};
use crate::region::region;
use crate::thread::Slot;

/// What a thread waits for. What a kernel does not know stays 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// What kind of thing.
    pub kind: WaitKind,
    /// Address of the lock, the queue or the like.
    pub address: usize,
    /// Address of a 32-bit word. Of a lock: its owner's number, 0 while it is free. Otherwise 0 for as long as there is a reason to wait.
    pub word: usize,
    /// The thread that is waited on: a lock's owner, the thread to be joined.
    pub owner: ThreadId,
    /// TSC at which the wait ends by itself.
    pub until: u64,
}

/// Registers of a thread that does not run: where it goes on, and its stack there. Unwinding starts from these three; other registers are
/// found through the unwind tables of the code at `rip`, which must have saved what its caller wants back (see `docs/wire-format.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavedRegisters {
    /// The next instruction.
    pub rip: u64,
    /// Stack pointer there.
    pub rsp: u64,
    /// Frame pointer there.
    pub rbp: u64,
}

/// Tells that the running thread begins to wait: before it looks for the last time whether it must, or at least before it switches away.
/// With interrupts off, or pinned to its vCPU.
pub fn wait_begin(thread: ThreadId, wait: &Wait) {
    let Some(slot) = slot_of(thread) else { return };
    let now = platform::now();
    slot.change(|words| {
        words.store(thread_field::WAIT, ThreadEntry::wait_and_owner(wait.kind, wait.owner));
        words.store(thread_field::WAITS_FOR, wait.address as u64);
        words.store(thread_field::WAIT_WORD, wait.word as u64);
        words.store(thread_field::WAIT_SINCE, now);
        words.store(thread_field::WAKES_AT, wait.until);
    });
}

/// Tells that the running thread has what it waited for. As [`wait_begin`].
pub fn wait_end(thread: ThreadId) {
    let Some(slot) = slot_of(thread) else { return };
    slot.change(|words| {
        [
            thread_field::WAIT,
            thread_field::WAITS_FOR,
            thread_field::WAIT_WORD,
            thread_field::WAIT_SINCE,
            thread_field::WAKES_AT,
        ]
        .into_iter()
        .for_each(|field| words.store(field, 0));
    });
}

/// Tells where a thread that does not run goes on: from its scheduler, with interrupts off, once the registers are saved, that is, after
/// the switch away from it; and of a new thread before its first.
pub fn saved(thread: ThreadId, registers: &SavedRegisters) {
    let Some(slot) = slot_of(thread) else { return };
    slot.change(|words| {
        words.store(thread_field::RIP, registers.rip);
        words.store(thread_field::RSP, registers.rsp);
        words.store(thread_field::RBP, registers.rbp);
    });
}

pub(crate) fn slot_of(thread: ThreadId) -> Option<Slot> {
    (thread != 0).then(|| Slot::of(region()?, thread)).flatten()
}
