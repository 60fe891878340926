//! Events: sums by name, a histogram of the selected one, and the last ones as lines.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::look::Role;
use super::nothing;
use super::table::{figure, table, words};
use super::text::{count, nanoseconds};
use crate::picture::{EventName, Events};
use crate::state::{ListId, State};

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let events = match &picture.events {
        Err(reason) => return nothing(canvas, area, reason),
        Ok(events) => events,
    };
    let top = (area.height * 2 / 5).max(6).min(area.height);
    let selected = state.event_names.row().and_then(|row| events.names.get(row));
    let with_histogram = selected.is_some_and(|name| name.latency_ns.is_some());
    let side = if with_histogram { if area.width >= 120 { 44 } else { 28 } } else { 0 };
    let names = Rect { height: top, width: area.width - side, ..area };
    draw_names(canvas, names, state, events);
    if let Some(name) = selected.filter(|_| with_histogram) {
        histogram(canvas, Rect { x: names.right() + 1, width: side - 1, ..names }, name);
    }
    tail(canvas, Rect { y: area.y + top, height: area.height - top, ..area }, state, events);
}

fn draw_names(canvas: &mut Canvas<'_>, area: Rect, state: &State, events: &Events) {
    let narrow = area.width < 75;
    let from = if narrow { 200 } else { 0 };
    let columns = [
        words(0),
        words(8).from(from),
        figure(7),
        figure(7),
        figure(8).from(if narrow { 200 } else { 60 }),
        figure(8),
        figure(8).from(from),
    ];
    let (look, plain) = (canvas.look, canvas.style(Role::Plain));
    table(canvas, area, state, ListId::EventNames, &columns, |at| {
        let Some(row) = events.names.get(at) else { return Vec::new() };
        let role = if state.search.matches(&row.name) { Role::Match } else { Role::Title };
        let latency =
            |which: usize| (row.latency_ns.map_or(String::new(), |all| nanoseconds(all[which])), plain);
        let p99 = match row.value {
            Some(value) => (format!("={}", count(value)), plain),
            None => latency(1),
        };
        vec![
            (row.name.clone(), look.style(role)),
            (row.kind.to_owned(), look.style(Role::Dim)),
            (count(row.count as f64), plain),
            (count(row.rate), plain),
            latency(0),
            p99,
            latency(2),
        ]
    });
    // Where keys move, the selected row is in full; elsewhere it is only marked by its place.
    if events.names.is_empty() {
        canvas.say(area.x + 1, area.y + 1, area.width - 2, "no event in this span", Role::Dim);
    }
}

/// How often each latency, between the first and the last power of two that occurs.
fn histogram(canvas: &mut Canvas<'_>, area: Rect, name: &EventName) {
    canvas.say(area.x, area.y, area.width, &format!("latency of {}", name.name), Role::Head);
    let occurs = |bucket: &u64| *bucket > 0;
    let (Some(first), Some(last)) =
        (name.histogram.iter().position(occurs), name.histogram.iter().rposition(occurs))
    else {
        return;
    };
    let rows = usize::from(area.height.saturating_sub(1));
    if rows == 0 {
        return;
    }
    // Neighbours together where there are more than rows.
    let together = (last - first + 1).div_ceil(rows);
    let sums: Vec<u64> =
        name.histogram[first..=last].chunks(together).map(|chunk| chunk.iter().sum()).collect();
    let most = sums.iter().copied().max().unwrap_or(1).max(1);
    for (at, sum) in sums.iter().enumerate() {
        let y = area.y + 1 + at as u16;
        let power = first + at * together;
        let label = nanoseconds(1u64.checked_shl(power as u32).unwrap_or(u64::MAX));
        canvas.right(area.x, y, 8, &label, canvas.style(Role::Dim));
        let width = area.width.saturating_sub(16);
        canvas.bar(area.x + 9, y, width, &[(*sum as f64 / most as f64, Role::Busy)]);
        canvas.right(
            area.x + 9 + width,
            y,
            area.width.saturating_sub(9 + width),
            &count(*sum as f64),
            canvas.style(Role::Plain),
        );
    }
}

fn tail(canvas: &mut Canvas<'_>, area: Rect, state: &State, events: &Events) {
    let title = match &events.filter {
        Ok(filter) if filter.is_empty() => "last events".into(),
        Ok(filter) => format!("last events where {filter} ({} others)", count(events.hidden as f64)),
        Err(mistake) => format!("filter: {mistake}"),
    };
    canvas.rule(area, area.y, &title);
    if events.filter.is_err() {
        canvas.say(area.x + 1, area.y, area.width - 2, &format!(" {title} "), Role::Bad);
    }
    let follows = state.event_tail.selected.is_none();
    let mark = if follows { " follows the newest " } else { " End follows the newest " };
    canvas.right(area.x, area.y, area.width - 1, mark, canvas.style(Role::Dim));
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if events.tail.is_empty() {
        canvas.say(body.x + 1, body.y, body.width - 2, "none", Role::Dim);
    }
    let columns = [figure(11), figure(2), words(12), words(20), words(0)];
    let (look, plain) = (canvas.look, canvas.style(Role::Plain));
    table(canvas, body, state, ListId::EventTail, &columns, |at| {
        let Some(line) = events.tail.get(at) else { return Vec::new() };
        let found = state.search.matches(&state.row_text(ListId::EventTail, at));
        let name = if found { Role::Match } else { Role::Title };
        vec![
            (format!("{:.6}", line.at), look.style(Role::Dim)),
            (line.vcpu.to_string(), look.style(Role::Dim)),
            (line.thread.clone(), plain),
            (line.name.clone(), look.style(name)),
            (line.text.clone(), plain),
        ]
    });
}
