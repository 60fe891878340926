//! A table of which one row is selected: by what it is, not by where it stands.

use std::cmp::Ordering;

/// What a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Name(String),
    Number(u64),
}

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListId {
    Functions,
    Threads,
    EventNames,
    EventTail,
    Locks,
    Sites,
    Source,
    Instructions,
}

/// Where one looks in a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    /// `None`: whatever is first, or last in a list that is followed.
    pub(crate) selected: Option<Key>,
    /// By which column rows are sorted, and whether the smallest comes first.
    pub(crate) column: usize,
    pub(crate) rising: bool,
    /// The rows as they are shown, by their places in the picture.
    pub(crate) order: Vec<u32>,
    /// Where the selected row was last seen among them.
    at: usize,
    present: bool,
    /// Whether the last row is shown where none is selected.
    pub(crate) follows: bool,
    /// As the last drawing left them: the first row on the screen, and how many there is room for.
    pub(crate) offset: usize,
    pub(crate) page: usize,
}

impl List {
    pub(crate) fn sorted_by(column: usize, rising: bool) -> Self {
        Self { column, rising, ..Self::default() }
    }

    pub(crate) fn followed() -> Self {
        Self { follows: true, ..Self::default() }
    }

    /// Takes a new picture's rows. Equal rows stay in the picture's order.
    pub(crate) fn arrange(
        &mut self,
        rows: impl Iterator<Item = usize>,
        compare: impl Fn(usize, usize) -> Ordering,
        key: impl Fn(usize) -> Key,
    ) {
        self.order.clear();
        self.order.extend(rows.map(|row| row as u32));
        let rising = self.rising;
        self.order.sort_by(|a, b| {
            let order = compare(*a as usize, *b as usize);
            if rising { order } else { order.reverse() }
        });
        self.find(key);
    }

    /// Looks for the selected row, which may have moved or gone.
    fn find(&mut self, key: impl Fn(usize) -> Key) {
        let Some(selected) = &self.selected else { return };
        let place = self.order.iter().position(|row| key(*row as usize) == *selected);
        self.present = place.is_some();
        self.at = place.unwrap_or(self.at);
    }

    /// Which of the shown rows is selected. None where there are none, or where the selected one is not among them now.
    pub(crate) fn cursor(&self) -> Option<usize> {
        let last = self.order.len().checked_sub(1)?;
        match &self.selected {
            Some(_) => self.present.then_some(self.at.min(last)),
            None => Some(if self.follows { last } else { 0 }),
        }
    }

    /// The picture's place of the selected row.
    pub(crate) fn row(&self) -> Option<usize> {
        Some(*self.order.get(self.cursor()?)? as usize)
    }

    /// Selects the row that is `by` further.
    pub(crate) fn step(&mut self, by: isize, key: impl Fn(usize) -> Key) {
        let from = self.cursor().unwrap_or(self.at);
        self.select_at(from.saturating_add_signed(by), key);
    }

    /// Selects a row by its place among the shown ones, or the last one.
    pub(crate) fn select_at(&mut self, place: usize, key: impl Fn(usize) -> Key) {
        let Some(last) = self.order.len().checked_sub(1) else { return };
        self.at = place.min(last);
        self.selected = Some(key(self.order[self.at] as usize));
        self.present = true;
    }

    /// Selects by what a row is; it may come later.
    pub(crate) fn select(&mut self, selected: Key, key: impl Fn(usize) -> Key) {
        self.selected = Some(selected);
        self.find(key);
    }

    /// Whatever is first, or last in a list that is followed.
    pub(crate) fn release(&mut self) {
        self.selected = None;
    }

    /// The first row to show on a screen with room for `page`, so that the selected one is on it.
    pub(crate) fn first_shown(&self, page: usize) -> usize {
        let most = self.order.len().saturating_sub(page);
        let offset = self.offset.min(most);
        self.cursor().map_or(offset, |cursor| around(cursor, offset, page))
    }
}

/// The first row to show so that `row` is on the screen: `first`, unless that is too far from it.
pub(crate) fn around(row: usize, first: usize, page: usize) -> usize {
    first.min(row).max((row + 1).saturating_sub(page.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrange(list: &mut List, values: &[(&str, u64)]) {
        let values: Vec<(String, u64)> =
            values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        list.arrange(
            0..values.len(),
            |a, b| values[a].1.cmp(&values[b].1),
            |row| Key::Name(values[row].0.clone()),
        );
    }

    #[test]
    fn a_selected_row_stays_selected_wherever_it_moves() {
        let mut list = List::default();
        arrange(&mut list, &[("a", 3), ("b", 2), ("c", 1)]);
        assert_eq!(list.row(), Some(0));
        list.step(1, |row| Key::Name(["a", "b", "c"][row].into()));
        assert_eq!(list.cursor(), Some(1));
        arrange(&mut list, &[("b", 9), ("a", 3), ("c", 1)]);
        assert_eq!((list.cursor(), list.row()), (Some(0), Some(0)));
        // Gone, and back.
        arrange(&mut list, &[("a", 3), ("c", 1)]);
        assert_eq!(list.cursor(), None);
        arrange(&mut list, &[("a", 3), ("c", 1), ("b", 2)]);
        assert_eq!((list.cursor(), list.row()), (Some(1), Some(2)));
    }

    #[test]
    fn the_selected_row_is_on_the_screen() {
        let mut list = List { order: (0..100).collect(), page: 10, ..List::default() };
        list.select_at(50, |row| Key::Number(row as u64));
        list.offset = list.first_shown(10);
        assert_eq!(list.offset, 41);
        list.step(-10, |row| Key::Number(row as u64));
        assert_eq!(list.first_shown(10), 40);
        // More room than rows.
        assert_eq!(list.first_shown(200), 0);
        assert_eq!(list.first_shown(0), 40);
    }
}
