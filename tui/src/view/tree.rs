//! The call tree.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::functions::{amount, empty, heading, working};
use super::look::Role;
use super::nothing;
use super::text::{percent, share};
use crate::picture::Picture;
use crate::state::{State, Target};
use crate::tables::Tree;

/// Deeper calls are indented no further: else a deep stack would leave no room for names.
const DEEPEST: usize = 40;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let body = heading(canvas, area, state, picture);
    let direction = if state.tree.callers { "callers" } else { "callees" };
    canvas.right(area.x, area.y, area.width - 1, direction, canvas.style(Role::Title));
    let tree = match (state.measure.of(picture), state.pane_tree()) {
        (Err(reason), _) => return nothing(canvas, body, reason),
        (Ok(_), None) => return working(canvas, body),
        (Ok(_), Some(tree)) => tree,
    };
    if tree.nodes.is_empty() {
        return nothing(canvas, body, empty(state.measure));
    }
    let last = Rect { y: body.bottom() - 1, height: 1, ..body };
    let body = Rect { height: body.height - 1, ..body };
    head(canvas, body);
    let rows = Rect { y: body.y + 1, height: body.height - 1, ..body };
    let page = rows.height as usize;
    let first = state.tree.first_shown(page);
    canvas.screen.tree = Some((first, page));
    for (at, place) in (first..state.tree.rows.len()).take(page).enumerate() {
        let line = Rect::new(rows.x, rows.y + at as u16, rows.width, 1);
        row(canvas, line, state, &tree, state.tree.rows[place]);
        if place == state.tree.cursor {
            canvas.restyle(line, canvas.style(Role::Selected));
        }
        canvas.hit(line, Target::TreeRow(place));
    }
    selected(canvas, last, state, picture, &tree);
}

fn head(canvas: &mut Canvas<'_>, area: Rect) {
    canvas.restyle(Rect { height: 1, ..area }, canvas.style(Role::Head));
    canvas.right(area.x, area.y, 7, "total▼", canvas.style(Role::Head));
    canvas.right(area.x + 8, area.y, 7, "self", canvas.style(Role::Head));
    canvas.say(area.x + 16, area.y, area.width.saturating_sub(16), "call", Role::Head);
}

fn row(canvas: &mut Canvas<'_>, line: Rect, state: &State, tree: &Tree, place: u32) {
    let node = tree.nodes[place as usize];
    let label = tree.label(place);
    canvas.right(line.x, line.y, 7, &percent(share(node.total, tree.total)), canvas.style(Role::Title));
    if node.own > 0 {
        canvas.right(line.x + 8, line.y, 7, &percent(share(node.own, tree.total)), canvas.style(Role::Plain));
    }
    let mark = match (node.end > place + 1, state.tree.unfolded.contains(&node.path)) {
        (false, _) => "  ",
        (true, true) => "▼ ",
        (true, false) => "▶ ",
    };
    // Less for each level where there is little room.
    let step = if line.width >= 100 { 2 } else { 1 };
    let indent = (node.depth as usize).min(DEEPEST) * step;
    let indent = indent.min(usize::from(line.width) / 2) as u16;
    let x = line.x + 16 + indent;
    let x = canvas.say(x, line.y, line.right().saturating_sub(x), mark, Role::Key);
    let style = if state.matches.get(node.label as usize) == Some(&true) {
        canvas.style(Role::Match)
    } else {
        canvas.look.module(state.palette.place(&label.module))
    };
    let inlined = if label.inlined { " (inlined)" } else { "" };
    let room = line.right().saturating_sub(x).saturating_sub(inlined.len() as u16);
    let x = canvas.path(x, line.y, room, &label.name, style);
    canvas.say(x, line.y, line.right().saturating_sub(x), inlined, Role::Dim);
}

fn selected(canvas: &mut Canvas<'_>, line: Rect, state: &State, picture: &Picture, tree: &Tree) {
    let Some(place) = state.tree.node().filter(|node| (*node as usize) < tree.nodes.len()) else { return };
    let node = tree.nodes[place as usize];
    let merged = match tree.merged {
        0 => String::new(),
        merged => format!(" ({merged} paths too light to be told apart)"),
    };
    let text = format!(
        "{}: {} total, {} self{merged}",
        tree.label(place).name,
        amount(picture, state.measure, node.total),
        amount(picture, state.measure, node.own)
    );
    canvas.say(line.x + 1, line.y, line.width - 2, &text, Role::Dim);
}
