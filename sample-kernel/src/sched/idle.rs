//! What a vCPU does when it has nothing to do.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{Ordering, fence};

use super::stack::Stack;
use super::{Thread, run};
use crate::percpu::PerCpu;
use crate::probes::SwitchReason;
use crate::{arch, probes, tick};

/// Makes what runs here this vCPU's idle thread: from now on there are threads on this vCPU.
///
/// # Safety
/// Once for each vCPU, interrupts off, on the stack `stack`, which stays for ever; [`run_idle`] must follow.
pub(crate) unsafe fn become_idle(stack: Range<usize>) {
    let cpu = PerCpu::current();
    // SAFETY: as the caller promises.
    let stack = unsafe { Stack::given(stack) };
    let thread = Arc::new(Thread::idle(cpu.id(), stack));
    // Its reference to itself is never given back: an idle thread does not end.
    let thread = Arc::into_raw(thread).cast_mut();
    cpu.idle_thread.store(thread, Ordering::Relaxed);
    cpu.set_current(thread, 0);
    tick::start(cpu);
}

/// The idle thread: switches to whoever can run, else halts until an interrupt.
pub(crate) fn run_idle() -> ! {
    let cpu = PerCpu::current();
    arch::disable_interrupts();
    loop {
        cpu.idle.store(true, Ordering::SeqCst);
        // Whoever pushes a thread either is seen here, or sees this vCPU idle and interrupts its halt.
        fence(Ordering::SeqCst);
        if cpu.run_queue.lock().is_empty() {
            probes::poll();
            probes::idle_enter();
            tick::set_for_idle(cpu);
            // SAFETY: the tables are loaded, and this thread holds nothing.
            unsafe { arch::wait() };
            probes::idle_exit();
        } else {
            cpu.idle.store(false, Ordering::SeqCst);
            tick::leave_idle(cpu);
            run::switch_away(SwitchReason::Idle);
        }
    }
}
