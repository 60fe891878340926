//! Keeping others out: for a moment (`spin`), from this vCPU (`preempt`), or for as long as it takes (`mutex`).

mod mutex;
mod preempt;
mod spin;

pub(crate) use mutex::Mutex;
pub(crate) use preempt::NoPreempt;
pub(crate) use spin::{InterruptLock, InterruptsOff, RawSpinLock};
