//! Locks that somebody had to wait for.

use super::{BadRecord, Callers};
use crate::address::GuestVirtual;

/// How a lock makes others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LockKind {
    /// They turn in a loop: the wait costs CPU time.
    Spin = 0,
    /// They leave the CPU.
    Blocking = 1,
}

impl LockKind {
    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Blocking => "blocking",
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Spin,
            1 => Self::Blocking,
            _ => return None,
        })
    }
}

/// A lock was taken after a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockWaitRecord<'a> {
    /// When it was taken.
    pub tsc: u64,
    /// By which thread.
    pub thread: u32,
    /// How it was waited for.
    pub kind: LockKind,
    /// The lock.
    pub lock: GuestVirtual,
    /// TSC at which the wait began.
    pub begin: u64,
    /// The thread that held it then; 0 unknown.
    pub owner: u32,
    /// Where it was waited for.
    pub callers: Callers<'a>,
}

/// A lock was released that somebody was waiting for: whoever held it made them wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHoldRecord<'a> {
    /// When it was released.
    pub tsc: u64,
    /// The thread that had held it.
    pub thread: u32,
    /// How it was waited for.
    pub kind: LockKind,
    /// The lock.
    pub lock: GuestVirtual,
    /// TSC at which it had been taken; 0 unknown.
    pub since: u64,
    /// Where it was released.
    pub callers: Callers<'a>,
}

impl<'a> LockWaitRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 4] {
        let shape = self.callers.shape(self.thread, self.kind as u8);
        [shape, self.lock.0, self.begin, self.owner as u64]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let (kind, &[lock, begin, owner], callers) = Callers::split(shape, rest)?;
        let kind = LockKind::from_number(kind).ok_or(BadRecord::Payload)?;
        let owner = u32::try_from(owner).map_err(|_| BadRecord::Payload)?;
        Ok(Self { tsc, thread: shape as u32, kind, lock: GuestVirtual(lock), begin, owner, callers })
    }
}

impl<'a> LockHoldRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 3] {
        [self.callers.shape(self.thread, self.kind as u8), self.lock.0, self.since]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let (kind, &[lock, since], callers) = Callers::split(shape, rest)?;
        let kind = LockKind::from_number(kind).ok_or(BadRecord::Payload)?;
        Ok(Self { tsc, thread: shape as u32, kind, lock: GuestVirtual(lock), since, callers })
    }
}
