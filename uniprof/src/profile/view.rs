//! What of a recording is looked at: what ran, or what did not.

use uniprof_flamegraph::Measured;
use uniprof_wire::record::Class;

/// A view of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// Samples of what ran.
    #[default]
    Cpu,
    /// Where threads were blocked.
    OffCpu,
    /// Who ended that.
    Wakeups,
    /// Who made others wait for locks.
    Locks,
    /// What is allocated.
    LiveHeap,
    /// What was allocated.
    AllocatedHeap,
}

impl View {
    /// What its profile measures.
    pub(crate) fn measured(self) -> Measured {
        match self {
            Self::Cpu => Measured::Cpu,
            Self::OffCpu => Measured::OffCpu,
            Self::Wakeups => Measured::Wakeups,
            Self::Locks => Measured::Locks,
            Self::LiveHeap => Measured::LiveHeap,
            Self::AllocatedHeap => Measured::AllocatedHeap,
        }
    }

    /// The class of records that it is made of.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Cpu => Class::Sample,
            Self::OffCpu | Self::Wakeups => Class::OffCpu,
            Self::Locks => Class::Lock,
            Self::LiveHeap | Self::AllocatedHeap => Class::Heap,
        }
    }

    /// Whether it is about bytes, not time.
    pub(crate) fn is_heap(self) -> bool {
        matches!(self, Self::LiveHeap | Self::AllocatedHeap)
    }

    /// Its name in JSON documents and in the names of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OffCpu => "off-cpu",
            Self::Wakeups => "wakeup",
            Self::Locks => "locks",
            Self::LiveHeap => "heap",
            Self::AllocatedHeap => "heap-allocated",
        }
    }
}
