//! Locks that threads wait for.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::look::Role;
use super::nothing;
use super::table::{figure, paths, table, words};
use super::text::{count, nanoseconds};
use crate::picture::LockRow;
use crate::state::{ListId, State};

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let rows = match &picture.lock_rows {
        Err(reason) => return nothing(canvas, area, reason),
        Ok(rows) if rows.is_empty() => {
            return nothing(canvas, area, "No thread waits for a lock, or has waited in this span.");
        }
        Ok(rows) => rows,
    };
    let below = 4.min(area.height / 3);
    let body = Rect { height: area.height - below, ..area };
    let body = match &picture.shorter.locks {
        Some(shorter) => {
            canvas.say(body.x + 1, body.y, body.width.saturating_sub(2), shorter, Role::Warning);
            Rect { y: body.y + 1, height: body.height.saturating_sub(1), ..body }
        }
        None => body,
    };
    let wide = area.width >= 100;
    let columns = [
        paths(if wide { 0 } else { 18 }),
        words(if wide { 20 } else { 13 }),
        figure(7),
        figure(6),
        figure(8),
        figure(8),
        paths(0),
    ];
    let (look, plain) = (canvas.look, canvas.style(Role::Plain));
    table(canvas, body, state, ListId::Locks, &columns, |at| {
        let Some(row) = rows.get(at) else { return Vec::new() };
        let role = if state.search.matches(&row.name) { Role::Match } else { Role::Title };
        let waiting = if row.waiters.is_empty() { plain } else { look.style(Role::Bad) };
        vec![
            (row.name.clone(), look.style(role)),
            (row.holder.map_or("-".into(), |id| state.thread_name(id)), plain),
            (row.waiters.len().to_string(), waiting),
            (count(row.waits as f64), plain),
            (nanoseconds(row.waited_ns), plain),
            (nanoseconds(row.longest_ns), plain),
            (row.held_in.clone().unwrap_or_default(), plain),
        ]
    });
    let row = state.locks.row().and_then(|row| rows.get(row));
    let below = Rect { y: body.bottom(), height: below, ..area };
    if let Some(row) = row {
        describe(canvas, below, state, row);
    }
}

fn describe(canvas: &mut Canvas<'_>, area: Rect, state: &State, row: &LockRow) {
    if area.height < 2 {
        return;
    }
    canvas.rule(area, area.y, &row.name);
    let inner = Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 1 };
    let name = |id: &u32| format!("{} ({id})", state.thread_name(*id));
    let holder = row.holder.as_ref().map_or("nobody".into(), name);
    let mut waiters: Vec<String> = row.waiters.iter().take(20).map(name).collect();
    if row.waiters.len() > waiters.len() {
        waiters.push(format!("and {} more", row.waiters.len() - waiters.len()));
    }
    let waiting = if waiters.is_empty() { "nobody".into() } else { waiters.join(", ") };
    let longest =
        row.held_in.as_ref().map_or(String::new(), |function| format!(" Held longest in {function}."));
    canvas.paragraph(inner, &format!("Held by {holder}; waiting: {waiting}.{longest}"), Role::Plain);
}
