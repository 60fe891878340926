//! What can go wrong when a picture or a file is made of a profile.

use std::io;

/// Why no output was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The profile, or what a filter left of it, has no samples.
    #[error("no samples: there is nothing to draw; record for longer, or loosen the thread or vCPU filter")]
    NoSamples,
    /// The format places every sample in time, and the profile has only sums.
    #[error(
        "{format} needs the time of every sample, which this input does not have; export a recording, or use pprof, \
         speedscope, firefox, json or folded"
    )]
    NoTimes {
        /// The format's name.
        format: &'static str,
    },
    /// The output did not take what was written.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
}
