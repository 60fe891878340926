//! What the kernel knows of a thread.

use alloc::string::String;
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::WaitQueue;
use super::stack::Stack;

/// 0 is nobody.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Thread {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) vcpu: u32,
    /// Goes before all others of its vCPU whenever it can run.
    pub(super) urgent: bool,
    pub(super) stack: Stack,
    /// Where its stack was left; while it runs, out of date. Its own vCPU's, interrupts off.
    pub(super) stack_pointer: UnsafeCell<usize>,
    /// The closure that it starts with, until it has started.
    pub(super) body: Cell<*mut ()>,
    /// The next in the one list that it is in, under that list's lock.
    pub(super) next: Cell<*const Thread>,
    /// CPU time up to its latest switch, in TSC ticks. Its own vCPU's, interrupts off.
    pub(super) ran: Cell<u64>,
    /// When it wakes (TSC), while it sleeps.
    pub(super) wakes_at: Cell<u64>,
    /// 1 once it has.
    pub(super) exited: AtomicU32,
    pub(super) joiners: WaitQueue,
    /// It sleeps, but a bell would wake it.
    pub(super) dozes: AtomicBool,
    /// 1 when its bell has been rung and it has not yet heard that.
    pub(super) rung: AtomicU32,
}

// SAFETY: each cell says above who may touch it; everything else is constant or atomic or locked.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

impl Thread {
    /// With a number of its own.
    pub(super) fn new(name: String, vcpu: u32, stack: Stack, stack_pointer: usize, body: *mut ()) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self::numbered(id, name, vcpu, stack, stack_pointer, body)
    }

    /// The idle thread: number 0, which is "no thread" to the probes.
    pub(super) fn idle(vcpu: u32, stack: Stack) -> Self {
        Self::numbered(0, String::from("idle"), vcpu, stack, 0, ptr::null_mut())
    }

    fn numbered(id: u32, name: String, vcpu: u32, stack: Stack, stack_pointer: usize, body: *mut ()) -> Self {
        Self {
            id,
            name,
            vcpu,
            urgent: false,
            stack,
            stack_pointer: UnsafeCell::new(stack_pointer),
            body: Cell::new(body),
            next: Cell::new(ptr::null()),
            ran: Cell::new(0),
            wakes_at: Cell::new(0),
            exited: AtomicU32::new(0),
            joiners: WaitQueue::new(),
            dozes: AtomicBool::new(false),
            rung: AtomicU32::new(0),
        }
    }
}
