//! Keys that mean something in one pane.

use ratatui::crossterm::event::KeyCode;

use super::{Effect, global};
use crate::state::{Key, Lines, List, ListId, Pane, Prompt, Purpose, State, Target, columns};
use crate::tables::Measure;
use crate::talk::Request;

/// `None` where the key means nothing here: then it may mean something everywhere.
pub(super) fn on_key(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match state.pane {
        Pane::Tree => in_tree(state, code),
        Pane::Flame => in_flame(state, code),
        Pane::Source => in_source(state, code).or_else(|| in_list(state, code)),
        Pane::Events => in_events(state, code).or_else(|| in_list(state, code)),
        Pane::Overview => in_overview(state, code),
        Pane::Functions => in_functions(state, code).or_else(|| in_list(state, code)),
        Pane::Threads | Pane::Locks | Pane::Memory => in_other(state, code).or_else(|| in_list(state, code)),
    }
}

fn nothing_more() -> Option<Vec<Effect>> {
    Some(Vec::new())
}

fn in_overview(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Enter => Some(global::go(state, Pane::Functions)),
        _ => None,
    }
}

fn in_functions(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Enter | KeyCode::Char('d') => Some(global::show_lines(state, state.selected_function())),
        KeyCode::Char('b') => {
            let function = state.selected_function()?;
            state.tree.turn(true);
            state.reveal = Some(function);
            Some(global::go(state, Pane::Tree))
        }
        KeyCode::Char('p') => next_measure(state),
        _ => None,
    }
}

fn in_other(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Enter | KeyCode::Char('d') => Some(global::show_lines(state, state.selected_function())),
        KeyCode::Char('J') if state.pane != Pane::Locks => {
            state.scroll_stack(1);
            nothing_more()
        }
        KeyCode::Char('K') if state.pane != Pane::Locks => {
            state.scroll_stack(-1);
            nothing_more()
        }
        // From a thread to the one that holds what it waits for.
        KeyCode::Char('w') if state.pane == Pane::Threads => {
            let rows = state.picture()?.threads.as_ref().ok()?;
            let holder = rows.get(state.threads.row()?)?.held_by;
            match holder {
                Some(id) => state.select_key(ListId::Threads, Key::Number(id.into())),
                None => state.say(false, "this thread waits for nothing that a thread holds"),
            }
            nothing_more()
        }
        KeyCode::Char('w') if state.pane == Pane::Locks => {
            let rows = state.picture()?.lock_rows.as_ref().ok()?;
            let holder = rows.get(state.locks.row()?)?.holder?;
            global::go(state, Pane::Threads);
            state.select_key(ListId::Threads, Key::Number(holder.into()));
            nothing_more()
        }
        _ => None,
    }
}

/// Moving and sorting, the same in every table.
fn in_list(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    let id = state.active_list()?;
    let page = state.list(id).page.max(2) as isize - 1;
    match code {
        KeyCode::Up | KeyCode::Char('k') => state.step(id, -1),
        KeyCode::Down | KeyCode::Char('j') => state.step(id, 1),
        KeyCode::PageUp => state.step(id, -page),
        KeyCode::PageDown => state.step(id, page),
        KeyCode::Home | KeyCode::Char('g') if state.list(id).follows => state.select_at(id, 0),
        KeyCode::Home | KeyCode::Char('g') => state.list_mut(id).release(),
        KeyCode::End | KeyCode::Char('G') if state.list(id).follows => state.list_mut(id).release(),
        KeyCode::End | KeyCode::Char('G') => state.select_at(id, usize::MAX),
        KeyCode::Char('o') if !columns::titles(id).is_empty() => {
            let next = (state.list(id).column + 1) % columns::titles(id).len();
            sort(state, id, next);
        }
        KeyCode::Char('O') => {
            let list = state.list_mut(id);
            list.rising = !list.rising;
            state.refresh();
        }
        _ => return None,
    }
    nothing_more()
}

/// Sorts by a column; by the same one again the other way round.
pub(super) fn sort(state: &mut State, id: ListId, column: usize) {
    let list: &mut List = state.list_mut(id);
    list.rising = if list.column == column { !list.rising } else { columns::is_words(id, column) };
    list.column = column;
    state.refresh();
}

fn in_tree(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Char('p') => return next_measure(state),
        KeyCode::Char('i') => {
            state.tree.turn(!state.tree.callers);
            state.refresh();
            return nothing_more();
        }
        KeyCode::Char('d') => return Some(global::show_lines(state, state.selected_function())),
        _ => {}
    }
    let tree = state.pane_tree()?;
    let page = state.tree.page.max(2) - 1;
    let cursor = state.tree.cursor;
    match code {
        KeyCode::Up | KeyCode::Char('k') => state.tree.select_row(&tree, cursor.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => state.tree.select_row(&tree, cursor + 1),
        KeyCode::PageUp => state.tree.select_row(&tree, cursor.saturating_sub(page)),
        KeyCode::PageDown => state.tree.select_row(&tree, cursor + page),
        KeyCode::Home | KeyCode::Char('g') => state.tree.selected.clear(),
        KeyCode::End | KeyCode::Char('G') => state.tree.select_row(&tree, usize::MAX),
        KeyCode::Right | KeyCode::Char('l') => state.tree.unfold(&tree),
        KeyCode::Left | KeyCode::Char('h') => state.tree.fold(&tree),
        KeyCode::Enter => state.tree.toggle(&tree),
        KeyCode::Char('u') => state.tree.all_below(&tree, true),
        KeyCode::Char('U') => state.tree.all_below(&tree, false),
        _ => return None,
    }
    state.tree.arrange(&tree);
    nothing_more()
}

