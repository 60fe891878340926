//! Locks that somebody has to wait for: how long, and who made him wait.
//!
//! Nothing is recorded of a lock that is free. A lock tells of a wait, and whoever releases one that others wait for tells of that:
//!
//! ```text
//! fn lock(&self) {
//!     if !self.try_lock() {
//!         let wait = probe::lock_wait(probe::LockKind::Spin, self.address(), self.owner());
//!         self.waiters += 1;
//!         while !self.try_lock() {}
//!         self.waiters -= 1;
//!         wait.acquired();
//!     }
//!     if probe::recording(probe::Class::Lock) {
//!         self.since = tsc(); // may be left out: 0 is unknown
//!     }
//! }
//! fn unlock(&self) {
//!     if self.waiters != 0 {
//!         probe::lock_released(probe::LockKind::Spin, self.address(), self.since);
//!     }
//!     self.owner = 0;
//! }
//! ```

use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::{Class, LockHoldRecord, LockKind, LockWaitRecord, Record};

use crate::callers::{Callers, Frame};
use crate::control;
use crate::hook::{self, recording};
use crate::platform::{self, Pinned, ThreadId};

/// A wait for a lock, from [`lock_wait`].
#[derive(Debug)]
#[must_use = "tell when the lock was taken: `wait.acquired()`"]
pub struct LockWait {
    kind: LockKind,
    address: usize,
    owner: ThreadId,
    /// 0 where nobody wants to know.
    begin: u64,
}

/// Tells that the lock at `address`, held by `owner` (0: unknown), is not free, and that the running thread begins to wait.
#[inline(always)]
pub fn lock_wait(kind: LockKind, address: usize, owner: ThreadId) -> LockWait {
    let begin = if recording(Class::Lock) { platform::now() } else { 0 };
    LockWait { kind, address, owner, begin }
}

impl LockWait {
    /// When it began, 0 where nobody wants to know: for languages that can't keep this type, see [`LockWait::begun_at`].
    #[inline(always)]
    #[must_use]
    pub const fn begin(&self) -> u64 {
        self.begin
    }

    /// The wait that [`lock_wait`] began with these arguments, and whose [`LockWait::begin`] this is.
    #[inline(always)]
    pub const fn begun_at(begin: u64, kind: LockKind, address: usize, owner: ThreadId) -> Self {
        Self { kind, address, owner, begin }
    }

    /// Tells that the lock has been taken.
    #[inline(always)]
    pub fn acquired(self) {
        if self.begin != 0 && recording(Class::Lock) {
            self.record();
        }
    }

    #[inline(never)]
    fn record(&self) {
        let frame = Frame::here();
        let _pinned = Pinned::new();
        let tsc = platform::now();
        // SAFETY: `Platform::stack` promises that it can be read.
        let callers = unsafe { Callers::of(frame, &platform::stack()) };
        let record = LockWaitRecord {
            tsc,
            thread: platform::thread(),
            kind: self.kind,
            lock: GuestVirtual(self.address as u64),
            begin: self.begin,
            owner: self.owner,
            callers: callers.without(0),
        };
        hook::write_counted(&Record::LockWait(record), tsc);
    }
}

/// Tells that the running thread releases a lock that others wait for, which it has held `since` (TSC; 0: unknown). Call it while the lock
/// is still held: so this record is older than that of whoever gets it next. Who keeps that time only while the class is
/// [wanted](recording) may give what he kept last: it is ignored if it comes from before that.
#[inline(always)]
pub fn lock_released(kind: LockKind, address: usize, since: u64) {
    if recording(Class::Lock) {
        record_hold(kind, address, since);
    }
}

#[inline(never)]
fn record_hold(kind: LockKind, address: usize, since: u64) {
    let frame = Frame::here();
    let _pinned = Pinned::new();
    let tsc = platform::now();
    let since = if since < control::last_change() { 0 } else { since };
    // SAFETY: `Platform::stack` promises that it can be read.
    let callers = unsafe { Callers::of(frame, &platform::stack()) };
    let record = LockHoldRecord {
        tsc,
        thread: platform::thread(),
        kind,
        lock: GuestVirtual(address as u64),
        since,
        callers: callers.without(0),
    };
    hook::write_counted(&Record::LockHold(record), tsc);
}
