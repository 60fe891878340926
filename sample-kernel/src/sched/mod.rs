//! Threads: each belongs to one vCPU for life, each vCPU has a run queue of its own, and the timer takes the vCPU away
//! from a thread whose time slice is over.
//!
//! A thread never moves, so another vCPU can make it runnable at any moment: only its own vCPU can run it, and that has
//! left it by then.

mod bell;
mod idle;
mod queue;
mod run;
mod sleep;
mod spawn;
mod stack;
mod thread;
mod wait;

pub(crate) use bell::{Bell, answer_bells};
pub(crate) use idle::{become_idle, run_idle};
pub(crate) use queue::Queue;
pub(crate) use run::{
    cpu_time, current_id, current_name, current_stack, is_alone, is_urgent, preempt, switch_if_possible,
    wants_switch, yield_now,
};
pub(crate) use sleep::{SleepList, sleep, sleep_until, wake_sleepers};
pub(crate) use spawn::{JoinHandle, spawn, spawn_urgent};
pub(crate) use stack::{Stack, is_below};
pub(crate) use thread::Thread;
pub(crate) use wait::WaitQueue;
