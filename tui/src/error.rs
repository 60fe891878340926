//! Why there is no terminal interface.

use std::io;

/// Why there is no terminal interface.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// Input or output is redirected.
    #[error(
        "{0} is not a terminal: run this in one, or use `uniprof top --once` (with --json for programs) to print what is seen"
    )]
    NotATerminal(&'static str),
    /// The terminal refused.
    #[error("the terminal can't be {what}: {source}; does TERM name what it is?")]
    Terminal {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A thread can't be started.
    #[error("no thread can be started to {what}: {source}")]
    Thread {
        /// What for.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl TuiError {
    pub(crate) fn terminal(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Terminal { what, source }
    }
}
