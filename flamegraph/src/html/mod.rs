//! One HTML file that holds a profile and the viewer for it: it opens from a disk, without a network or a server.
//!
//! The profile is written as it is, not as a picture: strings, frames, stacks and samples per thread and vCPU, from
//! which the viewer builds its trees. So nothing is pruned, and threads can be chosen in the browser. Writing takes one
//! pass over each; the only memory that grows with the profile is two bits for each of its nodes, and some bytes for each name and frame.
//! `docs/html-viewer.md` has the data format.

mod column;
mod data;
mod json;
mod page;
mod used;

use std::io::Write;

use crate::error::RenderError;
use crate::profile::Profile;
use crate::svg::Width;
use crate::title::Title;
use crate::tree::Direction;

/// How the viewer starts; its reader can change each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HtmlOptions {
    /// What the width of a frame means.
    pub width: Width,
    /// The root at the top (an icicle graph) rather than at the bottom.
    pub inverted: bool,
    /// Which end of the stacks is the root.
    pub direction: Direction,
}

/// Writes `profile` with its viewer. The same profile always gives the same bytes.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn html(
    profile: &Profile,
    title: &Title,
    options: &HtmlOptions,
    mut out: impl Write,
) -> Result<(), RenderError> {
    if profile.total().samples == 0 {
        return Err(RenderError::NoSamples);
    }
    page::write(&mut out, &title.heading(), |out| data::write(profile, title, options, out))?;
    Ok(())
}
