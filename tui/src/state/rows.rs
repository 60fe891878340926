//! The rows of tables: what each is, what order columns make, and what a search finds in it.

use std::cmp::Ordering;
use std::sync::Arc;

use super::list::{Key, ListId};
use super::{Pane, State};
use crate::picture::{EventLine, EventName, HeapSite, LockRow, ThreadRow};
use crate::tables::FunctionRow;

/// Columns that tables are sorted by at first; the others by their places in the heads of [`crate::view`].
pub(crate) mod columns {
    pub(crate) const OWN: usize = 0;
    pub(crate) const CPU: usize = 4;
    pub(crate) const RATE: usize = 3;
    pub(crate) const WAITED: usize = 4;
    pub(crate) const BYTES: usize = 0;

    use super::ListId;

    /// What the heads of a table say; those of tables without heads can't be sorted.
    pub(crate) const fn titles(list: ListId) -> &'static [&'static str] {
        match list {
            ListId::Functions => &["self", "total", "function", "module"],
            ListId::Threads => &["id", "name", "state", "vcpu", "CPU", "time", "since", "waits for"],
            ListId::EventNames => &["name", "kind", "count", "per s", "p50", "p99", "max"],
            ListId::Locks => &["lock", "held by", "waiting", "waits", "waited", "longest", "held in"],
            ListId::Sites => &["≈bytes", "≈blocks", "growth", "function"],
            ListId::EventTail | ListId::Source | ListId::Instructions => &[],
        }
    }

    /// Whether a column holds words, of which the first in the alphabet comes first.
    pub(crate) fn is_words(list: ListId, column: usize) -> bool {
        let title = titles(list).get(column).copied().unwrap_or_default();
        matches!(
            title,
            "function"
                | "module"
                | "name"
                | "state"
                | "waits for"
                | "kind"
                | "lock"
                | "held in"
                | "id"
                | "vcpu"
                | "held by"
        )
    }
}

/// More functions than the overview has lines for.
const MOST_HEAVY: usize = 200;