fn in_flame(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Char('p') => return next_measure(state),
        KeyCode::Char('d') => return Some(global::show_lines(state, state.selected_function())),
        _ => {}
    }
    let tree = state.pane_tree()?;
    match code {
        KeyCode::Up | KeyCode::Char('k') => state.flame.up(),
        KeyCode::Down | KeyCode::Char('j') => state.flame.down(&tree),
        KeyCode::Left | KeyCode::Char('h') => beside(state, &tree, false),
        KeyCode::Right | KeyCode::Char('l') => beside(state, &tree, true),
        KeyCode::Enter => state.flame.zoom_in(),
        KeyCode::Backspace => {
            state.flame.zoom_out();
        }
        KeyCode::Esc if state.flame.zoom_out() => {}
        KeyCode::Home | KeyCode::Char('g') => state.flame = crate::state::FlameState::default(),
        _ => return None,
    }
    nothing_more()
}

/// Selects the frame beside the selected one, as they were drawn.
fn beside(state: &mut State, tree: &crate::tables::Tree, right: bool) {
    let selected = state.flame.node(tree);
    let frames: Vec<_> = state
        .screen
        .hits
        .iter()
        .filter_map(|(area, target)| match target {
            Target::Flame(node) => Some((*area, *node)),
            _ => None,
        })
        .collect();
    let Some((here, _)) = frames.iter().find(|(_, node)| *node == selected) else { return };
    let row = frames.iter().filter(|(area, _)| area.y == here.y);
    let next = if right {
        row.filter(|(area, _)| area.x > here.x).min_by_key(|(area, _)| area.x)
    } else {
        row.filter(|(area, _)| area.x < here.x).max_by_key(|(area, _)| area.x)
    };
    if let Some((_, node)) = next.copied().as_ref()
        && (*node as usize) < tree.nodes.len()
    {
        state.flame.select(tree, *node);
    }
}

/// Another profile: CPU, off-CPU, locks, heap.
fn next_measure(state: &mut State) -> Option<Vec<Effect>> {
    let at = Measure::ALL.iter().position(|measure| *measure == state.measure).unwrap_or(0);
    set_measure(state, Measure::ALL[(at + 1) % Measure::ALL.len()]);
    nothing_more()
}

pub(super) fn set_measure(state: &mut State, measure: Measure) {
    if state.measure != measure {
        state.measure = measure;
        state.tree.turn(state.tree.callers);
        state.flame = crate::state::FlameState::default();
        state.refresh();
    }
}

fn in_events(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Char('f') => {
            let filter = state.newest().and_then(|picture| picture.events.as_ref().ok()?.filter.clone().ok());
            state.prompt = Some(Prompt::new(Purpose::Filter, &filter.unwrap_or_default()));
            nothing_more()
        }
        KeyCode::Char('v') => {
            state.in_names = !state.in_names;
            nothing_more()
        }
        KeyCode::Enter if state.in_names => {
            let events = state.picture()?.events.as_ref().ok()?;
            let name = events.names.get(state.event_names.row()?)?.name.clone();
            Some(vec![Effect::Ask(Request::Filter(name))])
        }
        _ => None,
    }
}

fn in_source(state: &mut State, code: KeyCode) -> Option<Vec<Effect>> {
    match code {
        KeyCode::Char('v') => {
            state.lines = match state.lines {
                Lines::Both => Lines::Source,
                Lines::Source => Lines::Instructions,
                Lines::Instructions => Lines::Both,
            };
            nothing_more()
        }
        KeyCode::Left | KeyCode::Right if state.lines == Lines::Both => {
            state.in_instructions = code == KeyCode::Right;
            nothing_more()
        }
        KeyCode::Char('h') => {
            hottest(state);
            nothing_more()
        }
        KeyCode::Esc | KeyCode::Backspace => {
            let back = state.back.take()?;
            Some(global::go(state, back))
        }
        _ => None,
    }
}

/// Selects the line with the most hits; from there the next in hits, and so on.
fn hottest(state: &mut State) {
    let Some(listing) = state.listing.clone() else { return };
    let (id, hits): (ListId, Vec<u64>) = if state.moves_in_instructions() {
        (ListId::Instructions, listing.instructions.iter().map(|line| line.samples).collect())
    } else {
        (ListId::Source, listing.source.iter().map(|line| line.samples).collect())
    };
    let mut ranked: Vec<usize> = (0..hits.len()).filter(|line| hits[*line] > 0).collect();
    ranked.sort_by_key(|line| std::cmp::Reverse(hits[*line]));
    let here = state.list(id).selected.as_ref().and_then(|_| state.list(id).row());
    let rank = here.and_then(|here| ranked.iter().position(|line| *line == here));
    let next = rank.map_or(0, |rank| (rank + 1) % ranked.len());
    if let Some(line) = ranked.get(next) {
        state.jump_to(id, *line);
    }
}
