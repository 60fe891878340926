//! Threads that leave the CPU to wait, come back, and are woken.
//!
//! A thread's stack is told when it leaves, by itself and so without a doubt about it. Who comes back tells his only where no observer of now
//! can know of his leaving: then it is walked from the registers that the kernel saved.

use core::ops::Range;

use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::{
    Callers as NoCallers, Class, ParkRecord, Record, ResumeRecord, SwitchReason, WakeRecord,
};
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{ThreadState, WaitKind, thread_field};

use crate::callers::{Callers, Frame};
use crate::hook::{self, recording};
use crate::platform::{self, Pinned, ThreadId};
use crate::region::Words;
use crate::thread::Slot;
use crate::{control, wait};

/// A thread has left the CPU at `tsc`; `frame` is that of the switch, on its stack.
#[inline(always)]
pub(crate) fn left(slot: Slot, thread: ThreadId, reason: SwitchReason, tsc: u64, frame: Frame) {
    if matches!(reason, SwitchReason::Blocked | SwitchReason::Sleeping) && recording(Class::OffCpu) {
        park(slot.words(), thread, reason, tsc, frame);
    }
}

#[inline(never)]
fn park(words: Words, thread: ThreadId, reason: SwitchReason, tsc: u64, frame: Frame) {
    let known = stack_of(words);
    // A kernel need not tell where the stack of a thread lies, if the platform does.
    let stack = if known.contains(&frame.stack_pointer) { known } else { platform::stack() };
    // SAFETY: whoever told of the thread, or the platform, has promised that its stack can be read.
    let callers = unsafe { Callers::of(frame, &stack) };
    let wait = words.load(thread_field::WAIT);
    let record = ParkRecord {
        tsc,
        thread,
        reason,
        wait: WaitKind::from_number(wait as u8),
        waits_for: GuestVirtual(words.load(thread_field::WAITS_FOR)),
        waits_on: (wait >> 32) as u32,
        callers: callers.without(0),
    };
    if hook::write(platform::vcpu(), &Record::Park(record)) {
        words.store(thread_field::PARKED, tsc);
    }
}

/// A thread gets the CPU at `tsc`; its slot still says how it had left.
#[inline(always)]
pub(crate) fn comes(slot: Slot, thread: ThreadId, tsc: u64) {
    if recording(Class::OffCpu) {
        resume(slot, thread, tsc);
    }
}

#[inline(never)]
fn resume(slot: Slot, thread: ThreadId, tsc: u64) {
    let reason = match slot.state() {
        Some(ThreadState::Blocked) => SwitchReason::Blocked,
        Some(ThreadState::Sleeping) => SwitchReason::Sleeping,
        _ => return,
    };
    let words = slot.words();
    let [parked, since, woken] =
        [thread_field::PARKED, thread_field::WAIT_SINCE, thread_field::WOKEN].map(|field| words.load(field));
    let told = parked != 0 && parked >= control::last_change();
    let callers;
    let callers = if told {
        NoCallers::NONE
    } else {
        let [frame, stack_pointer] =
            [thread_field::RBP, thread_field::RSP].map(|field| words.load(field) as usize);
        // SAFETY: whoever told of the thread has promised that its stack can be read.
        callers = unsafe { Callers::of(Frame { frame, stack_pointer }, &stack_of(words)) };
        callers.without(0)
    };
    let parked = if parked == 0 { since } else { parked };
    // A wake-up from before the wait is not the one that ended it.
    let ended_by_it = woken >= if since == 0 { parked } else { since };
    let record = ResumeRecord {
        tsc,
        thread,
        reason,
        parked,
        woken: if ended_by_it { woken } else { 0 },
        waker: if ended_by_it { words.load(thread_field::WAKER) as u32 } else { 0 },
        callers,
    };
    // Whoever calls counts what this costs.
    hook::write(platform::vcpu(), &Record::Resume(record));
}

fn stack_of(words: Words) -> Range<usize> {
    words.load(thread_field::STACK_LOW) as usize..words.load(thread_field::STACK_HIGH) as usize
}

/// Tells that the running thread has made another one ready to run, which may be another vCPU's: before that one can get the CPU.
#[inline(never)]
pub fn woken(thread: ThreadId) {
    let frame = Frame::here();
    let Some(words) = words_of(thread) else { return };
    let _pinned = Pinned::new();
    let waker = platform::thread();
    let tsc = note(words, waker);
    if recording(Class::OffCpu) {
        // SAFETY: `Platform::stack` promises that it can be read.
        let callers = unsafe { Callers::of(frame, &platform::stack()) };
        let callers = callers.without(0);
        wake(&WakeRecord { tsc, waker, by_interrupt: false, thread, callers });
    }
}

/// Tells that an interrupt handler has made a thread ready to run: the thread that it interrupted has no part in that, nor has its stack.
pub fn woken_by_interrupt(thread: ThreadId) {
    let Some(words) = words_of(thread) else { return };
    let tsc = note(words, 0);
    if recording(Class::OffCpu) {
        let (waker, callers) = (platform::thread(), NoCallers::NONE);
        wake(&WakeRecord { tsc, waker, by_interrupt: true, thread, callers });
    }
}

fn words_of(thread: ThreadId) -> Option<Words> {
    wait::slot_of(thread).map(Slot::words)
}

fn note(words: Words, waker: ThreadId) -> u64 {
    let now = platform::now();
    words.store(thread_field::WAKER, waker.into());
    words.store(thread_field::WOKEN, now);
    now
}

fn wake(record: &WakeRecord<'_>) {
    hook::write_counted(&Record::Wake(*record), record.tsc);
}
