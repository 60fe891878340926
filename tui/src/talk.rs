//! What a person at the terminal wants of whoever watches the guest, and what comes back.

use std::path::PathBuf;
use std::sync::Arc;

use uniprof_flamegraph::Measured;

use crate::picture::{Listing, Picture, Shown, Span};
use crate::state::Pane;

/// The most samples per second and vCPU that can be asked for: beyond, a guest would do little else.
pub const HIGHEST_RATE: u32 = 20_000;

/// What is wanted. Sent without waiting; each is answered by a [`Picture`] that shows it, or by an [`Answer`] of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Over how much time sums go.
    Span(Span),
    /// Which moment is shown: now, or an earlier one. Of a core there is only one.
    Show(Shown),
    /// A replay goes on, or stands still, this many times as fast as the guest was; 0 stands still.
    Speed(f64),
    /// Samples per second and vCPU.
    Rate(u32),
    /// Classes and event sites by name, as `-e` takes them, on or off.
    Record {
        /// One class or pattern.
        what: String,
        /// Whether it is to be recorded.
        on: bool,
    },
    /// Which events are told, as `trace --filter` takes it; empty: all.
    Filter(String),
    /// The source lines and instructions of a function, with hits. Answered by [`Answer::Listing`], and again whenever hits change, until another
    /// function or none is wanted.
    Listing(Option<String>),
    /// Writes what is seen to a file. Answered by [`Answer::Said`].
    Save(SaveAs, Option<PathBuf>, Seen),
    /// Takes a core of a live guest. Answered by [`Answer::Said`].
    Core,
    /// Nothing more is wanted: what was asked of the guest is withdrawn.
    Quit,
}

/// What is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The pane.
    pub pane: Pane,
    /// Which of a picture's profiles it shows, or belongs to it.
    pub measured: Measured,
}

/// As what to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveAs {
    /// The records of the time that is shown.
    Recording,
    /// A flame graph.
    Svg,
    /// A page to explore.
    Html,
    /// The tables as text, that of the pane first.
    Text,
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// How the guest looks now.
    Picture(Arc<Picture>),
    /// What was asked for of a function.
    Listing(Arc<Listing>),
    /// A sentence for the person: what was done, or why not.
    Said {
        /// Whether it was done.
        done: bool,
        /// The sentence.
        text: String,
    },
}
