//! Exit codes, as documented in `--help`, and errors that carry one.

use std::fmt;
use std::process::ExitCode;

/// What scripts can tell apart. Success is 0 and needs no name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was tried and did not work.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No such guest, or more than one that could be meant.
    Target = 3,
    /// The image is not the one that the guest runs.
    Image = 4,
    /// A rule of `--fail-if` is true.
    Rule = 5,
    /// `net`, `pcap`: the guest has no network, or its probes tell of none.
    NoNetwork = 6,
    /// `ping`: it runs and will not come back.
    Wedged = 10,
    /// `ping`: it has ended or crashed.
    Dead = 11,
    /// `ping`: somebody has paused it.
    Paused = 12,
    /// `ping`: the host gives it no CPU time.
    Starved = 13,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code; everything else ends with [`Exit::Failed`].
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    sentence: String,
}

impl Failure {
    /// An error with this code and this sentence.
    pub(crate) fn error(exit: Exit, sentence: impl Into<String>) -> anyhow::Error {
        Self { exit, sentence: sentence.into() }.into()
    }
}

impl Failure {
    /// An end with this code of which all has been said.
    pub(crate) fn silent(exit: Exit) -> anyhow::Error {
        Self { exit, sentence: String::new() }.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// The code for an error, wherever in its chain of causes the code was given.
pub(crate) fn code(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Failed, |failure| failure.exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn context_keeps_the_code() {
        let error =
            Err::<(), _>(Failure::error(Exit::Image, "another build")).context("r.uniprof").unwrap_err();
        assert_eq!(code(&error), Exit::Image);
        assert_eq!(code(&anyhow::anyhow!("disk on fire")), Exit::Failed);
    }
}
