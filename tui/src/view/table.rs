//! Tables: a head to sort by, and as many rows as there is room for.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::canvas::Canvas;
use super::look::Role;
use crate::state::{ListId, State, Target, columns};

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// In cells; 0: what the others leave.
    pub(crate) width: u16,
    /// Whether its texts end at its right edge.
    pub(crate) right: bool,
    /// Whether its texts are paths, whose ends say most.
    pub(crate) path: bool,
    /// Left out where the table is narrower.
    pub(crate) from: u16,
}

pub(crate) const fn figure(width: u16) -> Column {
    Column { width, right: true, path: false, from: 0 }
}

pub(crate) const fn words(width: u16) -> Column {
    Column { width, right: false, path: false, from: 0 }
}

pub(crate) const fn paths(width: u16) -> Column {
    Column { path: true, ..words(width) }
}

impl Column {
    pub(crate) const fn from(self, from: u16) -> Self {
        Self { from, ..self }
    }
}

/// One cell's text.
pub(crate) type Cell = (String, Style);

/// Where each column is; those without room are empty.
fn places(area: Rect, columns: &[Column]) -> Vec<(u16, u16)> {
    let shown = |column: &&Column| area.width >= column.from;
    let fixed: u16 = columns.iter().filter(shown).map(|column| column.width + 1).sum();
    let open = columns.iter().filter(shown).filter(|column| column.width == 0).count() as u16;
    let rest = area.width.saturating_sub(fixed) / open.max(1);
    let mut x = area.x;
    let mut places = Vec::with_capacity(columns.len());
    for column in columns {
        let wanted = if column.width == 0 { rest } else { column.width };
        let width = if area.width < column.from { 0 } else { wanted.min(area.right().saturating_sub(x)) };
        places.push((x, width));
        if width > 0 {
            x = (x + width + 1).min(area.right());
        }
    }
    places
}

/// How many cells the last column has.
pub(crate) fn room_of_the_last(area: Rect, columns: &[Column]) -> usize {
    places(area, columns).last().map_or(0, |(_, width)| usize::from(*width))
}

/// Draws a table. `row` gives the cells of a row by its place in the picture.
pub(crate) fn table(
    canvas: &mut Canvas<'_>,
    area: Rect,
    state: &State,
    id: ListId,
    of: &[Column],
    row: impl Fn(usize) -> Vec<Cell>,
) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let list = state.list(id);
    let places = places(area, of);
    let titles = columns::titles(id);
    let mut body = area;
    if !titles.is_empty() {
        canvas.restyle(Rect { height: 1, ..area }, canvas.style(Role::Head));
        for (at, ((x, width), column)) in places.iter().zip(of).enumerate() {
            let title = titles.get(at).copied().unwrap_or_default();
            let mark = if list.column != at {
                ""
            } else if list.rising {
                "▲"
            } else {
                "▼"
            };
            let style = canvas.style(Role::Head);
            let text = format!("{title}{mark}");
            if column.right {
                canvas.right(*x, area.y, *width, &text, style);
            } else {
                canvas.text(*x, area.y, *width, &text, style);
            }
            canvas.hit(Rect::new(*x, area.y, *width, 1), Target::Column(id, at));
        }
        body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    let page = body.height as usize;
    let first = list.first_shown(page);
    canvas.screen.lists.push((id, first, page));
    let cursor = list.cursor();
    for (at, place) in (first..list.order.len()).take(page).enumerate() {
        let y = body.y + at as u16;
        let picture_row = list.order[place] as usize;
        for (((x, width), column), (text, style)) in places.iter().zip(of).zip(row(picture_row)) {
            if *width == 0 {
                continue;
            }
            if column.right {
                canvas.right(*x, y, *width, &text, style);
            } else if column.path {
                canvas.path(*x, y, *width, &text, style);
            } else {
                canvas.text(*x, y, *width, &text, style);
            }
        }
        let line = Rect::new(body.x, y, body.width, 1);
        if cursor == Some(place) && (list.selected.is_some() || !list.follows) {
            canvas.restyle(line, canvas.style(Role::Selected));
        }
        canvas.hit(line, Target::Row(id, place));
    }
}
