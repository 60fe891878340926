//! What is not on the CPU: records of leaving and coming back, of waking and of locks, joined to intervals.
//!
//! ```text
//!  Park ────┐  (thread, TSC of the park)
//!  Resume ──┼─► OffCpu ──► Wait: from when to when, where, why, woken by whom and where, how long it then waited for a CPU
//!  Wake ────┘  (thread, TSC of the wake)
//!
//!  LockWait ┐  (lock, time)
//!  LockHold ┴─► Locks ───► Blame: who held the lock during which part of whose wait
//!
//!  Allocation ┐ (address, time)
//!  Free ──────┴─► Blocks ─► Block: what was allocated and not given back
//!
//!  Switch ───┐ (thread, time)
//!  Resume ───┼─► States ─► Interval: what each thread was in, running, ready or waiting, from its start to its end
//!  Thread ───┘
//! ```
//!
//! Records of one thread lie in the rings of all vCPUs, and rings are read one after the other: none of this depends on the order
//! in which records come. It is pure: no clock, no file, no guest; times are TSC ticks. Stacks are kept once each, in [`Stacks`].
//!
//! Nothing is dropped in silence: a wait whose beginning was lost has no stack, and says so; what can not be told at all is counted
//! in [`Unpaired`].

mod blocks;
mod locks;
mod off_cpu;
mod stacks;
mod states;

pub use blocks::{Block, Blocks};
pub use locks::{Blame, Holder, LockWait, Locks};
pub use off_cpu::{OffCpu, Unpaired, Wait, Waker};
pub use stacks::{StackId, Stacks};
pub use states::{Interval, State, States};

/// Most records of one kind that wait for their partners; what comes beyond that is counted as left out.
const MOST: usize = 1 << 22;

/// From when to when there are records, TSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub begin: u64,
    /// The last one.
    pub end: u64,
}
