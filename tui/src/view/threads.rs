//! Threads: what each does, and whom it waits for; the stack of the selected one.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::look::Role;
use super::nothing;
use super::table::{figure, table, words};
use super::text::{percent, seconds};
use crate::picture::ThreadRow;
use crate::state::{ListId, State};

/// From this width on the stack is beside the table.
const BESIDE: u16 = 120;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let rows = match &picture.threads {
        Err(reason) => return nothing(canvas, area, reason),
        Ok(rows) if rows.is_empty() => return nothing(canvas, area, "The guest has told of no thread."),
        Ok(rows) => rows,
    };
    let (above, below) = split(area);
    let columns = [figure(5), words(16), words(9), figure(4), figure(6), figure(7), figure(7), words(0)];
    let (look, plain) = (canvas.look, canvas.style(Role::Plain));
    table(canvas, above, state, ListId::Threads, &columns, |at| {
        let Some(row) = rows.get(at) else { return Vec::new() };
        let state_role = match row.state {
            "running" => Role::Good,
            "ready" => Role::Warning,
            "blocked" => Role::Bad,
            _ => Role::Dim,
        };
        let found = state.search.matches(&state.row_text(ListId::Threads, at));
        let name = if found { Role::Match } else { Role::Title };
        let figure = |value: Option<f64>, text: fn(f64) -> String| (value.map_or("-".into(), text), plain);
        vec![
            (row.id.to_string(), plain),
            (row.name.clone(), look.style(name)),
            (row.state.to_owned(), look.style(state_role)),
            (row.vcpu.to_string(), plain),
            figure(row.cpu_share, percent),
            figure(row.cpu_seconds, seconds),
            figure(row.since_seconds, seconds),
            (waits(state, row), plain),
        ]
    });
    stack(canvas, below, state, rows);
}

fn split(area: Rect) -> (Rect, Rect) {
    if area.width >= BESIDE {
        let left = area.width * 3 / 5;
        (Rect { width: left, ..area }, Rect { x: area.x + left + 1, width: area.width - left - 1, ..area })
    } else {
        let top = area.height * 3 / 5;
        (Rect { height: top, ..area }, Rect { y: area.y + top, height: area.height - top, ..area })
    }
}

/// What a thread waits for, or where it is.
fn waits(state: &State, row: &ThreadRow) -> String {
    match (&row.waits_for, row.held_by) {
        (Some(what), Some(holder)) => format!("{what}, held by {} ({holder})", state.thread_name(holder)),
        (Some(what), None) => what.clone(),
        (None, _) => row.function.as_ref().map_or(String::new(), |function| format!("in {function}")),
    }
}

fn stack(canvas: &mut Canvas<'_>, area: Rect, state: &State, rows: &[ThreadRow]) {
    let row = state.threads.row().and_then(|row| rows.get(row));
    let title = row.map_or("stack".into(), |row| format!("stack of {}", state.thread_name(row.id)));
    canvas.rule(area, area.y, &title);
    let frames = Rect { x: area.x + 1, y: area.y + 1, width: area.width - 1, height: area.height - 1 };
    let Some(row) = row else {
        canvas.say(frames.x, frames.y, frames.width, "the selected thread has ended", Role::Dim);
        return;
    };
    if row.stack.is_empty() {
        let why = if row.state == "running" {
            "it runs: its stack is where its samples are (2, 3, 4)"
        } else {
            "not known"
        };
        canvas.say(frames.x, frames.y, frames.width, why, Role::Dim);
        return;
    }
    frames_of(canvas, frames, &row.stack, state);
}

/// A stack, the innermost frame first.
pub(super) fn frames_of(canvas: &mut Canvas<'_>, area: Rect, stack: &[String], state: &State) {
    let room = area.height as usize;
    let fits = stack.len() <= room;
    let shown = if fits { stack.len() } else { room.saturating_sub(1) };
    for (at, frame) in stack.iter().take(shown).enumerate() {
        let role = if state.search.matches(frame) { Role::Match } else { Role::Plain };
        canvas.path(area.x, area.y + at as u16, area.width, frame, canvas.style(role));
    }
    if !fits && room > 0 {
        let more = format!("… and {} frames more", stack.len() - shown);
        canvas.say(area.x, area.y + shown as u16, area.width, &more, Role::Dim);
    }
}
