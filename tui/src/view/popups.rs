//! What lies over a pane.

use ratatui::layout::Rect;

use super::canvas::{Canvas, wrap};
use super::help;
use super::look::Role;
use crate::picture::Switch;
use crate::state::{Popup, State, Switches, Target, around};

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State, popup: &Popup) {
    match popup {
        Popup::Help { offset } => draw_help(canvas, area, state, *offset),
        Popup::Switches(switches) => draw_switches(canvas, area, state, switches),
        Popup::Save => draw_save(canvas, area),
        Popup::Core => draw_core(canvas, area, state),
    }
}

const HELP_WIDTH: u16 = 90;

/// A frame in the middle; gives what is inside.
fn window(canvas: &mut Canvas<'_>, area: Rect, width: u16, height: u16, title: &str) -> Rect {
    let (width, height) = (width.min(area.width - 4), height.min(area.height - 4));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    canvas.clear(place, ratatui::style::Style::new());
    canvas.hit(place, Target::Popup);
    canvas.framed(place, title)
}

fn draw_help(canvas: &mut Canvas<'_>, area: Rect, state: &State, offset: usize) {
    let room = usize::from(HELP_WIDTH.min(area.width - 4) - 17);
    let lines: Vec<(&str, String)> = help::lines(state)
        .into_iter()
        .flat_map(|(key, does)| {
            let keys = std::iter::once(key).chain(std::iter::repeat(""));
            keys.zip(wrap(does, room, canvas.look.ascii))
        })
        .collect();
    let inner = window(canvas, area, HELP_WIDTH, lines.len() as u16 + 2, "Keys · any other key closes this");
    let page = inner.height as usize;
    let first = offset.min(lines.len().saturating_sub(page));
    canvas.screen.popup = Some((first, page));
    for (at, (key, does)) in lines[first..].iter().take(page).enumerate() {
        let y = inner.y + at as u16;
        if does.is_empty() {
            canvas.say(inner.x + 1, y, inner.width - 2, key, Role::Head);
        } else {
            canvas.say(inner.x + 2, y, 12, key, Role::Key);
            canvas.say(inner.x + 14, y, inner.width.saturating_sub(15), does, Role::Plain);
        }
    }
}

fn draw_switches(canvas: &mut Canvas<'_>, area: Rect, state: &State, switches: &Switches) {
    let none: std::sync::Arc<[Switch]> = std::sync::Arc::new([]);
    let all = state.latest.as_ref().map_or(none, |picture| std::sync::Arc::clone(&picture.switches));
    let shown = switches.shown(&all);
    let inner = window(canvas, area, 64, all.len() as u16 + 6, "What is recorded");
    let x = canvas.say(inner.x + 1, inner.y, inner.width - 2, "> ", Role::Key);
    let x = canvas.say(x, inner.y, inner.right() - x, &switches.typed, Role::Title);
    canvas.say(x, inner.y, 1, " ", Role::Selected);
    if switches.typed.is_empty() {
        canvas.say(
            x + 2,
            inner.y,
            inner.right().saturating_sub(x + 2),
            "type part of a name, or +kv.* -kv.*",
            Role::Dim,
        );
    }
    let body = Rect { y: inner.y + 2, height: inner.height.saturating_sub(4), ..inner };
    let page = body.height as usize;
    let cursor = switches.cursor(&shown);
    let offset = around(cursor, switches.offset.min(shown.len().saturating_sub(page)), page);
    canvas.screen.popup = Some((offset, page));
    for (at, switch) in shown.iter().enumerate().skip(offset).take(page) {
        let line = Rect::new(body.x + 1, body.y + (at - offset) as u16, body.width - 2, 1);
        let (mark, role) = if switch.on { ("[x] ", Role::Good) } else { ("[ ] ", Role::Dim) };
        let x = canvas.say(line.x, line.y, line.width, mark, role);
        canvas.say(x, line.y, line.right() - x, &switch.name, Role::Plain);
        canvas.right(
            line.x,
            line.y,
            line.width,
            if switch.is_class { "class" } else { "site" },
            canvas.style(Role::Dim),
        );
        if at == cursor {
            canvas.restyle(line, canvas.style(Role::Selected));
        }
        canvas.hit(line, Target::Switch(at));
    }
    if shown.is_empty() {
        let text = if all.is_empty() {
            "the guest has told nothing that can be switched"
        } else {
            "nothing of this name"
        };
        canvas.say(body.x + 1, body.y, body.width - 2, text, Role::Dim);
    }
    let last = Rect { y: inner.bottom().saturating_sub(1), height: 1, ..inner };
    let enter = match switches.pattern() {
        Some((_, true)) => "Enter records all of this pattern",
        Some((_, false)) => "Enter leaves out all of this pattern",
        None => "Space, Enter: on or off   ↑ ↓   Esc: close",
    };
    canvas.say(last.x + 1, last.y, last.width - 2, enter, Role::Key);
}

fn draw_save(canvas: &mut Canvas<'_>, area: Rect) {
    let choices = [
        ("r", "a recording of the time that is shown"),
        ("v", "an SVG flame graph"),
        ("h", "an HTML page to explore"),
        ("t", "the tables as text"),
        ("Esc", "nothing"),
    ];
    let inner = window(canvas, area, 50, choices.len() as u16 + 2, "Save");
    for (at, (key, does)) in choices.iter().enumerate() {
        let y = inner.y + at as u16;
        canvas.say(inner.x + 2, y, 5, key, Role::Key);
        canvas.say(inner.x + 7, y, inner.width.saturating_sub(8), does, Role::Plain);
    }
}

fn draw_core(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let name = state.newest().map_or(String::new(), |picture| picture.subject.name.clone());
    let inner = window(canvas, area, 56, 6, "Core");
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let text = format!(
        "Write the memory of {name} to a file here? It holds all that the guest knows: keep it as a secret."
    );
    let y = canvas.paragraph(inner, &text, Role::Plain);
    canvas.say(inner.x, (y + 1).min(inner.bottom() - 1), inner.width, "Enter: yes   Esc: no", Role::Key);
}
