//! How threads begin and how others wait for their end.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::Ordering;

use super::stack::Stack;
use super::{Thread, run};
use crate::probes::{Wait, WaitKind};
use crate::{arch, probes};

/// Starts a thread on a vCPU, for as long as `body` runs.
pub(crate) fn spawn<F>(vcpu: u32, name: String, body: F) -> JoinHandle
where
    F: FnOnce() + Send + 'static,
{
    start(vcpu, name, false, body)
}

/// Starts a thread that goes before all others of its vCPU whenever it can run. It must leave them their time by itself.
pub(crate) fn spawn_urgent<F>(vcpu: u32, name: String, body: F) -> JoinHandle
where
    F: FnOnce() + Send + 'static,
{
    start(vcpu, name, true, body)
}

fn start<F>(vcpu: u32, name: String, urgent: bool, body: F) -> JoinHandle
where
    F: FnOnce() + Send + 'static,
{
    let stack = Stack::new();
    let entry = thread_entry::<F>;
    // SAFETY: the stack is new, and ends at a page border.
    let stack_pointer = unsafe { arch::first_stack_pointer(stack.range().end, entry) };
    let body = Box::into_raw(Box::new(body)).cast();
    let thread = Thread { urgent, ..Thread::new(name, vcpu, stack, stack_pointer, body) };
    let thread = Arc::new(thread);
    probes::thread_start(thread.id, &thread.name, thread.stack.range(), entry as *const () as usize);
    probes::saved(thread.id, &arch::saved_first(stack_pointer, entry));
    // The thread's reference to itself.
    core::mem::forget(Arc::clone(&thread));
    run::make_runnable(Arc::clone(&thread));
    JoinHandle { thread }
}

/// Where every thread begins: one instance for each kind of body, so that the outermost frame of a stack says which.
extern "C" fn thread_entry<F: FnOnce()>() -> ! {
    run::finish_switch();
    // SAFETY: a thread is the first to enable interrupts on its stack; it holds nothing yet.
    unsafe { arch::enable_interrupts() };
    let thread = run::current().expect("a thread was switched to");
    let body: *mut F = thread.body.replace(core::ptr::null_mut()).cast();
    // SAFETY: `spawn` boxed this very type for this thread, which takes it once.
    let body = unsafe { Box::from_raw(body) };
    body();
    run::exit()
}

/// Waits for a thread's end.
pub(crate) struct JoinHandle {
    thread: Arc<Thread>,
}

impl JoinHandle {
    /// Blocks until the thread has ended.
    pub(crate) fn join(self) {
        let thread = &*self.thread;
        let wait = Wait {
            kind: WaitKind::Join,
            address: ptr::from_ref(&thread.joiners).addr(),
            word: ptr::from_ref(&thread.exited).addr(),
            owner: thread.id,
            until: 0,
        };
        thread.joiners.wait_until(|| wait, || thread.exited.load(Ordering::Acquire) != 0);
    }
}
