//! The heap.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::look::Role;
use super::nothing;
use super::stack;
use super::table::{figure, paths, table};
use super::text::{bytes, count};
use crate::picture::Memory;
use crate::state::{ListId, State};

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(picture) = state.picture() else { return };
    let memory = match &picture.memory {
        Err(reason) => return nothing(canvas, area, reason),
        Ok(memory) => memory,
    };
    figures(canvas, area, memory);
    let body = Rect { y: area.y + 3, height: area.height.saturating_sub(3), ..area };
    if memory.sites.is_empty() {
        return nothing(canvas, body, "No block of the heap has been sampled.");
    }
    let above = body.height * 3 / 5;
    let columns = [figure(10), figure(7), figure(12), paths(0)];
    let (look, plain) = (canvas.look, canvas.style(Role::Plain));
    table(canvas, Rect { height: above, ..body }, state, ListId::Sites, &columns, |at| {
        let Some(site) = memory.sites.get(at) else { return Vec::new() };
        let role = if state.search.matches(&site.function) { Role::Match } else { Role::Plain };
        let growth = match site.growth_rate {
            rate if rate.abs() < 0.5 => ("-".into(), plain),
            rate if rate > 0.0 => (format!("+{}/s", bytes(rate)), look.style(Role::Warning)),
            rate if rate < 0.0 => (format!("{}/s", bytes(rate)), plain),
            _ => ("-".into(), plain),
        };
        vec![
            (bytes(site.bytes as f64), look.style(Role::Title)),
            (count(site.blocks as f64), plain),
            growth,
            (site.function.clone(), look.style(role)),
        ]
    });
    let below = Rect { y: body.y + above, height: body.height - above, ..body };
    if below.height < 2 {
        return;
    }
    canvas.rule(below, below.y, "allocated by");
    let frames = Rect { x: below.x + 1, y: below.y + 1, width: below.width - 1, height: below.height - 1 };
    match state.sites.row().and_then(|row| memory.sites.get(row)) {
        Some(site) => stack::draw(canvas, frames, &site.stack, state),
        None => {
            canvas.say(
                frames.x,
                frames.y,
                frames.width,
                "nothing of the selected one is live now",
                Role::Dim,
            );
        }
    }
}

fn figures(canvas: &mut Canvas<'_>, area: Rect, memory: &Memory) {
    let live = memory.live_bytes.map_or("not counted".into(), |live| bytes(live as f64));
    let of = memory.heap_bytes.map_or(String::new(), |heap| format!(" of {}", bytes(heap as f64)));
    let rate = memory.allocated_rate.map_or("-".into(), |rate| format!("{}/s", bytes(rate)));
    let x = canvas.row(
        Rect { x: area.x + 1, width: area.width - 1, ..area },
        area.y,
        &[
            ("live ", Role::Dim),
            (&live, Role::Title),
            (&of, Role::Plain),
            ("   allocated ", Role::Dim),
            (&rate, Role::Title),
        ],
    );
    if let (Some(live), Some(heap)) = (memory.live_bytes, memory.heap_bytes)
        && heap > 0
        && x + 12 < area.right()
    {
        let bar = area.right() - x - 4;
        canvas.say(x + 1, area.y, 1, "[", Role::Dim);
        canvas.bar(x + 2, area.y, bar, &[(live as f64 / heap as f64, Role::Busy)]);
        canvas.say(x + 2 + bar, area.y, 1, "]", Role::Dim);
    }
    let most = memory.history.iter().copied().max().unwrap_or(0) as f64;
    canvas.say(area.x + 1, area.y + 1, 12, "last minute", Role::Dim);
    let width = area.width.saturating_sub(15).min(60);
    canvas.spark(
        area.x + 14,
        area.y + 1,
        width,
        memory.history.iter().map(|value| *value as f64),
        most,
        Role::Key,
    );
    if !memory.sites.is_empty() {
        let sum = memory.sites.iter().fold(0_u64, |sum, site| sum.saturating_add(site.bytes));
        let text =
            format!("≈ estimated from the sampled blocks, in sum {}; live is counted", bytes(sum as f64));
        canvas.say(area.x + 1, area.y + 2, area.width - 2, &text, Role::Dim);
    }
}
