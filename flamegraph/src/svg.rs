//! An interactive SVG, drawn by inferno from the merged and pruned tree.

use std::io::Write;

use inferno::flamegraph::color::{BackgroundColor, MultiPalette, Palette};
use inferno::flamegraph::{self, Direction as Growth, Options, TextTruncateDirection};

use crate::error::RenderError;
use crate::folded::write_tree;
use crate::profile::{Amount, Profile};
use crate::title::Title;
use crate::tree::{CallTree, Direction, Measure, Order, PruneReport, Pruned};

/// What the width of a frame means.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Width {
    /// The number of samples.
    #[default]
    Samples,
    /// vCPU time, shown in microseconds.
    Time {
        /// How many units of weight make a second (the guest's TSC frequency).
        weight_per_second: f64,
    },
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvgOptions {
    /// What the width of a frame means.
    pub width: Width,
    /// The root at the top (an icicle graph) rather than at the bottom.
    pub inverted: bool,
    /// Which end of the stacks is the root.
    pub direction: Direction,
    /// Frames narrower than this share (0 to 1) are left out before anything is drawn; what they hold stays part of the
    /// width of their caller.
    pub min_share: f64,
    /// No more frames than this are drawn, the widest: browsers can't do much with tens of megabytes of SVG.
    pub max_frames: usize,
}

impl Default for SvgOptions {
    /// By samples, root at the bottom, without frames that would be narrower than a tenth of a pixel, 20,000 at most.
    fn default() -> Self {
        Self {
            width: Width::Samples,
            inverted: false,
            direction: Direction::Callees,
            min_share: 0.1 / 1200.0,
            max_frames: 20_000,
        }
    }
}

/// Draws `profile` as a flame graph. The same profile always gives the same bytes. Says how much was pruned.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn svg(
    profile: &Profile,
    title: &Title,
    options: &SvgOptions,
    out: impl Write,
) -> Result<PruneReport, RenderError> {
    let measure = match options.width {
        Width::Samples => Measure::Samples,
        Width::Time { .. } => Measure::Weight,
    };
    let mut tree = CallTree::new(profile, options.direction, Order::Name);
    let min_share = options.min_share.max(tree.share_of_widest(measure, options.max_frames));
    let pruned = tree.prune(measure, min_share, Pruned::IntoParent);
    let mut lines = Vec::new();
    write_tree(profile, &tree, |amount| count(options.width, amount), &mut lines)?;
    let lines = String::from_utf8_lossy(&lines);
    if lines.is_empty() {
        return Err(RenderError::NoSamples);
    }
    flamegraph::from_lines(&mut drawing(title, options), lines.lines().rev(), out)?;
    Ok(pruned)
}

fn count(width: Width, amount: Amount) -> u64 {
    match width {
        Width::Samples => amount.samples,
        Width::Time { weight_per_second } => (amount.weight as f64 / weight_per_second * 1e6).round() as u64,
    }
}

fn drawing(title: &Title, options: &SvgOptions) -> Options<'static> {
    let mut drawing = Options::default();
    drawing.title = title.heading();
    drawing.subtitle = Some(title.details());
    drawing.colors = Palette::Multi(MultiPalette::Rust);
    drawing.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
    drawing.deterministic = true;
    // Sorting lines as text, as inferno does otherwise, parts a caller `f` from its callee where another name, such as
    // `f (inlined)`, sorts between `f 1` and `f;g 1`. In this mode it draws the lines from the last to the first.
    drawing.flame_chart = true;
    drawing.min_width = 0.0;
    drawing.text_truncate_direction = TextTruncateDirection::Right;
    drawing.count_name = match options.width {
        Width::Samples => "samples".to_owned(),
        Width::Time { .. } => "µs".to_owned(),
    };
    drawing.direction = if options.inverted { Growth::Inverted } else { Growth::Straight };
    drawing
}
