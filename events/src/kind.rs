//! What an event is.

use uniprof_wire::record::Class;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// `event!`
    Event,
    /// A span opened.
    SpanBegin,
    /// A span closed.
    SpanEnd,
    /// A new value of what only grows.
    Counter,
    /// A new value of what goes up and down.
    Gauge,
    /// A call of the kernel's interface returned.
    Call,
    /// Another thread got the CPU.
    Switch,
    /// A thread started or ended.
    Thread,
    /// A thread left the CPU, to wait.
    Park,
    /// It got the CPU back.
    Resume,
    /// A thread was made ready to run.
    Wake,
    /// A lock was taken after a wait.
    LockWait,
    /// A lock was released that somebody waited for.
    LockHold,
    /// An interrupt was served.
    Interrupt,
    /// A sampled block was allocated.
    Allocation,
    /// A sampled block was given back.
    Free,
    /// A packet came in or went out.
    Packet,
    /// A connection changed its state.
    Connection,
    /// A line of the guest's log.
    Log,
    /// A line that an observer asked for.
    Mark,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Event,
        Self::SpanBegin,
        Self::SpanEnd,
        Self::Counter,
        Self::Gauge,
        Self::Call,
        Self::Switch,
        Self::Thread,
        Self::Park,
        Self::Resume,
        Self::Wake,
        Self::LockWait,
        Self::LockHold,
        Self::Interrupt,
        Self::Allocation,
        Self::Free,
        Self::Packet,
        Self::Connection,
        Self::Log,
        Self::Mark,
    ];

    /// A word for JSON and filters; also the name of an event that has no site.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::SpanBegin => "span_begin",
            Self::SpanEnd => "span_end",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Call => "call",
            Self::Switch => "switch",
            Self::Thread => "thread",
            Self::Park => "park",
            Self::Resume => "resume",
            Self::Wake => "wake",
            Self::LockWait => "lock_wait",
            Self::LockHold => "lock_hold",
            Self::Interrupt => "interrupt",
            Self::Allocation => "allocation",
            Self::Free => "free",
            Self::Packet => "packet",
            Self::Connection => "connection",
            Self::Log => "log",
            Self::Mark => "mark",
        }
    }

    /// What its records are counted under.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Event => Class::Event,
            Self::SpanBegin | Self::SpanEnd => Class::Span,
            Self::Counter | Self::Gauge => Class::Counter,
            Self::Call => Class::Call,
            Self::Switch => Class::Switch,
            Self::Thread => Class::Thread,
            Self::Park | Self::Resume | Self::Wake => Class::OffCpu,
            Self::LockWait | Self::LockHold => Class::Lock,
            Self::Interrupt => Class::Irq,
            Self::Allocation | Self::Free => Class::Heap,
            Self::Packet | Self::Connection => Class::Net,
            Self::Log | Self::Mark => Class::Log,
        }
    }

    /// Whether its name is that of a site.
    #[must_use]
    pub const fn has_site(self) -> bool {
        matches!(
            self,
            Self::Event | Self::SpanBegin | Self::SpanEnd | Self::Counter | Self::Gauge | Self::Call
        )
    }

    /// Whether its latencies are worth percentiles: something began and ended.
    #[must_use]
    pub const fn has_duration(self) -> bool {
        matches!(
            self,
            Self::SpanEnd | Self::Call | Self::Resume | Self::LockWait | Self::LockHold | Self::Interrupt
        )
    }
}
