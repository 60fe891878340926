//! Keeping others out: for a moment (`spin`), from this vCPU (`preempt`), or for as long as it takes (`mutex`).

mod contention;
mod mutex;
mod preempt;
mod spin;

pub(crate) use contention::Contention;
pub(crate) use mutex::Mutex;
pub(crate) use preempt::NoPreempt;
pub(crate) use spin::{InterruptLock, InterruptsOff, RawSpinLock, SpinLock};
