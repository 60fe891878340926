//! Who runs: the run queues and the switch.

use alloc::sync::Arc;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{Ordering, fence};

use super::Thread;
use crate::percpu::PerCpu;
use crate::probes::{self, SwitchReason};
use crate::sync::InterruptsOff;
use crate::{arch, tick};

/// The running thread. `None` until the scheduler has started on this vCPU. The reference is good for as long as the
/// caller runs in that thread.
pub(super) fn current() -> Option<&'static Thread> {
    // SAFETY: a thread holds a reference to itself until it has switched away for the last time.
    unsafe { PerCpu::current().current.load(Ordering::Relaxed).as_ref() }
}

/// One more reference to the running thread.
pub(super) fn current_thread() -> Arc<Thread> {
    let thread = current().expect("only threads wait");
    // SAFETY: the thread's reference to itself came from `Arc::into_raw`.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}

/// Its number; 0 before there are threads on this vCPU.
#[inline(always)]
pub(crate) fn current_id() -> u32 {
    PerCpu::current_thread_id()
}

/// The bounds of the running thread's stack; before there are threads, the one that the vCPU booted on.
pub(crate) fn current_stack() -> Range<usize> {
    current().map_or_else(arch::boot_stack, |thread| thread.stack.range())
}

/// CPU time of the running thread so far, in TSC ticks; what interrupts took of it included.
pub(crate) fn cpu_time() -> u64 {
    let _interrupts = InterruptsOff::new();
    current().map_or(0, |thread| thread.ran.get() + (arch::now() - PerCpu::current().switched_at.get()))
}

/// The name of the running thread.
pub(crate) fn current_name() -> &'static str {
    current().map_or("boot", |thread| thread.name.as_str())
}

/// The running thread makes another one runnable.
pub(super) fn make_runnable(thread: Arc<Thread>) {
    let _interrupts = InterruptsOff::new();
    probes::woken(thread.id);
    enqueue(thread);
}

/// Puts a thread into the run queue of its vCPU, and wakes that out of its halt. Interrupts off.
pub(super) fn enqueue(thread: Arc<Thread>) {
    let vcpu = thread.vcpu;
    let home = PerCpu::of(vcpu);
    let urgent = thread.urgent;
    let mut queue = home.run_queue.lock();
    if urgent {
        queue.push_first(thread)
    } else {
        queue.push(thread)
    }
    drop(queue);
    // Either the other side sees the thread in its queue, or it is seen as idle here.
    fence(Ordering::SeqCst);
    if vcpu != PerCpu::current().id() && home.idle.load(Ordering::SeqCst) {
        arch::wake_vcpu(vcpu);
    }
}

/// Gives the vCPU to the next runnable thread, which may turn out to be the same one. Interrupts off. The running thread
/// must be in the list that it waits in.
pub(super) fn switch_away(reason: SwitchReason) {
    let cpu = PerCpu::current();
    let next = cpu.run_queue.lock().pop();
    // A thread holds a reference to itself, so the queue's may go.
    let next =
        next.map_or_else(|| cpu.idle_thread.load(Ordering::Relaxed).cast_const(), |next| Arc::as_ptr(&next));
    cpu.switch_is_made();
    let previous = cpu.current.load(Ordering::Relaxed).cast_const();
    if ptr::eq(next, previous) {
        return;
    }
    // SAFETY: both are alive: the one runs, the other is runnable on this vCPU alone.
    let (from, to) = unsafe { (&*previous, &*next) };
    assert!(!from.stack.ran_over(), "thread {} ran over the end of its stack", from.name);
    PerCpu::disable_preemption();
    probes::switch(from.id, to.id, reason);
    let now = arch::now();
    from.ran.set(from.ran.get() + (now - cpu.switched_at.replace(now)));
    cpu.set_current(next, to.id);
    cpu.left.set(previous);
    // An urgent thread comes and goes within the slice of whoever makes way for it: one that comes more often than slices end would keep
    // them from ending, and others from their turn.
    if from.urgent || to.urgent {
        tick::keep_slice(cpu)
    } else {
        tick::start_slice(cpu)
    }
    // SAFETY: interrupts are off; `to` was left by a switch on this vCPU or has never run; both pointers are this vCPU's.
    unsafe { arch::switch_context(from.stack_pointer.get(), *to.stack_pointer.get()) };
    finish_switch();
}

/// What the thread that arrives does first: it tells where the one that left goes on, and buries it if it has ended, for nobody can free
/// the stack that he stands on.
pub(super) fn finish_switch() {
    let cpu = PerCpu::current();
    // SAFETY: it left a moment ago, and has not been buried yet if it has ended.
    if let Some(left) = unsafe { cpu.left.get().as_ref() } {
        // SAFETY: written by the switch on this vCPU.
        probes::saved(left.id, &arch::saved(unsafe { *left.stack_pointer.get() }));
    }
    let exited = cpu.exited.swap(ptr::null_mut(), Ordering::Relaxed);
    if !exited.is_null() {
        // SAFETY: the ended thread left its reference to itself there, and runs no more.
        drop(unsafe { Arc::from_raw(exited.cast_const()) });
    }
    // Interrupts are off, so a switch that is due happens with the next one.
    let _ = PerCpu::enable_preemption();
}

/// Ends the running thread, whose work is done.
pub(super) fn exit() -> ! {
    let thread = current().expect("only threads end");
    probes::thread_exit(thread.id);
    thread.exited.store(1, Ordering::Release);
    thread.joiners.wake_all();
    arch::disable_interrupts();
    PerCpu::current().exited.store(ptr::from_ref(thread).cast_mut(), Ordering::Relaxed);
    switch_away(SwitchReason::Exited);
    unreachable!("thread {} ran after its end", thread.name)
}

/// Lets the other runnable threads of this vCPU run first.
pub(crate) fn yield_now() {
    requeue(SwitchReason::Yielded);
}

fn requeue(reason: SwitchReason) {
    let _interrupts = InterruptsOff::new();
    let thread = current_thread();
    PerCpu::current().run_queue.lock().push(thread);
    switch_away(reason);
}

/// Whether the timer interrupt shall end in a switch. The idle thread looks for itself.
pub(crate) fn wants_switch() -> bool {
    let cpu = PerCpu::current();
    cpu.wants_switch() && runs_thread(cpu)
}

fn runs_thread(cpu: &PerCpu) -> bool {
    let current = cpu.current.load(Ordering::Relaxed);
    !current.is_null() && current != cpu.idle_thread.load(Ordering::Relaxed)
}

/// Takes the vCPU from the interrupted thread; on its stack, interrupts off. Whoever only makes way for an urgent thread is next after it.
pub(crate) fn preempt() {
    let thread = current_thread();
    let mut queue = PerCpu::current().run_queue.lock();
    match queue.is_urgent().then(|| queue.pop()).flatten() {
        Some(urgent) => {
            queue.push_first(thread);
            queue.push_first(urgent);
        }
        None => queue.push(thread),
    }
    drop(queue);
    switch_away(SwitchReason::Preempted);
}

/// Whether the running thread goes before others.
pub(crate) fn is_urgent() -> bool {
    current().is_some_and(|thread| thread.urgent)
}

/// Whether no other thread of this vCPU could run.
pub(crate) fn is_alone() -> bool {
    PerCpu::current().run_queue.lock().is_empty()
}

/// Makes up for a switch that had to wait for the end of a [`NoPreempt`](crate::sync::NoPreempt).
#[cold]
pub(crate) fn switch_if_possible() {
    if arch::interrupts_enabled() && runs_thread(PerCpu::current()) {
        requeue(SwitchReason::Preempted);
    }
}
