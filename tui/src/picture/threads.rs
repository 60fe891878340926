//! Threads, and the locks that they wait for.

use std::sync::Arc;

/// One thread.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRow {
    /// Its number.
    pub id: u32,
    /// Its name; empty where it has none.
    pub name: String,
    /// `ready`, `running`, `blocked`, `sleeping` or `exited`.
    pub state: &'static str,
    /// Where it runs, or last ran.
    pub vcpu: u32,
    /// Of one vCPU's time in the last second, 0 to 1.
    pub cpu_share: Option<f64>,
    /// CPU time since its begin, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Since when it is in its state, in seconds.
    pub since_seconds: Option<f64>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// The thread that holds what it waits for.
    pub held_by: Option<u32>,
    /// The innermost function that is not the scheduler's.
    pub function: Option<String>,
    /// Its stack, the innermost frame first; empty where it is not known.
    pub stack: Arc<[String]>,
}

/// One lock.
#[derive(Debug, Clone, PartialEq)]
pub struct LockRow {
    /// What it is called, or its address.
    pub name: String,
    /// The thread that holds it now.
    pub holder: Option<u32>,
    /// Threads that wait for it now.
    pub waiters: Vec<u32>,
    /// Waits within the picture's span.
    pub waits: u64,
    /// Time waited within the picture's span, in nanoseconds, in sum and at most.
    pub waited_ns: u64,
    /// As above, the longest one.
    pub longest_ns: u64,
    /// The function that held it longest while others waited.
    pub held_in: Option<String>,
}
