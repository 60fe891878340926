//! Threads and what they wait for.

use core::ffi::{c_char, c_void};

use uniprof_probes as probe;
use uniprof_probes::{SavedRegisters, SwitchReason, Wait, WaitKind};

use crate::text::text_of;

/// Why a thread leaves the CPU: its time slice ended.
pub const UNIPROF_PREEMPTED: u32 = 0;
/// It yielded.
pub const UNIPROF_YIELDED: u32 = 1;
/// It waits for a lock, a thread, a message.
pub const UNIPROF_BLOCKED: u32 = 2;
/// It sleeps until a time.
pub const UNIPROF_SLEEPING: u32 = 3;
/// It ended.
pub const UNIPROF_EXITED: u32 = 4;
/// The CPU had been idle.
pub const UNIPROF_IDLE: u32 = 5;

/// What a thread waits for: a lock that another thread holds.
pub const UNIPROF_WAIT_LOCK: u32 = 1;
/// The end of another thread.
pub const UNIPROF_WAIT_JOIN: u32 = 2;
/// A time.
pub const UNIPROF_WAIT_SLEEP: u32 = 3;
/// A condition that somebody makes true: a queue with something in it, a message, a signal.
pub const UNIPROF_WAIT_EVENT: u32 = 4;
/// Something else.
pub const UNIPROF_WAIT_OTHER: u32 = 5;

/// What a thread waits for. What a kernel does not know stays 0.
#[repr(C)]
pub struct Waiting {
    /// UNIPROF_WAIT_LOCK and so on.
    pub kind: u32,
    /// The thread that is waited on: a lock's owner, the thread to be joined.
    pub owner: u32,
    /// The lock, the queue or the like.
    pub object: *const c_void,
    /// A 32-bit word. Of a lock: its owner's number, 0 while it is free. Otherwise 0 for as long as there is a reason to wait.
    pub word: *const u32,
    /// The clock's time at which the wait ends by itself.
    pub until: u64,
}

const fn reason_of(reason: u32) -> SwitchReason {
    match reason {
        UNIPROF_YIELDED => SwitchReason::Yielded,
        UNIPROF_BLOCKED => SwitchReason::Blocked,
        UNIPROF_SLEEPING => SwitchReason::Sleeping,
        UNIPROF_EXITED => SwitchReason::Exited,
        UNIPROF_IDLE => SwitchReason::Idle,
        _ => SwitchReason::Preempted,
    }
}

const fn kind_of(kind: u32) -> WaitKind {
    match kind {
        0 => WaitKind::None,
        UNIPROF_WAIT_LOCK => WaitKind::Lock,
        UNIPROF_WAIT_JOIN => WaitKind::Join,
        UNIPROF_WAIT_SLEEP => WaitKind::Sleep,
        UNIPROF_WAIT_EVENT => WaitKind::Event,
        _ => WaitKind::Other,
    }
}

/// Tells of a new thread: its number (not 0), name (the first 64 bytes count), stack and entry function. Not from interrupt handlers.
///
/// # Safety
/// `name` is null or a NUL-terminated text, and the stack can be read for as long as the thread lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_thread_start(
    thread: u32,
    name: *const c_char,
    stack_low: usize,
    stack_high: usize,
    entry: usize,
) {
    // SAFETY: the caller vouches for it.
    probe::thread_start(thread, unsafe { text_of(name) }, stack_low..stack_high, entry);
}

/// Tells that the running thread has ended; its last `uniprof_switch` is still to come. Not from interrupt handlers.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_thread_exit(thread: u32) {
    probe::thread_exit(thread);
}

/// Tells of a switch on the calling vCPU: `from` leaves for `reason` (UNIPROF_PREEMPTED and so on), `to` comes; 0 stands for the idle
/// loop. From the scheduler, on the stack of `from`, with interrupts off.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_switch(from: u32, to: u32, reason: u32) {
    probe::switch(from, to, reason_of(reason));
}

/// Tells where a thread that does not run goes on: of the one that was left, after the switch away from it; of a new one, before its
/// first. From the scheduler, with interrupts off. Unwinding starts from these three.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_saved(thread: u32, rip: u64, rsp: u64, rbp: u64) {
    probe::saved(thread, &SavedRegisters { rip, rsp, rbp });
}

/// Tells that the running thread begins to wait, before it switches away. With interrupts off, or pinned.
///
/// # Safety
/// `waiting` points to what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_wait_begin(thread: u32, waiting: *const Waiting) {
    // SAFETY: the caller vouches for it.
    let Some(waiting) = (unsafe { waiting.as_ref() }) else { return };
    let wait = Wait {
        kind: kind_of(waiting.kind),
        address: waiting.object.addr(),
        word: waiting.word.addr(),
        owner: waiting.owner,
        until: waiting.until,
    };
    probe::wait_begin(thread, &wait);
}

/// Tells that the running thread has what it waited for.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_wait_end(thread: u32) {
    probe::wait_end(thread);
}

/// Tells that the running thread has made another one ready to run, before that one can get the CPU.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_woken(thread: u32) {
    probe::woken(thread);
}

/// Tells that an interrupt handler has made a thread ready to run.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_woken_by_interrupt(thread: u32) {
    probe::woken_by_interrupt(thread);
}
