//! What happened when, besides samples: what trace viewers draw as slices, points and curves on tracks.

/// Something that a track is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Track {
    /// What a thread did: its spans and calls.
    Thread(u32),
    /// Whether a thread ran, was ready or waited.
    State(u32),
    /// The interrupts of a vCPU.
    Interrupts(u32),
    /// Spans that went from thread to thread, by name.
    Across(String),
    /// A counter or a gauge, by name.
    Counter(String),
    /// What the guest wrote to its console.
    Console,
    /// What happened to the guest's clock: pauses.
    Clock,
}

/// What is on a track.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// Something that lasted until then, in nanoseconds since the guest's boot.
    Slice {
        /// The end.
        end: u64,
    },
    /// Something that happened.
    Instant,
    /// A new value.
    Value(f64),
}

/// One mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Where.
    pub track: Track,
    /// When it was, or began: nanoseconds since the guest's boot.
    pub at: u64,
    /// What it is.
    pub mark: Mark,
    /// Its name.
    pub name: String,
    /// A word for its kind, such as `span` or `state`.
    pub category: &'static str,
    /// What else is known of it.
    pub details: Vec<(String, String)>,
}

/// All that happened, in any order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// One by one.
    pub moments: Vec<Moment>,
    /// Names of threads.
    pub threads: std::collections::BTreeMap<u32, String>,
}
