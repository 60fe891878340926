//! Folded stacks: one line per stack, `root;…;leaf count`, as flamegraph.pl and inferno read them.

use std::io::Write;

use crate::error::RenderError;
use crate::profile::{FrameId, Profile};
use crate::tree::{CallTree, Direction, Measure, Order};

/// What a frame is called whose callees were pruned into it.
const OTHERS: &str = "[others]";

const NO_BREAK_SPACE: &str = "\u{a0}";

/// Writes `profile` as folded stacks, root first, sorted by name. Inlined functions end in ` (inlined)`; a `;` in a name
/// becomes `:` and a line break becomes a space, because the format cannot hold them; in a name that ends in a number or
/// starts like a comment that space becomes a no-break space.
///
/// # Errors
///
/// [`RenderError::NoSamples`] before anything is written, or what `out` reports.
pub fn folded(profile: &Profile, measure: Measure, out: &mut impl Write) -> Result<(), RenderError> {
    if measure.of(profile.total()) == 0 {
        return Err(RenderError::NoSamples);
    }
    let tree = CallTree::new(profile, Direction::Callees, Order::Name);
    let mut labels = Labels::new(profile);
    let mut line = String::new();
    tree.for_each_stack(|path, amount| {
        let count = measure.of(amount);
        if count == 0 {
            return Ok(());
        }
        line.clear();
        for (depth, frame) in path.iter().enumerate() {
            if depth > 0 {
                line.push(';');
            }
            line.push_str(frame.map_or(OTHERS, |id| labels.of(id)));
        }
        writeln!(out, "{line} {count}")
    })?;
    Ok(())
}

/// The frames' names as folded text can hold them.
pub(crate) struct Labels<'a> {
    profile: &'a Profile,
    made: Vec<Option<Box<str>>>,
}

impl<'a> Labels<'a> {
    pub(crate) fn new(profile: &'a Profile) -> Self {
        Self { profile, made: vec![None; profile.frames.len()] }
    }

    pub(crate) fn of(&mut self, id: FrameId) -> &str {
        self.made[id.0 as usize].get_or_insert_with(|| label(self.profile, id))
    }
}

fn label(profile: &Profile, id: FrameId) -> Box<str> {
    let frame = profile.frame(id);
    let mut label = frame.name.trim().replace(';', ":");
    if label.is_empty() {
        label.push_str("[no name]");
    }
    if frame.inlined {
        label.push_str(" (inlined)");
    }
    // Readers take a second number at the end of a line for the other count of a differential profile, and a line that
    // starts with `# ` for a comment: `worker 7` and `# 1` are names of threads.
    if let Some(space) = label.rfind(' ')
        && label[space + 1..].starts_with(|first: char| first.is_ascii_digit())
    {
        label.replace_range(space..=space, NO_BREAK_SPACE);
    }
    if label.starts_with("# ") {
        label.replace_range(1..=1, NO_BREAK_SPACE);
    } else if label == "#" {
        // Alone in its stack it would be followed by the blank before the count.
        label.push_str(NO_BREAK_SPACE);
    }
    label.into()
}
