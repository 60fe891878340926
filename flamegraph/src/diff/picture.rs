//! The differential flame graph: the second profile, coloured by what changed (Gregg, "Differential Flame Graphs", 2014).
//!
//! Widths are those of the second profile. A frame is coloured by what was sampled in itself, not in its callees, so that
//! colour is where the change is and not all the way down to the root. Only a sure change is coloured: otherwise two
//! recordings of the same thing would show red and blue all over.

use std::fmt::Write as _;
use std::io::Write;

use inferno::flamegraph;
use inferno::flamegraph::color::PaletteMap;

use super::matching::{Matching, NONE, Path};
use super::{Change, DiffOptions, Sides, Verdict, wholes};
use crate::error::RenderError;
use crate::folded::Labels;
use crate::profile::Profile;
use crate::svg::{Stack, SvgOptions, count, drawing};
use crate::title::Title;

/// What did not change. Inferno's own colour for that, 250 of 255, is not to be told from the paper, nor one frame from the next.
const UNCHANGED: (u8, u8, u8) = (226, 229, 233);

/// Draws `after` with the difference to `before`. Stacks start at their roots, whatever `options` say.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn svg(
    before: &Profile,
    after: &Profile,
    title: &Title,
    options: &SvgOptions,
    diff: &DiffOptions,
    out: impl Write,
) -> Result<(), RenderError> {
    let profiles = [before, after];
    let matching = Matching::new(profiles);
    let wholes = wholes(profiles, diff.basis);
    let sides = Sides { profiles, matching: &matching, options: diff, wholes };
    let (changes, _, _) = sides.changes(&matching.paths_themselves(), matching.paths.len());
    let tree = Tree::new(&matching.paths, &changes, wholes[1].value);
    let lines = tree.lines(profiles, options);
    if !lines.text.lines().any(|line| !line.ends_with(" 0")) {
        return Err(RenderError::NoSamples);
    }
    let mut unchanged = PaletteMap::default();
    for label in lines.labels.iter().map(String::as_str).chain([""]) {
        unchanged.insert(label, UNCHANGED.into());
    }
    let mut drawing = drawing(after.measured(), title, options);
    drawing.palette_map = Some(&mut unchanged);
    flamegraph::from_lines(&mut drawing, lines.text.lines().rev(), out)?;
    Ok(())
}

/// The call paths with what they hold in the second profile.
struct Tree<'a> {
    paths: &'a [Path],
    changes: &'a [Change],
    /// What a share of 1 is.
    whole: f64,
    own: Vec<u64>,
    totals: Vec<u64>,
}

struct Lines {
    text: String,
    labels: Vec<String>,
}

impl<'a> Tree<'a> {
    fn new(paths: &'a [Path], changes: &'a [Change], whole: f64) -> Self {
        let own: Vec<u64> =
            changes.iter().map(|change| (change.evidence.after.value * whole).round() as u64).collect();
        let mut totals = own.clone();
        for index in (0..paths.len()).rev() {
            let total = totals[index];
            if let Some(parent) = totals.get_mut(paths[index].parent as usize) {
                *parent = parent.saturating_add(total);
            }
        }
        Self { paths, changes, whole, own, totals }
    }

    /// The least total that is drawn.
    fn floor(&self, options: &SvgOptions) -> u64 {
        let all = self.own.iter().fold(0u64, |sum, own| sum.saturating_add(*own));
        let floor = ((all as f64 * options.min_share).ceil() as u64).max(1);
        let mut sorted = self.totals.clone();
        if sorted.len() <= options.max_frames {
            return floor;
        }
        let (_, first_too_many, _) = sorted.select_nth_unstable_by(options.max_frames, |a, b| b.cmp(a));
        floor.max(first_too_many.saturating_add(1))
    }

    /// What inferno draws: every path that is wide enough in depth-first order, with both counts where the change is sure.
    fn lines(&self, profiles: [&Profile; 2], options: &SvgOptions) -> Lines {
        let floor = self.floor(options);
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); self.paths.len()];
        let mut waiting: Vec<(u32, u32)> = Vec::new();
        let mut own = self.own.clone();
        for index in (0..self.paths.len()).rev() {
            let parent = self.paths[index].parent;
            match (self.totals[index] >= floor, parent) {
                (true, NONE) => waiting.push((index as u32, 0)),
                (true, parent) => children[parent as usize].push(index as u32),
                (false, NONE) => {}
                // Its caller is as wide as before.
                (false, parent) => own[parent as usize] = own[parent as usize].saturating_add(own[index]),
            }
        }
        let name = |index: u32| {
            let origin = self.paths[index as usize].origin;
            let frame = profiles[origin.side].frame(origin.frame);
            (frame.name, frame.inlined, frame.kind)
        };
        // From the last name to the first: the last of those that wait comes next.
        waiting.sort_by(|(a, _), (b, _)| name(*b).cmp(&name(*a)));
        let mut labels = profiles.map(Labels::new);
        let mut lines = Lines { text: String::new(), labels: Vec::new() };
        let mut stack = Stack::default();
        while let Some((index, depth)) = waiting.pop() {
            let origin = self.paths[index as usize].origin;
            let label = labels[origin.side].of(origin.frame);
            lines.labels.push(label.to_owned());
            let names = stack.enter(depth, label);
            let count = |value| count(profiles[1].measured(), options.width, value);
            self.write_line(&mut lines.text, names, index as usize, own[index as usize], count);
            let mut below = std::mem::take(&mut children[index as usize]);
            below.sort_by(|a, b| name(*b).cmp(&name(*a)));
            waiting.extend(below.into_iter().map(|child| (child, depth + 1)));
        }
        lines
    }

    /// A frame is opened by the first line that it is in, and takes its colour from that: each has one of its own, be it
    /// of nothing.
    fn write_line(&self, text: &mut String, names: &str, path: usize, own: u64, count: impl Fn(u64) -> u64) {
        let change = &self.changes[path];
        let width = count(own);
        let _ = if change.verdict == Verdict::Same {
            writeln!(text, "{names} {width}")
        } else {
            // What narrow callees added to the width is no part of the difference.
            let before = (change.evidence.before.value * self.whole).round() as u64;
            let narrow = own.saturating_sub(self.own[path]);
            writeln!(text, "{names} {} {width}", count(before.saturating_add(narrow)))
        };
    }
}
