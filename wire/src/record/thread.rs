//! Threads: who gets the CPU, who comes and goes; and interrupts, which take it from them.

use super::{BadRecord, Text, decode_text, high, low};
use crate::address::GuestVirtual;

/// Longest thread name in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a thread left the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SwitchReason {
    /// Its time slice ended.
    Preempted = 0,
    /// It yielded.
    Yielded = 1,
    /// It waits (lock, join, message).
    Blocked = 2,
    /// It sleeps until a time.
    Sleeping = 3,
    /// It ended.
    Exited = 4,
    /// The CPU had been idle.
    Idle = 5,
}

impl SwitchReason {
    pub(super) const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Preempted,
            1 => Self::Yielded,
            2 => Self::Blocked,
            3 => Self::Sleeping,
            4 => Self::Exited,
            5 => Self::Idle,
            _ => return None,
        })
    }
}

/// A vCPU went from one thread to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchRecord {
    /// When.
    pub tsc: u64,
    /// The thread that left.
    pub from: u32,
    /// The thread that came.
    pub to: u32,
    /// Why the first one left.
    pub reason: SwitchReason,
}

/// A thread came or went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadRecord<'a> {
    /// When.
    pub tsc: u64,
    /// Which.
    pub thread: u32,
    /// Whether it came or went.
    pub action: ThreadAction,
    /// Its entry function.
    pub entry: GuestVirtual,
    /// Its stack, low and high end.
    pub stack: (GuestVirtual, GuestVirtual),
    /// Its name.
    pub name: Text<'a>,
}

/// Whether a thread came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ThreadAction {
    /// It was started.
    Started = 0,
    /// It ended.
    Exited = 1,
}

impl core::fmt::Debug for ThreadRecord<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Thread {{ thread: {}, {:?}, name: {:?} }}", self.thread, self.action, self.name)
    }
}

/// An interrupt was served, written at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptRecord {
    /// When its handler ended.
    pub tsc: u64,
    /// The thread that was interrupted; 0 none.
    pub thread: u32,
    /// Its number, as the processor counts.
    pub vector: u32,
    /// TSC at which its handler began.
    pub begin: u64,
}

impl<'a> ThreadRecord<'a> {
    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let [entry, stack_low, stack_high, name @ ..] = rest else { return Err(BadRecord::Length) };
        let action = match high(shape) & 0xffff {
            0 => ThreadAction::Started,
            1 => ThreadAction::Exited,
            _ => return Err(BadRecord::Payload),
        };
        Ok(Self {
            tsc,
            thread: low(shape),
            action,
            entry: GuestVirtual(*entry),
            stack: (GuestVirtual(*stack_low), GuestVirtual(*stack_high)),
            name: decode_text(name, (high(shape) >> 16) as usize, MAX_NAME_BYTES)?,
        })
    }
}
