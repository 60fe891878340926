//! What a click or the wheel does where something was drawn.

use ratatui::crossterm::event::{KeyCode, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use super::{Effect, global, panes, popup, time};
use crate::state::{Popup, State, Target};

/// Rows that one notch of the wheel moves.
const NOTCH: usize = 3;

pub(super) fn on_mouse(state: &mut State, event: MouseEvent) -> Vec<Effect> {
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            state.message = None;
            click(state, event.column, event.row)
        }
        MouseEventKind::Down(MouseButton::Right) => {
            panes::on_key(state, KeyCode::Backspace).unwrap_or_default()
        }
        MouseEventKind::Drag(MouseButton::Left) => match state.screen.at(event.column, event.row) {
            Some((area, Target::Slider)) => slide(state, area, event.column),
            _ => Vec::new(),
        },
        MouseEventKind::ScrollUp => wheel(state, event, KeyCode::Up),
        MouseEventKind::ScrollDown => wheel(state, event, KeyCode::Down),
        _ => Vec::new(),
    }
}

fn click(state: &mut State, x: u16, y: u16) -> Vec<Effect> {
    let Some((area, target)) = state.screen.at(x, y) else { return Vec::new() };
    if state.popup.is_some() {
        return click_in_popup(state, target);
    }
    match target {
        Target::Pane(pane) => return global::go(state, pane),
        Target::Help => state.popup = Some(Popup::Help { offset: 0 }),
        Target::Row(list, row) => {
            let again = state.list(list).selected.is_some() && state.list(list).cursor() == Some(row);
            state.in_names = list == crate::state::ListId::EventNames;
            state.in_instructions = list == crate::state::ListId::Instructions;
            if again {
                return panes::on_key(state, KeyCode::Enter).unwrap_or_default();
            }
            if state.pane == crate::state::Pane::Overview {
                return global::go(state, crate::state::Pane::Functions);
            }
            state.select_at(list, row);
        }
        Target::Column(list, column) => panes::sort(state, list, column),
        Target::TreeRow(row) => {
            let Some(tree) = state.pane_tree() else { return Vec::new() };
            if state.tree.cursor == row {
                state.tree.toggle(&tree);
            } else {
                state.tree.select_row(&tree, row);
            }
            state.tree.arrange(&tree);
        }
        Target::Flame(node) => {
            let Some(tree) = state.pane_tree() else { return Vec::new() };
            if (node as usize) < tree.nodes.len() {
                state.flame.select(&tree, node);
                state.flame.zoom_in();
            } else {
                state.flame = crate::state::FlameState { page: state.flame.page, ..Default::default() };
            }
        }
        Target::Measure(measure) => panes::set_measure(state, measure),
        Target::Slider => return slide(state, area, x),
        Target::Switch(_) | Target::Popup | Target::Stack => {}
    }
    Vec::new()
}

fn click_in_popup(state: &mut State, target: Target) -> Vec<Effect> {
    match target {
        Target::Switch(row) => {
            let all = state.latest.as_ref().map(|picture| std::sync::Arc::clone(&picture.switches));
            let (Some(Popup::Switches(switches)), Some(all)) = (&mut state.popup, all) else {
                return Vec::new();
            };
            let Some(switch) = switches.shown(&all).get(row).map(|switch| (*switch).clone()) else {
                return Vec::new();
            };
            switches.selected = Some(switch.name.clone());
            return popup::record(state, switch.name, !switch.on);
        }
        Target::Popup => {}
        _ => state.popup = None,
    }
    Vec::new()
}

/// To the moment that lies there on the bar of time.
fn slide(state: &mut State, area: Rect, x: u16) -> Vec<Effect> {
    let Some(newest) = state.newest() else { return Vec::new() };
    let (first, last) = newest.time.range;
    let share = f64::from(x.saturating_sub(area.x)) / f64::from(area.width.max(2) - 1);
    time::show(state, first + (last - first) * share.min(1.0))
}

fn wheel(state: &mut State, event: MouseEvent, code: KeyCode) -> Vec<Effect> {
    if state.prompt.is_some() {
        return Vec::new();
    }
    if state.popup.is_none()
        && let Some((_, Target::Row(list, _))) = state.screen.at(event.column, event.row)
        && state.pane != crate::state::Pane::Overview
    {
        state.step(list, if code == KeyCode::Up { -(NOTCH as isize) } else { NOTCH as isize });
        return Vec::new();
    }
    if state.popup.is_none() && matches!(state.screen.at(event.column, event.row), Some((_, Target::Stack))) {
        state.scroll_stack(if code == KeyCode::Up { -(NOTCH as isize) } else { NOTCH as isize });
        return Vec::new();
    }
    for _ in 0..NOTCH {
        if state.popup.is_some() {
            popup::on_key(state, code.into());
        } else {
            panes::on_key(state, code);
        }
    }
    Vec::new()
}
