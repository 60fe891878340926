//! An interactive SVG, drawn by inferno from the merged and pruned tree.

use std::fmt::Write as _;
use std::io::Write;

use inferno::flamegraph::color::{BackgroundColor, MultiPalette, Palette, PaletteMap};
use inferno::flamegraph::{self, Direction as Growth, Options, TextTruncateDirection};

use crate::error::RenderError;
use crate::folded::Labels;
use crate::frame::Kind;
use crate::measured::{Measured, Unit};
use crate::profile::Profile;
use crate::title::Title;
use crate::tree::{Direction, Measure};
use crate::widest::{Limits, WidePath, widest};

/// Characters that fit into a picture of 1200 pixels, in inferno's monospaced fonts of 17 and 12.
const TITLE_LENGTH: usize = 115;
const SUBTITLE_LENGTH: usize = 163;

/// What the width of a frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// The number of samples.
    #[default]
    Samples,
    /// vCPU time, shown in microseconds; or another [weight](crate::Measured::weight).
    Time,
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

/// Draws `profile` as a flame graph. The same profile always gives the same bytes. Gives how much was sampled in frames
/// that were left out, in samples or nanoseconds.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn svg(
    profile: &Profile,
    title: &Title,
    options: &SvgOptions,
    out: impl Write,
) -> Result<u64, RenderError> {
    let measure = match options.width {
        Width::Samples => Measure::Samples,
        Width::Time => Measure::Weight,
    };
    let limits = Limits { min_share: options.min_share, max_paths: options.max_frames };
    let found = widest(profile, options.direction, measure, limits);
    let lines = lines(profile, &found.paths, options.width);
    if lines.is_empty() {
        return Err(RenderError::NoSamples);
    }
    let mut tints = tints(profile, &found.paths);
    let mut drawing = drawing(profile.measured(), title, options);
    drawing.palette_map = tints.as_mut();
    flamegraph::from_lines(&mut drawing, lines.lines().rev(), out)?;
    Ok(found.left_out)
}

/// The paths as inferno reads them.
fn lines(profile: &Profile, paths: &[WidePath], width: Width) -> String {
    let mut labels = Labels::new(profile);
    let mut lines = String::new();
    let mut stack = Stack::default();
    for path in paths {
        let names = stack.enter(path.depth, labels.of(path.frame));
        let count = count(profile.measured(), width, path.own);
        if count > 0 {
            let _ = writeln!(lines, "{names} {count}");
        }
    }
    lines
}

/// The names along a path, as a walk in depth-first order comes by them.
#[derive(Default)]
pub(crate) struct Stack {
    text: String,
    /// Where in the text each frame's name begins.
    starts: Vec<usize>,
}

impl Stack {
    /// The names down to the one at `depth`, which is `label`.
    pub(crate) fn enter(&mut self, depth: u32, label: &str) -> &str {
        if let Some(start) = self.starts.get(depth as usize) {
            self.text.truncate(*start);
        }
        self.starts.truncate(depth as usize);
        self.starts.push(self.text.len());
        if depth > 0 {
            self.text.push(';');
        }
        self.text.push_str(label);
        &self.text
    }
}

pub(crate) fn count(measured: Measured, width: Width, value: u64) -> u64 {
    match (width, measured.unit()) {
        (Width::Samples, _) | (Width::Time, Unit::Bytes) => value,
        (Width::Time, Unit::Nanoseconds) => value.saturating_add(500) / 1_000,
    }
}

/// What of a line fits.
fn clipped(mut line: String, length: usize) -> String {
    if let Some((end, _)) = line.char_indices().nth(length) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// What is no code: threads, notes, the whole.
const NEUTRAL: (u8, u8, u8) = (226, 229, 233);

/// The colours of all that is drawn, where it is not on the CPU: blue, aqua, purple or green, as Gregg's tools have them, so that one picture is
/// not taken for another. Inferno's own are too dark to read names on. `None`: inferno's for Rust.
fn tints(profile: &Profile, paths: &[WidePath]) -> Option<PaletteMap> {
    let (dark, light) = match profile.measured() {
        Measured::Cpu => return None,
        Measured::OffCpu => ((158, 186, 240), (200, 219, 252)),
        Measured::Wakeups => ((134, 210, 216), (190, 238, 238)),
        Measured::Locks => ((204, 168, 232), (231, 208, 248)),
        Measured::LiveHeap | Measured::AllocatedHeap => ((146, 210, 156), (200, 236, 194)),
    };
    let mut labels = Labels::new(profile);
    let mut tints = PaletteMap::default();
    // The whole, which inferno names only afterwards.
    tints.insert("", NEUTRAL.into());
    for path in paths {
        let frame = profile.frame(path.frame);
        let tint = match frame.kind {
            Kind::Thread | Kind::Note => NEUTRAL,
            Kind::Function | Kind::Unknown => between(dark, light, frame.name),
        };
        tints.insert(labels.of(path.frame), tint.into());
    }
    Some(tints)
}

/// A colour between two, always the same for a name.
fn between(dark: (u8, u8, u8), light: (u8, u8, u8), name: &str) -> (u8, u8, u8) {
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    let share = (hash >> 8) as u8;
    let mix = |dark: u8, light: u8| {
        let (dark, light, share) = (u32::from(dark), u32::from(light), u32::from(share));
        ((dark * (255 - share) + light * share) / 255) as u8
    };
    (mix(dark.0, light.0), mix(dark.1, light.1), mix(dark.2, light.2))
}

pub(crate) fn drawing<'a>(measured: Measured, title: &Title, options: &SvgOptions) -> Options<'a> {
    let mut drawing = Options::default();
    drawing.title = clipped(title.heading(), TITLE_LENGTH);
    drawing.subtitle = Some(clipped(title.details(), SUBTITLE_LENGTH));
    drawing.colors = Palette::Multi(MultiPalette::Rust);
    drawing.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
    drawing.deterministic = true;
    // Sorting lines as text, as inferno does otherwise, parts a caller `f` from its callee where another name, such as
    // `f (inlined)`, sorts between `f 1` and `f;g 1`. In this mode it draws the lines from the last to the first.
    drawing.flame_chart = true;
    drawing.min_width = 0.0;
    drawing.text_truncate_direction = TextTruncateDirection::Right;
    drawing.count_name = match (options.width, measured.unit()) {
        (Width::Samples, _) => measured.counted().1.to_owned(),
        (Width::Time, Unit::Nanoseconds) => "µs".to_owned(),
        (Width::Time, Unit::Bytes) => "bytes".to_owned(),
    };
    drawing.direction = if options.inverted { Growth::Inverted } else { Growth::Straight };
    drawing
}
