//! The panes.

/// What is shown of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pane {
    /// Figures of the whole guest.
    #[default]
    Overview,
    /// Functions with their own and total amounts.
    Functions,
    /// Who calls what.
    Tree,
    /// The same as a picture.
    Flame,
    /// Threads, and what they wait for.
    Threads,
    /// Events as they come, and sums by name.
    Events,
    /// Locks that threads wait for.
    Locks,
    /// The heap.
    Memory,
    /// Source and machine code of a function.
    Source,
}

impl Pane {
    /// In the order of their number keys.
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Functions,
        Self::Tree,
        Self::Flame,
        Self::Threads,
        Self::Events,
        Self::Locks,
        Self::Memory,
        Self::Source,
    ];

    /// What its tab says.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Functions => "Functions",
            Self::Tree => "Tree",
            Self::Flame => "Flame",
            Self::Threads => "Threads",
            Self::Events => "Events",
            Self::Locks => "Locks",
            Self::Memory => "Memory",
            Self::Source => "Source",
        }
    }

    /// The pane so many tabs further, round and round.
    pub(crate) fn after(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }
}
