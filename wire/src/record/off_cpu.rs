//! Threads that leave the CPU to wait, come back, and wake others.
//!
//! The stack is told when a thread leaves: so a dump of a guest shows where its threads wait although they never came back. Who comes back
//! tells his stack only if he had left before all observers of now were there.

use super::{BadRecord, Callers, SwitchReason};
use crate::address::GuestVirtual;
use crate::tables::WaitKind;

/// A thread left the CPU, to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkRecord<'a> {
    /// When. Together with the thread this names the wait.
    pub tsc: u64,
    /// Which thread.
    pub thread: u32,
    /// Why it left: [`SwitchReason::Blocked`] or [`SwitchReason::Sleeping`].
    pub reason: SwitchReason,
    /// What it waits for.
    pub wait: WaitKind,
    /// Address of the lock, the queue or the like; 0 unknown.
    pub waits_for: GuestVirtual,
    /// The thread that it waits on; 0 unknown.
    pub waits_on: u32,
    /// Where it waits.
    pub callers: Callers<'a>,
}

/// A thread that waited got the CPU back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeRecord<'a> {
    /// When.
    pub tsc: u64,
    /// Which thread.
    pub thread: u32,
    /// Why it had left.
    pub reason: SwitchReason,
    /// When it had left: the TSC of its [`ParkRecord`], if that was recorded; else when its wait began, 0 unknown.
    pub parked: u64,
    /// When it was made ready to run; 0 unknown. From there on it waited for the CPU.
    pub woken: u64,
    /// The thread that did so; 0: an interrupt, or unknown.
    pub waker: u32,
    /// Where it waited, if there was no [`ParkRecord`], or one from before the newest observer came; else [`Callers::NONE`].
    pub callers: Callers<'a>,
}

/// A thread was made ready to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeRecord<'a> {
    /// When: [`ResumeRecord::woken`].
    pub tsc: u64,
    /// The thread that was running; 0: none.
    pub waker: u32,
    /// Whether an interrupt handler did it, so that the thread that was running is not to be credited.
    pub by_interrupt: bool,
    /// The thread that was woken.
    pub thread: u32,
    /// By which call.
    pub callers: Callers<'a>,
}

impl<'a> ParkRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 3] {
        let small = self.reason as u8 | (self.wait as u8) << 4;
        [self.callers.shape(self.thread, small), self.waits_for.0, self.waits_on as u64]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let (small, &[waits_for, waits_on], callers) = Callers::split(shape, rest)?;
        Ok(Self {
            tsc,
            thread: shape as u32,
            reason: SwitchReason::from_number(u64::from(small & 0xf)).ok_or(BadRecord::Payload)?,
            wait: WaitKind::from_number(small >> 4),
            waits_for: GuestVirtual(waits_for),
            waits_on: u32::try_from(waits_on).map_err(|_| BadRecord::Payload)?,
            callers,
        })
    }
}

impl<'a> ResumeRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 4] {
        let shape = self.callers.shape(self.thread, self.reason as u8);
        [shape, self.parked, self.woken, self.waker as u64]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let (reason, &[parked, woken, waker], callers) = Callers::split(shape, rest)?;
        Ok(Self {
            tsc,
            thread: shape as u32,
            reason: SwitchReason::from_number(reason.into()).ok_or(BadRecord::Payload)?,
            parked,
            woken,
            waker: u32::try_from(waker).map_err(|_| BadRecord::Payload)?,
            callers,
        })
    }
}

impl<'a> WakeRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 2] {
        [self.callers.shape(self.waker, self.by_interrupt as u8), self.thread as u64]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let (flags, &[thread], callers) = Callers::split(shape, rest)?;
        if flags > 1 {
            return Err(BadRecord::Payload);
        }
        let thread = u32::try_from(thread).map_err(|_| BadRecord::Payload)?;
        Ok(Self { tsc, waker: shape as u32, by_interrupt: flags == 1, thread, callers })
    }
}
