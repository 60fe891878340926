//! The stack of what is selected.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::look::Role;
use crate::state::{State, Target};

/// A stack, the innermost frame first, from where one has scrolled to.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, stack: &[String], state: &State) {
    canvas.hit(area, Target::Stack);
    let room = usize::from(area.height);
    let fits = stack.len() <= room;
    let page = if fits { room } else { room.saturating_sub(1) };
    let first = state.stack_offset().min(stack.len().saturating_sub(page));
    canvas.screen.stack = Some(first);
    for (at, frame) in stack.iter().skip(first).take(page).enumerate() {
        let role = if state.search.matches(frame) { Role::Match } else { Role::Plain };
        canvas.path(area.x, area.y + at as u16, area.width, frame, canvas.style(role));
    }
    if !fits && room > 0 {
        let part = format!("frames {} to {} of {}", first + 1, first + page, stack.len());
        let y = area.y + page as u16;
        let x = canvas.say(area.x, y, area.width, &part, Role::Dim);
        canvas.say(x, y, area.right().saturating_sub(x), "   J K: down, up", Role::Key);
    }
}
