//! Figures of the whole guest.

/// Figures of the whole guest. Rates and shares are of the last second before the moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overview {
    /// vCPUs in order of their numbers.
    pub vcpus: Vec<VcpuNow>,
    /// Threads that could run and do not.
    pub run_queue: usize,
    /// Threads that there are.
    pub threads: usize,
    /// Samples per second.
    pub samples_rate: f64,
    /// Records of other kinds per second.
    pub events_rate: f64,
    /// Records lost per second.
    pub loss_rate: f64,
    /// Samples within the picture's span.
    pub samples: u64,
    /// What was lost since one looks.
    pub loss: Loss,
    /// The profiler's share of vCPU time, 0 to 1.
    pub own_cost: Option<f64>,
    /// This program's share of one CPU of the host, 0 to 1, and its memory in bytes.
    pub collector: Option<(f64, u64)>,
    /// The last minute, a value a second, the newest last: use of all vCPUs (0 to 1), samples, events, losses.
    pub history: Vec<[f64; 4]>,
}

/// One vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VcpuNow {
    /// Its number.
    pub id: u32,
    /// Shares of its time, 0 to 1: in threads, in interrupt handlers (where that is recorded), idle.
    pub busy: f64,
    /// As above; `None` where the class `irq` is off.
    pub irq: Option<f64>,
    /// As above.
    pub idle: f64,
    /// Interrupts per second, where the class `irq` is on.
    pub interrupts: Option<f64>,
    /// The thread that runs on it.
    pub thread: Option<u32>,
}

/// What was lost, by cause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loss {
    /// Records that came.
    pub received: u64,
    /// Records that did not.
    pub lost: u64,
    /// By cause, without those that did not occur.
    pub causes: Vec<(&'static str, u64)>,
}
