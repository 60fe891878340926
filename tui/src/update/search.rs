//! The next row that matches.

use crate::state::{Pane, State};
use crate::tables::{NONE, Tree};

/// Selects what matches first from the selected row on.
pub(super) fn first(state: &mut State) {
    let here = match (state.pane, state.active_list()) {
        (Pane::Tree | Pane::Flame, _) => state.pane_tree().is_some_and(|tree| {
            let node =
                if state.pane == Pane::Flame { Some(state.flame.node(&tree)) } else { state.tree.node() };
            let node = node.and_then(|node| tree.nodes.get(node as usize));
            node.is_some_and(|node| state.matches.get(node.label as usize) == Some(&true))
        }),
        (_, Some(list)) => {
            let row = state.list(list).row();
            row.is_some_and(|row| state.search.matches(&state.row_text(list, row)))
        }
        (_, None) => true,
    };
    if !here {
        next(state, true);
    }
}

/// Selects the next match, or the one before, round and round.
pub(super) fn next(state: &mut State, forward: bool) {
    if !state.search.is_on() {
        state.say(false, "nothing is looked for: / asks");
        return;
    }
    let found = match (state.pane, state.active_list()) {
        (Pane::Tree | Pane::Flame, _) => next_frame(state, forward),
        (_, Some(list)) => {
            let order = state.list(list).order.clone();
            let from = state.list(list).cursor();
            let matches = |place: usize| state.search.matches(&state.row_text(list, order[place] as usize));
            let found = around(order.len(), from, forward).find(|place| matches(*place));
            if let Some(place) = found {
                state.jump_to(list, place);
            }
            found.is_some()
        }
        (_, None) => true,
    };
    if !found {
        let text = state.search.text().to_owned();
        state.say(false, format!("nothing here matches {text}"));
    }
}

/// All places once, beginning beside `from`.
fn around(count: usize, from: Option<usize>, forward: bool) -> impl Iterator<Item = usize> {
    let from = from.unwrap_or(if forward { count.saturating_sub(1) } else { 0 });
    (1..=count).map(move |by| if forward { (from + by) % count } else { (from + count - by % count) % count })
}

fn next_frame(state: &mut State, forward: bool) -> bool {
    let Some(tree) = state.pane_tree() else { return false };
    let from = if state.pane == Pane::Flame { Some(state.flame.node(&tree)) } else { state.tree.node() };
    let from = from.filter(|node| *node != NONE).map(|node| node as usize);
    let matches = |node: &usize| state.matches.get(tree.nodes[*node].label as usize) == Some(&true);
    let Some(found) = around(tree.nodes.len(), from, forward).find(matches) else { return false };
    select_frame(state, &tree, found as u32);
    true
}

fn select_frame(state: &mut State, tree: &Tree, node: u32) {
    if state.pane == Pane::Flame {
        state.flame.select(tree, node);
    } else {
        state.tree.reveal(tree, node);
        state.tree.arrange(tree);
    }
}
