//! Threads: what each does, and whom it waits for; the stack of the selected one.

use ratatui::layout::Rect;

use super::canvas::{Canvas, wrap_at_most};
use super::look::Role;
use super::nothing;
use super::stack;
use super::table::{figure, room_of_the_last, table, words};
use super::text::{cells, fit_end, last_parts, percent, seconds};
use crate::picture::ThreadRow;
use crate::state::{ListId, State};

/// From this width on the stack is beside the table.
const BESIDE: u16 = 120;
/// A table that is narrower goes without the CPU time.
const LESS: u16 = 84;
/// Lines of what the selected thread does, above its stack.
const MOST_LINES: u16 = 8;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let rows = match &picture.threads {
        Err(reason) => return nothing(canvas, area, reason),
        Ok(rows) if rows.is_empty() => return nothing(canvas, area, "The guest has told of no thread."),
        Ok(rows) => rows,
    };
    let (above, below) = split(area);
    // What it is, rather than how much, is what no other pane tells.
    let columns =
        [figure(5), words(12), words(8), figure(4), figure(6), figure(7).from(LESS), figure(7), words(0)];
    let room = room_of_the_last(above, &columns);
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
            (brief(state, row, room, look.ascii), plain),
        ]
    });
    selected(canvas, below, state, rows);
}

fn split(area: Rect) -> (Rect, Rect) {
    if area.width >= BESIDE {
        let left = area.width * 2 / 3;
        (Rect { width: left, ..area }, Rect { x: area.x + left + 1, width: area.width - left - 1, ..area })
    } else {
        let top = area.height * 3 / 5;
        (Rect { height: top, ..area }, Rect { y: area.y + top, height: area.height - top, ..area })
    }
}

/// What a thread waits for and who has it, or where it is, in so many cells: of names the ends are kept, and whose thread it is comes first.
fn brief(state: &State, row: &ThreadRow, room: usize, ascii: bool) -> String {
    let (text, holder) = match (&row.waits_for, &row.function) {
        (Some(what), _) => (what.clone(), row.held_by),
        (None, Some(function)) => (format!("in {function}"), None),
        (None, None) => return String::new(),
    };
    let (kind, name) = apart(&text);
    let name_of = |id| state.thread_name(id);
    let tails: Vec<String> = match holder {
        // Whose end it is, is said already.
        Some(id) if !name.contains(&name_of(id)) => vec![
            format!(", held by {} ({id})", name_of(id)),
            format!(", held by {}", name_of(id)),
            format!(" ← {}", name_of(id)),
        ],
        _ => vec![String::new()],
    };
    let names = [name, last_parts(name, 2), last_parts(name, 1)];
    // Names are shortened before owners are.
    let all = tails.iter().flat_map(|tail| names.iter().map(move |name| format!("{kind}{name}{tail}")));
    if let Some(fits) = all.into_iter().find(|text| cells(text, ascii) <= room) {
        return fits;
    }
    let tail = tails.last().map_or("", String::as_str);
    let rest = room.saturating_sub(cells(kind, ascii) + cells(tail, ascii));
    format!("{kind}{}{tail}", fit_end(last_parts(name, 1), rest, ascii))
}

/// What kind of thing it is, without an article, and which: `the lock kv::STORE` is `lock ` and `kv::STORE`.
fn apart(text: &str) -> (&str, &str) {
    let text = ["the ", "an ", "a "].iter().find_map(|article| text.strip_prefix(article)).unwrap_or(text);
    let kinds = ["lock at ", "lock ", "event at ", "end of ", "something at ", "in "];
    let kind = kinds.iter().find(|kind| text.starts_with(**kind)).map_or(0, |kind| kind.len());
    text.split_at(kind)
}

/// All that a thread does, in a sentence.
fn sentence(state: &State, row: &ThreadRow) -> String {
    let since = row.since_seconds.map_or(String::new(), |since| format!(" for {}", seconds(since)));
    let mut text = format!("{}{since}", row.state);
    if let Some(what) = &row.waits_for {
        text += &format!(": waits for {what}");
    }
    if let Some(id) = row.held_by {
        let holder = state.picture().and_then(|picture| picture.threads.as_ref().ok());
        let holder = holder.and_then(|rows| rows.iter().find(|row| row.id == id));
        let does = holder.map_or(String::new(), |holder| format!(", which is {}", holder.state));
        text += &format!(", held by {} ({id}){does}", state.thread_name(id));
    }
    if let Some(function) = &row.function {
        text += &format!("; in {function}");
    }
    text
}

fn selected(canvas: &mut Canvas<'_>, area: Rect, state: &State, rows: &[ThreadRow]) {
    let row = state.threads.row().and_then(|row| rows.get(row));
    let title =
        row.map_or("stack".into(), |row| format!("stack of {} ({})", state.thread_name(row.id), row.id));
    canvas.rule(area, area.y, &title);
    let inner = Rect { x: area.x + 1, y: area.y + 1, width: area.width - 1, height: area.height - 1 };
    let Some(row) = row else {
        canvas.say(inner.x, inner.y, inner.width, "the selected thread has ended", Role::Dim);
        return;
    };
    let most = MOST_LINES.min(inner.height / 2 + 1);
    let lines = wrap_at_most(&sentence(state, row), inner.width.saturating_sub(1), most, canvas.look.ascii);
    for (y, line) in (inner.y..).zip(&lines) {
        canvas.say(inner.x, y, inner.width, line, Role::Title);
    }
    let told = lines.len() as u16;
    let frames = Rect { y: inner.y + told, height: inner.height.saturating_sub(told), ..inner };
    if row.stack.is_empty() {
        let why = if row.state == "running" {
            "it runs: its stack is where its samples are (2, 3, 4)"
        } else {
            "its stack is not known"
        };
        canvas.say(frames.x, frames.y, frames.width, why, Role::Dim);
        return;
    }
    stack::draw(canvas, frames, &row.stack, state);
}
