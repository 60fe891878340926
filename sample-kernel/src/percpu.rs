//! What each vCPU has for itself. Found through a register; nobody writes another vCPU's part, except through the atomics
//! and the lock of the run queue.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::arch;
use crate::sched::{Queue, SleepList, Thread};
use crate::sync::InterruptLock;

/// A vCPU's number is its APIC identifier. Those have gaps where a machine has sockets of, say, three cores: the row then ends at
/// the first gap.
pub(crate) const MAX_VCPUS: u32 = 16;

static ALL: [PerCpu; MAX_VCPUS as usize] = [const { PerCpu::new() }; MAX_VCPUS as usize];

/// Bit of [`PerCpu::preempt`] that is set while no switch is due.
const NO_SWITCH_DUE: u32 = 1 << 31;

/// One vCPU's data.
#[repr(C)]
pub(crate) struct PerCpu {
    /// First: its own address, which is how `arch::cpu_local` finds the rest.
    this: AtomicPtr<PerCpu>,
    id: Cell<u32>,
    /// How many hold on to this vCPU, and [`NO_SWITCH_DUE`]: so 0 means that a switch is due and may be made.
    preempt: AtomicU32,
    /// Number of the running thread; 0 before there are threads.
    thread: AtomicU32,
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
    /// When it came to the running thread (TSC). Touched by this vCPU only, interrupts off.
    pub(crate) switched_at: Cell<u64>,
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
            thread: AtomicU32::new(0),
            idle: AtomicBool::new(false),
            current: AtomicPtr::new(ptr::null_mut()),
            idle_thread: AtomicPtr::new(ptr::null_mut()),
            left: Cell::new(ptr::null()),
            exited: AtomicPtr::new(ptr::null_mut()),
            switched_at: Cell::new(0),
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
        this.preempt.store(NO_SWITCH_DUE, Ordering::Relaxed);
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

    /// The number of the vCPU that this runs on.
    #[inline(always)]
    pub(crate) fn current_id() -> u32 {
        // SAFETY: `start` is the first thing that runs on each vCPU; the field is a word of 32 bits.
        unsafe { arch::cpu_local_word::<{ offset_of!(Self, id) }>() }
    }

    /// The number of the running thread; 0 before there are threads on this vCPU.
    #[inline(always)]
    pub(crate) fn current_thread_id() -> u32 {
        // SAFETY: as above.
        unsafe { arch::cpu_local_word::<{ offset_of!(Self, thread) }>() }
    }

    /// Another thread runs from now on.
    pub(crate) fn set_current(&self, thread: *const Thread, id: u32) {
        self.current.store(thread.cast_mut(), Ordering::Relaxed);
        self.thread.store(id, Ordering::Relaxed);
    }

    /// Holds on to the vCPU that this runs on. One instruction, because interrupts change the word, too.
    #[inline(always)]
    pub(crate) fn disable_preemption() {
        // SAFETY: as above.
        unsafe { arch::cpu_local_increment::<{ offset_of!(Self, preempt) }>() }
    }

    /// Lets go of it. True when that was the last holder and a switch is due.
    #[inline(always)]
    pub(crate) fn enable_preemption() -> bool {
        // SAFETY: as above.
        unsafe { arch::cpu_local_decrement::<{ offset_of!(Self, preempt) }>() }
    }

    /// A switch is due from now on; of the vCPU that this runs on.
    pub(crate) fn ask_for_switch(&self) {
        self.preempt.fetch_and(!NO_SWITCH_DUE, Ordering::Relaxed);
    }

    /// The switch that was due is made.
    pub(crate) fn switch_is_made(&self) {
        self.preempt.fetch_or(NO_SWITCH_DUE, Ordering::Relaxed);
    }

    /// Whether a switch is due, and nobody holds on to the vCPU.
    pub(crate) fn wants_switch(&self) -> bool {
        self.preempt.load(Ordering::Relaxed) == 0
    }
}
