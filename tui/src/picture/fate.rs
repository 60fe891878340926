//! What became of a guest.

/// What became of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Runs,
    /// It stands still: its VMM has paused it.
    Paused,
    /// Its vCPUs show no sign of life, and why.
    Wedged(String),
    /// It has ended by itself; with how, where that is known.
    Exited(Option<String>),
    /// It has crashed; with its last words.
    Crashed(String),
    /// Its VMM is gone; with how, where that is known.
    VmmGone(Option<String>),
    /// The recording's end; with how the recording ended.
    EndOfRecording(String),
}

impl Fate {
    /// Whether nothing more will come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::Crashed(_) | Self::VmmGone(_))
    }
}
