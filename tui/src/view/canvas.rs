//! Cells to draw on, and a note of what lies where. Whatever would fall outside is cut off.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Clear, Widget};

use super::look::{Look, Role};
use super::text::{cells, fit, fit_end};
use crate::state::{Screen, Target};

pub(crate) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    pub(crate) look: Look,
    pub(crate) screen: Screen,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(buffer: &'a mut Buffer, look: Look) -> Self {
        Self { buffer, look, screen: Screen::default() }
    }

    pub(crate) fn style(&self, role: Role) -> Style {
        self.look.style(role)
    }

    /// Draws a text into at most so many cells; gives the column after it.
    pub(crate) fn text(&mut self, x: u16, y: u16, width: u16, text: &str, style: impl Into<Style>) -> u16 {
        let area = self.buffer.area;
        if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
            return x;
        }
        let width = width.min(area.right() - x);
        let (fitted, _) = fit(text, width.into(), self.look.ascii);
        self.buffer.set_stringn(x, y, fitted, width.into(), style.into()).0
    }

    /// The same of a path, whose end says most.
    pub(crate) fn path(&mut self, x: u16, y: u16, width: u16, text: &str, style: impl Into<Style>) -> u16 {
        let width = width.min(self.buffer.area.right().saturating_sub(x));
        let fitted = fit_end(text, width.into(), self.look.ascii);
        self.text(x, y, width, &fitted, style)
    }

    /// The same in a role.
    pub(crate) fn say(&mut self, x: u16, y: u16, width: u16, text: &str, role: Role) -> u16 {
        self.text(x, y, width, text, self.style(role))
    }

    /// Draws a text that ends at the right edge of so many cells.
    pub(crate) fn right(&mut self, x: u16, y: u16, width: u16, text: &str, style: impl Into<Style>) {
        let used = cells(text, self.look.ascii).min(width.into()) as u16;
        self.text(x + width - used, y, used, text, style);
    }

    /// Draws texts one after the other; gives the column after them.
    pub(crate) fn row(&mut self, area: Rect, y: u16, parts: &[(&str, Role)]) -> u16 {
        let mut x = area.x;
        for (text, role) in parts {
            x = self.say(x, y, area.right().saturating_sub(x), text, *role);
        }
        x
    }

    /// Lays a style over cells.
    pub(crate) fn restyle(&mut self, area: Rect, style: impl Into<Style>) {
        self.buffer.set_style(area.intersection(self.buffer.area), style.into());
    }

    pub(crate) fn cell(&mut self, x: u16, y: u16, symbol: char, style: impl Into<Style>) {
        if let Some(cell) = self.buffer.cell_mut((x, y)) {
            cell.set_char(symbol).set_style(style.into());
        }
    }

    /// Makes cells empty.
    pub(crate) fn clear(&mut self, area: Rect, style: impl Into<Style>) {
        let area = area.intersection(self.buffer.area);
        Clear.render(area, self.buffer);
        self.buffer.set_style(area, style.into());
    }

    /// Draws a frame with a title; gives what is inside.
    pub(crate) fn framed(&mut self, area: Rect, title: &str) -> Rect {
        let area = area.intersection(self.buffer.area);
        let block = Block::bordered().border_set(self.look.border()).border_style(self.style(Role::Dim));
        let inner = block.inner(area);
        block.render(area, self.buffer);
        if area.width > 6 && !title.is_empty() {
            self.say(area.x + 2, area.y, area.width - 4, &format!(" {title} "), Role::Title);
        }
        inner
    }

    /// A line with a title in it.
    pub(crate) fn rule(&mut self, area: Rect, y: u16, title: &str) {
        let dash = if self.look.ascii { '-' } else { '─' };
        let style = self.style(Role::Dim);
        for x in area.x..area.right() {
            self.cell(x, y, dash, style);
        }
        if area.width > 4 {
            self.say(area.x + 1, y, area.width - 2, &format!(" {title} "), Role::Title);
        }
    }

    pub(crate) fn hit(&mut self, area: Rect, target: Target) {
        let area = area.intersection(self.buffer.area);
        if !area.is_empty() {
            self.screen.hits.push((area, target));
        }
    }

    /// A horizontal bar of parts, each a share of the whole, one after the other.
    pub(crate) fn bar(&mut self, x: u16, y: u16, width: u16, parts: &[(f64, Role)]) {
        let mut eighths = 0.0;
        for (at, (share, role)) in parts.iter().enumerate() {
            let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
            let from = eighths;
            eighths = (eighths + share * f64::from(width) * 8.0).min(f64::from(width) * 8.0);
            if at + 1 < parts.len() {
                // A cell has one colour of ink: the next part begins in a cell of its own.
                eighths = (eighths / 8.0).round() * 8.0;
            }
            let style = self.style(*role);
            let first = (from / 8.0).round() as u16;
            for cell in first..width {
                let filled = (eighths - f64::from(cell) * 8.0).clamp(0.0, 8.0).round() as usize;
                if filled == 0 {
                    break;
                }
                let symbol = match (role, self.look.ascii) {
                    (Role::Irq, true) => '#',
                    _ => self.look.bar(filled),
                };
                self.cell(x + cell, y, symbol, style);
            }
        }
    }

    /// The last values as a line of small bars, the newest at the right.
    pub(crate) fn spark(
        &mut self,
        x: u16,
        y: u16,
        width: u16,
        values: impl DoubleEndedIterator<Item = f64>,
        most: f64,
        role: Role,
    ) {
        let style = self.style(role);
        for (back, value) in values.rev().take(width.into()).enumerate() {
            let share = if most > 0.0 && value.is_finite() { (value / most).clamp(0.0, 1.0) } else { 0.0 };
            let eighths = (share * 8.0).ceil() as usize;
            self.cell(x + width - 1 - back as u16, y, self.look.spark(eighths), style);
        }
    }

    /// A sentence over several lines, broken at spaces; gives the line after it.
    pub(crate) fn paragraph(&mut self, area: Rect, text: &str, role: Role) -> u16 {
        let mut y = area.y;
        for line in wrap(text, area.width.into(), self.look.ascii) {
            if y >= area.bottom() {
                break;
            }
            self.say(area.x, y, area.width, &line, role);
            y += 1;
        }
        y
    }
}

/// A text in lines of at most so many cells.
pub(crate) fn wrap(text: &str, width: usize, ascii: bool) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always one line");
        if last.is_empty() {
            last.push_str(word);
        } else if cells(last, ascii) + 1 + cells(word, ascii) <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
        break_long(&mut lines, width, ascii);
    }
    lines
}

/// A sentence on at most so many lines; what is left over is in the last one, to be cut off there.
pub(crate) fn wrap_at_most(text: &str, width: u16, most: u16, ascii: bool) -> Vec<String> {
    let mut lines = wrap(text, width.into(), ascii);
    let most = usize::from(most.max(1));
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(rest);
    }
    lines
}

/// A word that no line has room for goes on in the next: names of functions are such.
fn break_long(lines: &mut Vec<String>, width: usize, ascii: bool) {
    while let Some(last) = lines.last_mut()
        && cells(last, ascii) > width
    {
        let mut used = 0;
        let fits = |(_, c): &(usize, char)| {
            used += cells(c.encode_utf8(&mut [0; 4]), ascii);
            used > width
        };
        match last.char_indices().find(fits) {
            Some((at, _)) if at > 0 => {
                let rest = last.split_off(at);
                lines.push(rest);
            }
            _ => return,
        }
    }
}
