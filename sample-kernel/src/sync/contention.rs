//! What a lock keeps for those who ask from outside who waited for it, and because of whom.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::probes::{self, Class, LockKind};
use crate::{arch, sched};

/// Part of every lock. The holder's words are written by the holder, in the lock's own order.
pub(crate) struct Contention {
    /// How many wait: without any, a release tells nobody.
    waiting: AtomicU32,
    /// Who took it, the last time that somebody wanted to know.
    holder: AtomicU32,
    /// Since when (TSC).
    since: AtomicU64,
}

impl Contention {
    pub(crate) const fn new() -> Self {
        Self { waiting: AtomicU32::new(0), holder: AtomicU32::new(0), since: AtomicU64::new(0) }
    }

    /// The lock has been taken.
    #[inline(always)]
    pub(crate) fn taken(&self) {
        if probes::recording(Class::Lock) {
            self.note();
        }
    }

    #[cold]
    #[inline(never)]
    fn note(&self) {
        self.since.store(arch::now(), Ordering::Relaxed);
        self.holder.store(sched::current_id(), Ordering::Relaxed);
    }

    /// Who holds it, if that was wanted when it was taken.
    pub(crate) fn holder(&self) -> u32 {
        self.holder.load(Ordering::Relaxed)
    }

    /// It is not free: a wait begins.
    pub(crate) fn wait(&self, kind: LockKind, lock: usize, holder: u32) -> Waiting<'_> {
        let told = probes::lock_wait(kind, lock, holder);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting { contention: self, told }
    }

    /// It is about to be released.
    #[inline(always)]
    pub(crate) fn released(&self, kind: LockKind, lock: usize) {
        if probes::BUILT_IN && self.waiting() {
            self.tell(kind, lock);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, kind: LockKind, lock: usize) {
        probes::lock_released(kind, lock, self.since.load(Ordering::Relaxed));
    }

    /// Whether somebody waits.
    #[inline(always)]
    pub(crate) fn waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) != 0
    }
}

/// A wait under way.
pub(crate) struct Waiting<'a> {
    contention: &'a Contention,
    told: probes::LockWait,
}

impl Waiting<'_> {
    /// The lock has been taken.
    pub(crate) fn acquired(self) {
        self.contention.waiting.fetch_sub(1, Ordering::SeqCst);
        self.told.acquired();
    }
}
