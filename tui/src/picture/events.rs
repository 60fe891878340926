//! Events: the last ones, and sums by name.

/// Events within the picture's span.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// The last ones that the filter lets through, the oldest first; at most a thousand.
    pub tail: Vec<EventLine>,
    /// Sums by name, filtered or not.
    pub names: Vec<EventName>,
    /// The filter that is in effect, and where it is mistaken.
    pub filter: Result<String, String>,
    /// How many events the filter has held back.
    pub hidden: u64,
}

/// One event as a line.
#[derive(Debug, Clone, PartialEq)]
pub struct EventLine {
    /// Counts up from one event to the next: tells a selected one after the list has moved.
    pub number: u64,
    /// Seconds since the guest's boot.
    pub at: f64,
    /// On which vCPU.
    pub vcpu: u32,
    /// On which thread, by name.
    pub thread: String,
    /// Its name.
    pub name: String,
    /// Its arguments, with names, and its result or duration.
    pub text: String,
}

/// Sums of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct EventName {
    /// The name.
    pub name: String,
    /// `event`, `span`, `counter`, `gauge`, `call`, `park` …
    pub kind: &'static str,
    /// Events in the span.
    pub count: u64,
    /// Events per second in the last second.
    pub rate: f64,
    /// Of what has a duration: latencies in the span in nanoseconds, p50, p99 and the longest.
    pub latency_ns: Option<[u64; 3]>,
    /// Of what has a duration: a histogram, for each power of two in nanoseconds from 2^0 on.
    pub histogram: Vec<u64>,
    /// Of counters and gauges: the last value.
    pub value: Option<f64>,
}
