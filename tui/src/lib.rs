//! A guest in a terminal: live, replayed from a recording, or as a core left it.
//!
//! ```text
//!   whoever watches the guest ──Answer──► State ──update──► State ──view──► terminal
//!             ▲                              ▲  │
//!             └───────────Request────────────┼──┘
//!                                        key, mouse
//! ```
//!
//! A [`Picture`](picture::Picture) is all that is known of a guest at one moment. It is made elsewhere, a few times a second, and never
//! changes afterwards; keys move a state over it. Nothing here knows a guest, a file or a symbol: what has to be done there is a
//! [`Request`], and what comes of it an [`Answer`].
//!
//! | module | what it is |
//! |---|---|
//! | [`picture`] | what is known of a guest |
//! | `talk` | what is asked, what is answered |
//! | `tables` | what is worked out of a picture once, on a thread of its own |
//! | `state` | where one looks |
//! | `update` | what a key, a click or an answer changes |
//! | `view` | the screen as a function of the state, a file for each pane |
//! | `run`, `terminal` | the loop, and the terminal that is given back as it was |
//!
//! [`run()`] is all of it:
//!
//! ```no_run
//! let (answers, from_watcher) = crossbeam_channel::unbounded();
//! let (to_watcher, requests) = crossbeam_channel::unbounded();
//! # let _: (crossbeam_channel::Sender<uniprof_tui::Answer>, crossbeam_channel::Receiver<uniprof_tui::Request>) = (answers, requests);
//! // Another thread sends pictures to `answers`, and does what comes from `requests`.
//! let outcome = uniprof_tui::run(from_watcher, to_watcher, uniprof_tui::Options::from_environment())?;
//! # Ok::<(), uniprof_tui::TuiError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod options;
pub mod picture;
mod run;
mod state;
mod tables;
mod talk;
mod terminal;
#[cfg(test)]
mod tests;
mod update;
mod view;

pub use error::TuiError;
pub use options::{Colours, Options};
pub use run::{Outcome, run};
pub use state::Pane;
pub use talk::{Answer, HIGHEST_RATE, Request, SaveAs, Seen};
