//! The flame graph: callers above, what they call below, as wide as what was measured in it.

use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::canvas::Canvas;
use super::functions::{amount, empty, heading, working};
use super::look::Role;
use super::nothing;
use super::text::{cells, last_part, percent, share};
use crate::picture::Picture;
use crate::state::{State, Target};
use crate::tables::{NONE, Tree};

/// A frame as it is drawn: cells from `x` on in a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Box {
    node: u32,
    level: usize,
    x: u16,
    width: u16,
    /// Whether it is above what is zoomed.
    above: bool,
    /// Whether it has another shade than the frames beside it.
    odd: bool,
}

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let body = heading(canvas, area, state, picture);
    let tree = match (state.measure.of(picture), state.pane_tree()) {
        (Err(reason), _) => return nothing(canvas, body, reason),
        (Ok(_), None) => return working(canvas, body),
        (Ok(_), Some(tree)) => tree,
    };
    if tree.total == 0 {
        return nothing(canvas, body, empty(state.measure));
    }
    let last = Rect { y: body.bottom() - 1, height: 1, ..body };
    let body = Rect { height: body.height - 1, ..body };
    let page = body.height as usize;
    let first = state.flame.first_shown(&tree, page);
    canvas.screen.flame = Some((first, page));
    let selected = state.flame.node(&tree);
    let mut below = false;
    for one in boxes(&tree, state.flame.zoomed(&tree), body.width, first + page) {
        if one.level >= first + page {
            below = true;
        } else if one.level >= first {
            let y = body.y + (one.level - first) as u16;
            let place = Rect::new(body.x + one.x, y, one.width, 1);
            draw_box(canvas, place, state, &tree, one, one.node == selected);
            canvas.hit(place, Target::Flame(one.node));
        }
    }
    if below {
        canvas.right(area.x, area.y, area.width - 1, "▼ more below", canvas.style(Role::Dim));
    }
    describe(canvas, last, state, picture, &tree, selected);
}

/// The frames from the zoomed one on, as far as they are a cell wide; and those that lead to it, in the whole width. One level further than
/// `levels`, so that it can be told that there is more.
fn boxes(tree: &Tree, zoomed: u32, width: u16, levels: usize) -> Vec<Box> {
    let whole = |node, level, above| Box { node, level, x: 0, width, above, odd: false };
    let path = tree.path_to(zoomed);
    let mut boxes = vec![whole(NONE, 0, zoomed != NONE)];
    let above = path.iter().filter_map(|hash| tree.place(*hash)).enumerate();
    boxes.extend(above.map(|(at, node)| whole(node, at + 1, node != zoomed)));
    let total = tree.nodes.get(zoomed as usize).map_or(tree.total, |node| node.total);
    if total == 0 {
        return boxes;
    }
    let cell = f64::from(width) / total as f64;
    let mut open = vec![(zoomed, path.len() + 1, 0u64)];
    while let Some((parent, level, from)) = open.pop() {
        let mut start = from;
        for child in tree.children(parent) {
            let amount = tree.nodes[child as usize].total;
            let x = (start as f64 * cell).round() as u16;
            start = start.saturating_add(amount);
            let end = ((start as f64 * cell).round() as u16).min(width);
            if end > x {
                boxes.push(Box { node: child, level, x, width: end - x, above: false, odd: false });
                if level < levels {
                    open.push((child, level + 1, start - amount));
                }
            }
        }
    }
    boxes.sort_unstable_by_key(|one| (one.level, one.x));
    for at in 1..boxes.len() {
        boxes[at].odd = boxes[at].level == boxes[at - 1].level && !boxes[at - 1].odd;
    }
    boxes
}

fn draw_box(canvas: &mut Canvas<'_>, place: Rect, state: &State, tree: &Tree, one: Box, selected: bool) {
    let (name, module, label) = match tree.nodes.get(one.node as usize) {
        Some(node) => {
            let label = tree.label(one.node);
            (label.name.as_str(), label.module.as_str(), node.label as usize)
        }
        None => ("all", "", usize::MAX),
    };
    let style = if state.matches.get(label) == Some(&true) {
        canvas.look.matched_frame()
    } else {
        canvas.look.frame(state.palette.place(module), name, one.above, one.odd)
    };
    let style = if selected { style.add_modifier(Modifier::REVERSED | Modifier::BOLD) } else { style };
    for x in place.x..place.right() {
        canvas.cell(x, place.y, ' ', style);
    }
    let mut text = place;
    if canvas.look.marks_frames() {
        canvas.cell(place.x, place.y, if canvas.look.ascii { '|' } else { '▏' }, style);
        text = Rect { x: place.x + 1, width: place.width - 1, ..place };
    } else if place.width >= 4 {
        // A frame of the same module may begin beside it.
        text.width -= 1;
    }
    if text.width < 2 {
        return;
    }
    let room = usize::from(text.width);
    let short = if cells(name, canvas.look.ascii) > room { last_part(name) } else { name };
    canvas.text(text.x, text.y, text.width, short, style);
}

fn describe(
    canvas: &mut Canvas<'_>,
    line: Rect,
    state: &State,
    picture: &Picture,
    tree: &Tree,
    selected: u32,
) {
    let text = match tree.nodes.get(selected as usize) {
        None => format!("all: {}", amount(picture, state.measure, tree.total)),
        Some(node) => format!(
            "{}: {} ({}), self {}",
            tree.label(selected).name,
            percent(share(node.total, tree.total)),
            amount(picture, state.measure, node.total),
            percent(share(node.own, tree.total))
        ),
    };
    canvas.say(line.x + 1, line.y, line.width - 2, &text, Role::Plain);
}
