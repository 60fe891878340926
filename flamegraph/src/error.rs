//! What can go wrong when a picture or a file is made of a profile.

use std::io;

/// Why no output was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The profile, or what a filter left of it, has no samples.
    #[error("no samples: there is nothing to draw; record for longer, or loosen the thread or vCPU filter")]
    NoSamples,
    /// The output did not take what was written.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
}
