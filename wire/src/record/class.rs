//! Classes: what records are counted under, and switched on and off by.

/// Counters of classes that a ring has for each slot; more than there are classes, so that new ones move nothing.
pub const CLASSES: usize = 16;

/// What emitted and lost records are counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// CPU samples.
    Sample = 0,
    /// Trace events.
    Event = 1,
    /// Beginnings and ends of spans.
    Span = 2,
    /// Thread switches.
    Switch = 3,
    /// Values of counters and gauges.
    Counter = 4,
    /// Log lines and marks.
    Log = 5,
    /// Thread starts and exits.
    Thread = 6,
    /// Where threads left the CPU to wait, who woke them, and when they came back.
    OffCpu = 7,
    /// Waits for locks, and who made others wait.
    Lock = 8,
    /// Interrupts.
    Irq = 9,
    /// Sampled blocks of the heap that were allocated or given back.
    Heap = 10,
    /// Calls of the kernel's own interface.
    Call = 11,
    /// Packets, and states of connections.
    Net = 12,
    /// Padding; nothing is counted under it.
    Other = 13,
}

impl Class {
    /// Every class, in the order of the counters.
    pub const ALL: [Self; 14] = [
        Self::Sample,
        Self::Event,
        Self::Span,
        Self::Switch,
        Self::Counter,
        Self::Log,
        Self::Thread,
        Self::OffCpu,
        Self::Lock,
        Self::Irq,
        Self::Heap,
        Self::Call,
        Self::Net,
        Self::Other,
    ];

    /// Bits of all classes that something records.
    pub const RECORDED: u64 = Self::Other.bit() - 1;

    /// Bits of the classes that cost little enough to be on at all times: all but those that come with a stack or with each call,
    /// interrupt or packet.
    pub const LIGHT: u64 = Self::OffCpu.bit() - 1;

    /// A word for people, JSON and the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sample => "samples",
            Self::Event => "events",
            Self::Span => "spans",
            Self::Switch => "switches",
            Self::Counter => "counters",
            Self::Log => "logs",
            Self::Thread => "threads",
            Self::OffCpu => "off-cpu",
            Self::Lock => "locks",
            Self::Irq => "irq",
            Self::Heap => "heap",
            Self::Call => "calls",
            Self::Net => "net",
            Self::Other => "other",
        }
    }

    /// Its bit in a mask of classes.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}
