//! A function's source and machine code, with hits by line.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::Canvas;
use super::look::{Look, Role};
use super::nothing;
use super::table::{figure, table, words};
use super::text::{percent, share};
use crate::picture::Listing;
use crate::state::{Lines, ListId, State};

/// From this width on source and instructions are side by side.
const BESIDE: u16 = 120;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    let Some(function) = &state.function else {
        return nothing(
            canvas,
            area,
            "No function is chosen: Enter on one in Functions (2), d on one in Tree (3) or Flame (4).",
        );
    };
    canvas.say(area.x + 1, area.y, area.width - 2, function, Role::Title);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let Some(listing) = &state.listing else {
        canvas.say(body.x + 1, body.y, body.width - 2, "Its lines are being looked for …", Role::Dim);
        return;
    };
    let samples = format!("{} samples", listing.samples);
    canvas.right(area.x, area.y, area.width - 1, &samples, canvas.style(Role::Dim));
    match state.lines {
        Lines::Source => source(canvas, body, state, listing),
        Lines::Instructions => instructions(canvas, body, state, listing),
        // Half a screen is too much for a sentence.
        Lines::Both if listing.source.is_empty() || listing.instructions.is_empty() => {
            let first =
                if listing.source.is_empty() { 3.min(body.height) } else { body.height - 3.min(body.height) };
            source(canvas, Rect { height: first, ..body }, state, listing);
            instructions(
                canvas,
                Rect { y: body.y + first, height: body.height - first, ..body },
                state,
                listing,
            );
        }
        Lines::Both if area.width >= BESIDE => {
            let half = body.width / 2;
            source(canvas, Rect { width: half - 1, ..body }, state, listing);
            instructions(canvas, Rect { x: body.x + half, width: body.width - half, ..body }, state, listing);
        }
        Lines::Both => {
            let half = body.height / 2;
            source(canvas, Rect { height: half, ..body }, state, listing);
            instructions(
                canvas,
                Rect { y: body.y + half, height: body.height - half, ..body },
                state,
                listing,
            );
        }
    }
}

/// The more hits, the more it stands out.
fn heat(look: Look, samples: u64, whole: u64) -> Style {
    match share(samples, whole) {
        _ if samples == 0 => look.style(Role::Dim),
        share if share >= 0.1 => look.style(Role::Bad),
        share if share >= 0.02 => look.style(Role::Warning),
        _ => look.style(Role::Good),
    }
}

fn hits(samples: u64, whole: u64) -> String {
    if samples == 0 { String::new() } else { percent(share(samples, whole)) }
}

fn source(canvas: &mut Canvas<'_>, area: Rect, state: &State, listing: &Listing) {
    if area.height == 0 {
        return;
    }
    let title = listing.file.clone().unwrap_or_else(|_| "source".into());
    canvas.rule(area, area.y, &title);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if let (Err(reason), true) = (&listing.file, listing.source.is_empty()) {
        canvas.paragraph(Rect { x: body.x + 1, width: body.width - 2, ..body }, reason, Role::Dim);
        return;
    }
    let look = canvas.look;
    table(canvas, body, state, ListId::Source, &[figure(6), figure(5), words(0)], |at| {
        let Some(line) = listing.source.get(at) else { return Vec::new() };
        let text = if state.search.matches(&line.text) { Role::Match } else { Role::Plain };
        vec![
            (hits(line.samples, listing.samples), heat(look, line.samples, listing.samples)),
            (line.number.to_string(), look.style(Role::Dim)),
            (line.text.clone(), look.style(text)),
        ]
    });
}

fn instructions(canvas: &mut Canvas<'_>, area: Rect, state: &State, listing: &Listing) {
    if area.height == 0 {
        return;
    }
    canvas.rule(area, area.y, "instructions");
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if listing.instructions.is_empty() {
        let reason = listing.no_instructions.as_deref().unwrap_or("none are known");
        canvas.paragraph(Rect { x: body.x + 1, width: body.width - 2, ..body }, reason, Role::Dim);
        return;
    }
    let look = canvas.look;
    let columns = [figure(6), figure(16).from(70), words(0), words(20).from(70)];
    table(canvas, body, state, ListId::Instructions, &columns, |at| {
        let Some(line) = listing.instructions.get(at) else { return Vec::new() };
        let text = if state.search.matches(&line.text) { Role::Match } else { Role::Plain };
        let place = line.line.as_ref().map_or(String::new(), |(file, number)| format!("{file}:{number}"));
        vec![
            (hits(line.samples, listing.samples), heat(look, line.samples, listing.samples)),
            (format!("{:x}", line.address), look.style(Role::Dim)),
            (line.text.clone(), look.style(text)),
            (place, look.style(Role::Dim)),
        ]
    });
}
