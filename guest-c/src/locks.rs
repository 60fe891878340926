//! Locks that somebody has to wait for.

use core::ffi::c_void;

use uniprof_probes as probe;
use uniprof_probes::{LockKind, LockWait};

/// How others wait for a lock: they turn in a loop, which costs CPU time.
pub const UNIPROF_SPINS: u32 = 0;
/// They leave the CPU.
pub const UNIPROF_BLOCKS: u32 = 1;

/// A wait for a lock that goes on.
#[repr(C)]
pub struct LockWaiting {
    /// 0 where nobody wants to know.
    pub begin: u64,
    /// The lock.
    pub lock: *const c_void,
    /// UNIPROF_SPINS or UNIPROF_BLOCKS.
    pub kind: u32,
    /// Who held it then; 0: unknown.
    pub owner: u32,
}

const fn kind_of(kind: u32) -> LockKind {
    if kind == UNIPROF_SPINS { LockKind::Spin } else { LockKind::Blocking }
}

/// Tells that a lock, held by `owner` (0: unknown), is not free, and that the running thread begins to wait. `kind` is UNIPROF_SPINS or
/// UNIPROF_BLOCKS. Not to be called for a lock that is free.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_lock_wait(kind: u32, lock: *const c_void, owner: u32) -> LockWaiting {
    let wait = probe::lock_wait(kind_of(kind), lock.addr(), owner);
    LockWaiting { begin: wait.begin(), lock, kind, owner }
}

/// Tells that the lock has been taken.
///
/// # Safety
/// `waiting` is what `uniprof_lock_wait` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_lock_acquired(waiting: *const LockWaiting) {
    // SAFETY: the caller vouches for it.
    let Some(&LockWaiting { begin, lock, kind, owner }) = (unsafe { waiting.as_ref() }) else { return };
    LockWait::begun_at(begin, kind_of(kind), lock.addr(), owner).acquired();
}

/// Tells that the running thread releases a lock that others wait for, while it still holds it, since `since` (of the clock; 0: unknown).
/// Not to be called where nobody waits.
#[unsafe(no_mangle)]
pub extern "C" fn uniprof_lock_released(kind: u32, lock: *const c_void, since: u64) {
    probe::lock_released(kind_of(kind), lock.addr(), since);
}
