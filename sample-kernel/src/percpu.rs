//! What each vCPU has for itself. Found through a register; nobody writes another vCPU's part, except through the atomics
//! and the lock of the run queue.

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::arch;
use crate::sched::{Queue, SleepList, Thread};
use crate::sync::InterruptLock;

/// A vCPU's number is its APIC identifier. Those have gaps where a machine has sockets of, say, three cores: the row then ends at
/// the first gap.
pub(crate) const MAX_VCPUS: u32 = 16;

static ALL: [PerCpu; MAX_VCPUS as usize] = [const { PerCpu::new() }; MAX_VCPUS as usize];

/// One vCPU's data.
#[repr(C)]
pub(crate) struct PerCpu {
    /// First: its own address, which is how `arch::cpu_local` finds the rest.
    this: AtomicPtr<PerCpu>,
    id: Cell<u32>,
    /// How many hold on to this vCPU. The thread and its interrupts change it, in nested pairs: plain loads and stores do.
    preempt: AtomicU32,
    /// A switch is due.
    pub(crate) switch_due: AtomicBool,
    /// In its idle thread with nothing to do: others wake it by an interrupt.
    pub(crate) idle: AtomicBool,
    /// The running thread; null until the scheduler has started here. Owns one reference.
    pub(crate) current: AtomicPtr<Thread>,
    /// The thread that runs when no other can. Owns one reference.
    pub(crate) idle_thread: AtomicPtr<Thread>,
    /// The thread that the latest switch left. Touched by this vCPU only, interrupts off.
    pub(crate) left: Cell<*const Thread>,
    /// Exited, but still the owner of the stack that it switched away from. Owns one reference.
    pub(crate) exited: AtomicPtr<Thread>,
    pub(crate) run_queue: InterruptLock<Queue>,
    /// Touched by this vCPU only, interrupts off.
    pub(crate) sleepers: SleepList,
    /// When the next sample is due, when the running thread's time slice ends, and for when the timer is set (TSC).
    pub(crate) next_sample: Cell<u64>,
    pub(crate) slice_end: Cell<u64>,
    pub(crate) timer_at: Cell<u64>,
    arch: arch::VcpuState,
}

// SAFETY: cells belong to the vCPU itself, which touches them with interrupts off or where no handler does; the rest is
// atomic or locked.
unsafe impl Sync for PerCpu {}

impl PerCpu {
    /// All zero, so that it lies in `.bss`.
    const fn new() -> Self {
        Self {
            this: AtomicPtr::new(ptr::null_mut()),
            id: Cell::new(0),
            preempt: AtomicU32::new(0),
            switch_due: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            current: AtomicPtr::new(ptr::null_mut()),
            idle_thread: AtomicPtr::new(ptr::null_mut()),
            left: Cell::new(ptr::null()),
            exited: AtomicPtr::new(ptr::null_mut()),
            run_queue: InterruptLock::new(Queue::new()),
            sleepers: SleepList::new(),
            next_sample: Cell::new(0),
            slice_end: Cell::new(0),
            timer_at: Cell::new(0),
            arch: arch::VcpuState::new(),
        }
    }

    /// Makes this vCPU the one with number `id`, and lets it take interrupts (they stay off for now).
    ///
    /// # Safety
    /// Once on each vCPU, before anything else of the kernel runs there, each with another `id` below [`MAX_VCPUS`].
    pub(crate) unsafe fn start(id: u32) {
        let this = &ALL[id as usize];
        this.id.set(id);
        this.this.store(ptr::from_ref(this).cast_mut(), Ordering::Relaxed);
        // SAFETY: static, and its first word is its address; the tables are this vCPU's own.
        unsafe {
            arch::set_cpu_local(ptr::from_ref(this));
            arch::start_interrupts(&this.arch);
        }
    }

    #[inline(always)]
    pub(crate) fn current() -> &'static Self {
        // SAFETY: `start` is the first thing that runs on each vCPU.
        unsafe { &*arch::cpu_local() }
    }

    pub(crate) fn of(vcpu: u32) -> &'static Self {
        &ALL[vcpu as usize]
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> u32 {
        self.id.get()
    }

    #[inline(always)]
    pub(crate) fn disable_preemption(&self) {
        self.preempt.store(self.preempt.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        core::sync::atomic::compiler_fence(Ordering::Acquire);
    }

    /// True when that was the last holder and a switch is due.
    #[inline(always)]
    pub(crate) fn enable_preemption(&self) -> bool {
        core::sync::atomic::compiler_fence(Ordering::Release);
        let holders = self.preempt.load(Ordering::Relaxed) - 1;
        self.preempt.store(holders, Ordering::Relaxed);
        holders == 0 && self.switch_due.load(Ordering::Relaxed)
    }

    pub(crate) fn preemptible(&self) -> bool {
        self.preempt.load(Ordering::Relaxed) == 0
    }
}
