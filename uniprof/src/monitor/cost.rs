//! What this program itself takes of the host.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How often it is measured: the CPU clock of a process is exact, but a share of too short a time is not.
const EVERY: Duration = Duration::from_secs(1);

/// Measures what this process takes.
#[derive(Debug)]
pub(super) struct Cost {
    since: (Instant, Duration),
    last: Option<(f64, u64)>,
}

impl Default for Cost {
    fn default() -> Self {
        Self { since: (Instant::now(), cpu_time()), last: None }
    }
}

impl Cost {
    /// The share of one CPU in the last second or so, and the bytes of memory that are resident.
    pub(super) fn look(&mut self) -> Option<(f64, u64)> {
        let (at, before) = self.since;
        let passed = at.elapsed();
        if passed >= EVERY {
            let now = cpu_time();
            let share = now.saturating_sub(before).as_secs_f64() / passed.as_secs_f64();
            self.last = resident().map(|bytes| (share, bytes));
            self.since = (Instant::now(), now);
        }
        self.last
    }
}

/// Time of a CPU that this process has taken.
pub(super) fn cpu_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// Time of a CPU that the calling thread has taken.
pub(super) fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Bytes that are resident, as the kernel counts them.
pub(super) fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