/// The figures of a picture that tables show.
enum Rows<'a> {
    Functions(&'a [FunctionRow]),
    Threads(&'a [ThreadRow]),
    Names(&'a [EventName]),
    Locks(&'a [LockRow]),
    Sites(&'a [HeapSite]),
    Other,
}

impl State {
    /// Brings what is shown in line with a new picture, another order, another search or another pane.
    pub(crate) fn refresh(&mut self) {
        let Some(shown) = self.shown.clone() else { return };
        match self.pane {
            Pane::Overview | Pane::Functions => {
                if let Some(functions) = self.function_table().cloned() {
                    self.palette.learn_functions(&functions);
                    self.arrange(ListId::Functions);
                    self.heaviest = heaviest(&functions.rows);
                    let found = functions.rows.iter().filter(|row| self.search.matches(&row.name));
                    self.matched = found.map(|row| row.own).sum();
                }
            }
            Pane::Threads => self.arrange(ListId::Threads),
            Pane::Events => {
                self.arrange(ListId::EventNames);
                self.arrange(ListId::EventTail);
            }
            Pane::Locks => self.arrange(ListId::Locks),
            Pane::Memory => self.arrange(ListId::Sites),
            Pane::Source => {
                self.arrange(ListId::Source);
                self.arrange(ListId::Instructions);
            }
            Pane::Tree | Pane::Flame => self.refresh_tree(),
        }
        drop(shown);
    }

    fn refresh_tree(&mut self) {
        let Some(tree) = self.pane_tree() else {
            self.matches.clear();
            self.matched = 0;
            self.tree.rows.clear();
            return;
        };
        self.palette.learn_tree(&tree);
        self.matches = tree.labels.iter().map(|label| self.search.matches(&label.name)).collect();
        self.matched = if self.search.is_on() { tree.matched(&self.matches) } else { 0 };
        if self.pane == Pane::Tree {
            if let Some(name) = self.reveal.take() {
                let root = tree.children(crate::tables::NONE).find(|root| tree.label(*root).name == name);
                if let Some(root) = root {
                    self.tree.reveal(&tree, root);
                    self.tree.arrange(&tree);
                    self.tree.unfold(&tree);
                }
            }
            self.tree.arrange(&tree);
        }
    }

    fn arrange(&mut self, id: ListId) {
        let count = self.count(id);
        let mut list = std::mem::take(self.list_mut(id));
        let column = list.column;
        list.arrange(0..count, |a, b| self.compare(id, column, a, b), |row| self.key(id, row));
        *self.list_mut(id) = list;
    }

    /// Moves in a table.
    pub(crate) fn step(&mut self, id: ListId, by: isize) {
        self.with_list(id, |list, state| list.step(by, |row| state.key(id, row)));
    }

    pub(crate) fn select_at(&mut self, id: ListId, place: usize) {
        self.with_list(id, |list, state| list.select_at(place, |row| state.key(id, row)));
    }

    /// As [`Self::select_at`], with rows before and after it on the screen.
    pub(crate) fn jump_to(&mut self, id: ListId, place: usize) {
        self.select_at(id, place);
        let list = self.list_mut(id);
        let shown = list.offset..list.offset + list.page;
        if !shown.contains(&place) {
            list.offset = place.saturating_sub(list.page / 2);
        }
    }

    pub(crate) fn select_key(&mut self, id: ListId, key: Key) {
        self.with_list(id, |list, state| list.select(key, |row| state.key(id, row)));
    }

    fn with_list(&mut self, id: ListId, change: impl FnOnce(&mut super::List, &Self)) {
        let mut list = std::mem::take(self.list_mut(id));
        change(&mut list, self);
        *self.list_mut(id) = list;
    }

    fn rows(&self, id: ListId) -> Rows<'_> {
        let Some(picture) = self.picture() else { return Rows::Other };
        match id {
            ListId::Functions => {
                self.function_table().map_or(Rows::Other, |table| Rows::Functions(&table.rows))
            }
            ListId::Threads => picture.threads.as_ref().map_or(Rows::Other, |rows| Rows::Threads(rows)),
            ListId::EventNames => {
                picture.events.as_ref().map_or(Rows::Other, |events| Rows::Names(&events.names))
            }
            ListId::Locks => picture.lock_rows.as_ref().map_or(Rows::Other, |rows| Rows::Locks(rows)),
            ListId::Sites => picture.memory.as_ref().map_or(Rows::Other, |memory| Rows::Sites(&memory.sites)),
            ListId::EventTail | ListId::Source | ListId::Instructions => Rows::Other,
        }
    }

    /// How many rows there are.
    fn count(&self, id: ListId) -> usize {
        match (self.rows(id), id) {
            (Rows::Functions(rows), _) => rows.len(),
            (Rows::Threads(rows), _) => rows.len(),
            (Rows::Names(rows), _) => rows.len(),
            (Rows::Locks(rows), _) => rows.len(),
            (Rows::Sites(rows), _) => rows.len(),
            (Rows::Other, ListId::EventTail) => {
                let events = self.picture().and_then(|picture| picture.events.as_ref().ok());
                events.map_or(0, |events| events.tail.len())
            }
            (Rows::Other, ListId::Source) => self.listing.as_ref().map_or(0, |listing| listing.source.len()),
            (Rows::Other, ListId::Instructions) => {
                self.listing.as_ref().map_or(0, |listing| listing.instructions.len())
            }
            (Rows::Other, _) => 0,
        }
    }

    /// What a row is; a table may be of another picture than the one that is asked.
    pub(crate) fn key(&self, id: ListId, row: usize) -> Key {
        let name = |name: &String| Key::Name(name.clone());
        let key = match (self.rows(id), id) {
            (Rows::Functions(rows), _) => rows.get(row).map(|row| name(&row.name)),
            (Rows::Threads(rows), _) => rows.get(row).map(|row| Key::Number(row.id.into())),
            (Rows::Names(rows), _) => rows.get(row).map(|row| name(&row.name)),
            (Rows::Locks(rows), _) => rows.get(row).map(|row| name(&row.name)),
            (Rows::Sites(rows), _) => {
                rows.get(row).map(|row| Key::Name(row.stack.join("\n") + "\n\n" + &row.function))
            }
            (Rows::Other, ListId::EventTail) => self.event(row).map(|line| Key::Number(line.number)),
            (Rows::Other, ListId::Source) => self
                .listing
                .as_ref()
                .and_then(|lines| Some(Key::Number(lines.source.get(row)?.number.into()))),
            (Rows::Other, ListId::Instructions) => self
                .listing
                .as_ref()
                .and_then(|lines| Some(Key::Number(lines.instructions.get(row)?.address))),
            (Rows::Other, _) => None,
        };
        key.unwrap_or(Key::Number(u64::MAX))
    }

    fn event(&self, row: usize) -> Option<&EventLine> {
        self.picture()?.events.as_ref().ok()?.tail.get(row)
    }

    /// The text in which a search looks.
    pub(crate) fn row_text(&self, id: ListId, row: usize) -> String {
        let text = match (self.rows(id), id) {
            (Rows::Functions(rows), _) => rows.get(row).map(|row| row.name.clone()),
            (Rows::Threads(rows), _) => rows.get(row).map(|thread| {
                let parts = [Some(&thread.name), thread.waits_for.as_ref(), thread.function.as_ref()];
                parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
            }),
            (Rows::Names(rows), _) => rows.get(row).map(|row| row.name.clone()),
            (Rows::Locks(rows), _) => rows.get(row).map(|row| row.name.clone()),
            (Rows::Sites(rows), _) => rows.get(row).map(|row| row.function.clone()),
            (Rows::Other, ListId::EventTail) => {
                self.event(row).map(|line| format!("{} {} {}", line.thread, line.name, line.text))
            }
            (Rows::Other, ListId::Source) => {
                self.listing.as_ref().and_then(|lines| Some(lines.source.get(row)?.text.clone()))
            }
            (Rows::Other, ListId::Instructions) => {
                self.listing.as_ref().and_then(|lines| Some(lines.instructions.get(row)?.text.clone()))
            }
            (Rows::Other, _) => None,
        };
        text.unwrap_or_default()
    }

    fn compare(&self, id: ListId, column: usize, a: usize, b: usize) -> Ordering {
        match self.rows(id) {
            Rows::Functions(rows) => functions(column, &rows[a], &rows[b]),
            Rows::Threads(rows) => threads(column, &rows[a], &rows[b]),
            Rows::Names(rows) => names(column, &rows[a], &rows[b]),
            Rows::Locks(rows) => locks(column, &rows[a], &rows[b]),
            Rows::Sites(rows) => sites(column, &rows[a], &rows[b]),
            // In the picture's own order, whichever way a list is sorted.
            Rows::Other => Ordering::Equal,
        }
    }
}

/// The rows with the most of their own, however the table is sorted.
fn heaviest(rows: &[FunctionRow]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    let before = |a: &u32, b: &u32| functions(columns::OWN, &rows[*b as usize], &rows[*a as usize]);
    if order.len() > MOST_HEAVY {
        order.select_nth_unstable_by(MOST_HEAVY, before);
        order.truncate(MOST_HEAVY);
    }
    order.sort_by(before);
    order
}

fn functions(column: usize, a: &FunctionRow, b: &FunctionRow) -> Ordering {
    match column {
        0 => (a.own, a.total).cmp(&(b.own, b.total)),
        1 => (a.total, a.own).cmp(&(b.total, b.own)),
        2 => a.name.cmp(&b.name),
        _ => a.module.cmp(&b.module),
    }
    // Two of the same amount don't change places from one picture to the next.
    .then_with(|| if column < 2 { b.name.cmp(&a.name) } else { a.name.cmp(&b.name) })
}

fn threads(column: usize, a: &ThreadRow, b: &ThreadRow) -> Ordering {
    let figures = |a: Option<f64>, b: Option<f64>| a.unwrap_or(-1.0).total_cmp(&b.unwrap_or(-1.0));
    match column {
        0 => Ordering::Equal,
        1 => a.name.cmp(&b.name),
        2 => a.state.cmp(b.state),
        3 => a.vcpu.cmp(&b.vcpu),
        4 => figures(a.cpu_share, b.cpu_share).then_with(|| figures(a.cpu_seconds, b.cpu_seconds)),
        5 => figures(a.cpu_seconds, b.cpu_seconds),
        6 => figures(a.since_seconds, b.since_seconds),
        _ => a.waits_for.cmp(&b.waits_for),
    }
    .then_with(|| if matches!(column, 4..=6) { b.id.cmp(&a.id) } else { a.id.cmp(&b.id) })
}

fn names(column: usize, a: &EventName, b: &EventName) -> Ordering {
    let latency = |which: usize| {
        let of = |row: &EventName| row.latency_ns.map_or(0, |latency| latency[which]);
        of(a).cmp(&of(b))
    };
    match column {
        0 => a.name.cmp(&b.name),
        1 => a.kind.cmp(b.kind),
        2 => a.count.cmp(&b.count),
        3 => a.rate.total_cmp(&b.rate).then(a.count.cmp(&b.count)),
        4 => latency(0),
        5 => latency(1),
        _ => latency(2),
    }
    .then_with(|| if column < 2 { a.name.cmp(&b.name) } else { b.name.cmp(&a.name) })
}

fn locks(column: usize, a: &LockRow, b: &LockRow) -> Ordering {
    match column {
        0 => a.name.cmp(&b.name),
        1 => a.holder.cmp(&b.holder),
        2 => a.waiters.len().cmp(&b.waiters.len()),
        3 => a.waits.cmp(&b.waits),
        4 => (a.waited_ns, a.waiters.len()).cmp(&(b.waited_ns, b.waiters.len())),
        5 => a.longest_ns.cmp(&b.longest_ns),
        _ => a.held_in.cmp(&b.held_in),
    }
    .then_with(|| b.name.cmp(&a.name))
}

fn sites(column: usize, a: &HeapSite, b: &HeapSite) -> Ordering {
    match column {
        0 => a.bytes.cmp(&b.bytes),
        1 => a.blocks.cmp(&b.blocks),
        2 => a.growth_rate.total_cmp(&b.growth_rate),
        _ => a.function.cmp(&b.function),
    }
    .then_with(|| b.function.cmp(&a.function))
}

/// What the same rows are for whoever draws them.
impl State {
    /// Threads by id, for names beside numbers.
    pub(crate) fn thread_name(&self, id: u32) -> String {
        let rows: Option<&Arc<[ThreadRow]>> =
            self.picture().and_then(|picture| picture.threads.as_ref().ok());
        let name = rows.and_then(|rows| rows.iter().find(|row| row.id == id)).map(|row| row.name.as_str());
        match name {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("thread {id}"),
        }
    }
}
