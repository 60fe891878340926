//! All that is known of a guest at one moment, ready to be drawn.
//!
//! A picture is bounded, whatever the guest does: whoever makes it merges the rarest stacks, and keeps the last events only. So drawing it takes
//! milliseconds.

mod events;
mod fate;
mod listing;
mod memory;
mod overview;
mod subject;
mod threads;

use std::sync::Arc;

use uniprof_flamegraph::Profile;

pub use events::{EventLine, EventName, Events};
pub use fate::Fate;
pub use listing::{InstructionLine, Listing, SourceLine};
pub use memory::{HeapSite, Memory};
pub use overview::{Loss, Overview, VcpuNow};
pub use subject::{Can, Kind, Subject};
pub use threads::{LockRow, ThreadRow};

/// What may not be known, with the reason and what to do about it, such as `nothing recorded: switch on off-cpu with e`.
pub type Known<T> = Result<T, String>;

/// One moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Counts up: a later picture of the same guest has a larger one.
    pub number: u64,
    /// Which moment it is.
    pub time: Time,
    /// Over how much time its sums go.
    pub span: Span,
    /// Who is seen.
    pub subject: Arc<Subject>,
    /// What became of it.
    pub fate: Fate,
    /// The thread on which it crashed, where it did.
    pub culprit: Option<u32>,
    /// Figures of the whole guest.
    pub overview: Overview,
    /// What ran: of samples within the span, at most some ten thousand stacks.
    pub cpu: Known<Arc<Profile>>,
    /// Where the following three go over less than the span.
    pub shorter: Shorter,
    /// Where threads waited, within the span.
    pub off_cpu: Known<Arc<Profile>>,
    /// Whom they waited for, within the span.
    pub locks: Known<Arc<Profile>>,
    /// What is allocated.
    pub heap: Known<Arc<Profile>>,
    /// Threads by id; without those that have ended.
    pub threads: Known<Arc<[ThreadRow]>>,
    /// The last events that the filter lets through, and sums by name.
    pub events: Known<Arc<Events>>,
    /// Locks that somebody waits for or has waited for.
    pub lock_rows: Known<Arc<[LockRow]>>,
    /// The heap.
    pub memory: Known<Arc<Memory>>,
    /// Event sites by name and classes, and whether they are on; what can be switched.
    pub switches: Arc<[Switch]>,
    /// The rate that is in effect, in samples per second and vCPU; 0 off; `None` where nothing has told it yet.
    pub rate: Option<u32>,
    /// What a person has to know: a wrong ELF file, a guest inconsistent.
    pub notes: Arc<[String]>,
}

/// Over how much time figures of waits go and why, where that is less than the span, such as `of the last 12.3 s: older waits are not kept`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shorter {
    /// Of [`Picture::off_cpu`].
    pub off_cpu: Option<String>,
    /// Of [`Picture::locks`] and [`Picture::lock_rows`].
    pub locks: Option<String>,
}

/// Something that can be recorded or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The class's or site's name.
    pub name: String,
    /// Whether it is a class of records; else it is an event site.
    pub is_class: bool,
    /// Whether it is recorded.
    pub on: bool,
}

/// Which moment a picture is of, and which there are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Time {
    /// Seconds from the guest's boot to the moment.
    pub at: f64,
    /// Nanoseconds since 1970 of the moment, where that is known.
    pub wall_ns: Option<u64>,
    /// The first and the last moment that can be shown, in seconds since the guest's boot.
    pub range: (f64, f64),
    /// Whether it is the guest's present, or a replay that runs on; else it stands still.
    pub runs: bool,
    /// How many times as fast as the guest a replay goes.
    pub speed: f64,
}

/// Which moment is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shown {
    /// The present, or the end of a recording.
    Now,
    /// So many seconds after the guest's boot.
    At(f64),
}

/// Over how much time sums go.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Span {
    /// The last seconds.
    Last(f64),
    /// Everything, the older the less: what is this many seconds old counts half.
    Decay(f64),
    /// Everything.
    #[default]
    All,
}
