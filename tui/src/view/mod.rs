//! The screen, as a function of the state.

mod canvas;
mod chrome;
mod events;
mod flame;
mod functions;
mod help;
mod listing;
mod locks;
mod look;
mod memory;
mod overview;
mod popups;
mod stack;
mod table;
mod text;
mod threads;
mod tree;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use canvas::Canvas;
pub(crate) use look::Look;
use look::Role;
pub(crate) use text::span_words;

use crate::state::{Pane, Screen, State};

/// The smallest terminal that everything fits into.
const SMALLEST: (u16, u16) = (60, 16);

/// Draws everything; says what lies where.
pub(crate) fn draw(state: &State, look: Look, buffer: &mut Buffer) -> Screen {
    let area = buffer.area;
    let mut canvas = Canvas::new(buffer, look);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(&mut canvas, area);
        return canvas.screen;
    }
    let body = chrome::draw(&mut canvas, area, state);
    match &state.shown {
        None => waiting(&mut canvas, body, state),
        Some(_) => pane(&mut canvas, body, state),
    }
    chrome::message(&mut canvas, area, state);
    if let Some(popup) = &state.popup {
        popups::draw(&mut canvas, area, state, popup);
    }
    canvas.screen
}

fn pane(canvas: &mut Canvas<'_>, body: Rect, state: &State) {
    match state.pane {
        Pane::Overview => overview::draw(canvas, body, state),
        Pane::Functions => functions::draw(canvas, body, state),
        Pane::Tree => tree::draw(canvas, body, state),
        Pane::Flame => flame::draw(canvas, body, state),
        Pane::Threads => threads::draw(canvas, body, state),
        Pane::Events => events::draw(canvas, body, state),
        Pane::Locks => locks::draw(canvas, body, state),
        Pane::Memory => memory::draw(canvas, body, state),
        Pane::Source => listing::draw(canvas, body, state),
    }
}

fn too_small(canvas: &mut Canvas<'_>, area: Rect) {
    let text = format!(
        "This terminal has {}x{} cells; uniprof needs {}x{}. Enlarge it, or q ends.",
        area.width, area.height, SMALLEST.0, SMALLEST.1
    );
    canvas.paragraph(area, &text, Role::Plain);
}

fn waiting(canvas: &mut Canvas<'_>, body: Rect, state: &State) {
    let text = if state.unwatched {
        "Nothing came from the guest."
    } else {
        "Waiting for the first picture of the guest …"
    };
    canvas.say(body.x + 1, body.y + 1, body.width.saturating_sub(2), text, Role::Dim);
}

/// All keys and what they do, as the help has them.
#[cfg(test)]
pub(crate) fn every_key(state: &State) -> Vec<(&'static str, &'static str)> {
    help::lines(state)
}

/// Says why a pane has nothing to show.
fn nothing(canvas: &mut Canvas<'_>, area: Rect, reason: &str) {
    let inner = Rect {
        x: area.x + 2,
        y: area.y + area.height.min(3) / 2,
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(1),
    };
    canvas.paragraph(inner, reason, Role::Plain);
}
