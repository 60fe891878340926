//! Where one looks: everything on the screen that is not the guest's.

mod flame;
mod list;
mod palette;
mod pane;
mod popup;
mod rows;
mod screen;
mod search;
mod tree;

use std::sync::Arc;

pub(crate) use flame::FlameState;
pub(crate) use list::{Key, List, ListId, around};
pub(crate) use palette::Palette;
pub use pane::Pane;
pub(crate) use popup::{Popup, Prompt, Purpose, Switches};
pub(crate) use rows::columns;
pub(crate) use screen::{Screen, Target};
pub(crate) use search::Search;
pub(crate) use tree::TreeState;

use crate::picture::{Fate, Kind, Listing, Picture, Span};
use crate::tables::{Functions, Measure, Part, Prepared, Tree, Want};

/// A sentence to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) done: bool,
    pub(crate) text: String,
}

/// What is shown of a function's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Lines {
    #[default]
    Both,
    Source,
    Instructions,
}

/// What is on the screen, apart from the guest.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) pane: Pane,
    /// The last picture that came, whether it is shown or not.
    pub(crate) latest: Option<Arc<Picture>>,
    /// The picture to be shown once its tables are ready.
    pub(crate) next: Option<Arc<Picture>>,
    pub(crate) shown: Option<Arc<Prepared>>,
    /// Whether pictures of a guest that runs are not shown.
    pub(crate) paused: bool,
    /// The moment that was asked for while paused.
    pub(crate) moment: Option<f64>,
    /// As fast as a replay goes when it goes.
    pub(crate) speed: Option<f64>,
    pub(crate) span: Option<Span>,
    pub(crate) measure: Measure,
    pub(crate) search: Search,
    /// Of the tree or flame graph on the screen: labels that match, and what is measured in them.
    pub(crate) matches: Vec<bool>,
    pub(crate) matched: u64,
    pub(crate) functions: List,
    pub(crate) threads: List,
    pub(crate) event_names: List,
    pub(crate) event_tail: List,
    /// Whether keys move in the names rather than in the last events.
    pub(crate) in_names: bool,
    pub(crate) locks: List,
    pub(crate) sites: List,
    /// How far the stack of what is selected has been scrolled, and what that is.
    stack: (Option<Key>, usize),
    pub(crate) source: List,
    pub(crate) instructions: List,
    pub(crate) lines: Lines,
    pub(crate) in_instructions: bool,
    pub(crate) tree: TreeState,
    pub(crate) flame: FlameState,
    /// The function whose lines are wanted, and its lines when they came.
    pub(crate) function: Option<String>,
    pub(crate) listing: Option<Arc<Listing>>,
    /// The thread that the guest crashed on, once it has been shown.
    pub(crate) culprit: Option<u32>,
    /// The rate that was asked for last, until it is in effect.
    pub(crate) asked_rate: Option<u32>,
    /// The rows of the functions' table with the most of their own, the most first.
    pub(crate) heaviest: Vec<u32>,
    /// A function to be found among the roots of the callers' tree when that is ready.
    pub(crate) reveal: Option<String>,
    /// The pane that Esc goes back to from the lines.
    pub(crate) back: Option<Pane>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) popup: Option<Popup>,
    pub(crate) message: Option<Message>,
    /// Whether whoever watched the guest has gone.
    pub(crate) unwatched: bool,
    pub(crate) palette: Palette,
    pub(crate) screen: Screen,
}

impl State {
    pub(crate) fn new(pane: Pane) -> Self {
        Self {
            pane,
            functions: List::sorted_by(columns::OWN, false),
            threads: List::sorted_by(columns::CPU, false),
            event_names: List::sorted_by(columns::RATE, false),
            event_tail: List::followed(),
            locks: List::sorted_by(columns::WAITED, false),
            sites: List::sorted_by(columns::BYTES, false),
            ..Self::default()
        }
    }

    /// The picture that is shown.
    pub(crate) fn picture(&self) -> Option<&Picture> {
        self.shown.as_ref().map(|shown| &*shown.picture)
    }

    /// The last picture that came: what became of the guest, and what can be done with it.
    pub(crate) fn newest(&self) -> Option<&Picture> {
        self.latest.as_deref()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.newest().map_or(Kind::Live, |picture| picture.subject.kind)
    }

    pub(crate) fn fate(&self) -> &Fate {
        self.newest().map_or(&Fate::Runs, |picture| &picture.fate)
    }

    /// Which tables the pane needs.
    pub(crate) fn want(&self) -> Option<Want> {
        let of = |measure, part| Some(Want { measure, part });
        match self.pane {
            Pane::Overview => of(Measure::Cpu, Part::Functions),
            Pane::Functions => of(self.measure, Part::Functions),
            Pane::Tree if self.tree.callers => of(self.measure, Part::Callers),
            Pane::Tree => of(self.measure, Part::Callees),
            Pane::Flame => of(self.measure, Part::Flame),
            _ => None,
        }
    }

    /// Whether what the pane needs is still being worked out.
    pub(crate) fn is_working(&self) -> bool {
        match (&self.shown, self.want()) {
            (Some(shown), Some(want)) => !shown.has(want),
            _ => false,
        }
    }

    /// The tree of the pane that is shown.
    pub(crate) fn pane_tree(&self) -> Option<Arc<Tree>> {
        self.shown.as_ref()?.tree(self.want()?).cloned()
    }

    pub(crate) fn function_table(&self) -> Option<&Arc<Functions>> {
        let measure = if self.pane == Pane::Overview { Measure::Cpu } else { self.measure };
        self.shown.as_ref()?.functions(measure)
    }

    pub(crate) fn list(&self, id: ListId) -> &List {
        match id {
            ListId::Functions => &self.functions,
            ListId::Threads => &self.threads,
            ListId::EventNames => &self.event_names,
            ListId::EventTail => &self.event_tail,
            ListId::Locks => &self.locks,
            ListId::Sites => &self.sites,
            ListId::Source => &self.source,
            ListId::Instructions => &self.instructions,
        }
    }

    pub(crate) fn list_mut(&mut self, id: ListId) -> &mut List {
        match id {
            ListId::Functions => &mut self.functions,
            ListId::Threads => &mut self.threads,
            ListId::EventNames => &mut self.event_names,
            ListId::EventTail => &mut self.event_tail,
            ListId::Locks => &mut self.locks,
            ListId::Sites => &mut self.sites,
            ListId::Source => &mut self.source,
            ListId::Instructions => &mut self.instructions,
        }
    }

    /// The table in which keys move.
    pub(crate) fn active_list(&self) -> Option<ListId> {
        Some(match self.pane {
            Pane::Functions => ListId::Functions,
            Pane::Threads => ListId::Threads,
            Pane::Events if self.in_names => ListId::EventNames,
            Pane::Events => ListId::EventTail,
            Pane::Locks => ListId::Locks,
            Pane::Memory => ListId::Sites,
            Pane::Source if self.moves_in_instructions() => ListId::Instructions,
            Pane::Source => ListId::Source,
            Pane::Overview | Pane::Tree | Pane::Flame => return None,
        })
    }

    /// Whether keys move in the instructions: where one has chosen so, and where there is nothing else.
    pub(crate) fn moves_in_instructions(&self) -> bool {
        let no_source = self.listing.as_ref().is_some_and(|listing| listing.source.is_empty());
        match self.lines {
            Lines::Both => self.in_instructions || no_source,
            Lines::Source => false,
            Lines::Instructions => true,
        }
    }

    /// The function that is selected in the pane.
    pub(crate) fn selected_function(&self) -> Option<String> {
        match self.pane {
            Pane::Functions | Pane::Overview => {
                let table = self.function_table()?;
                Some(table.rows.get(self.functions.row()?)?.name.clone())
            }
            Pane::Tree => {
                let tree = self.pane_tree()?;
                Some(
                    tree.label(self.tree.node().filter(|row| (*row as usize) < tree.nodes.len())?)
                        .name
                        .clone(),
                )
            }
            Pane::Flame => {
                let tree = self.pane_tree()?;
                let node = self.flame.node(&tree);
                tree.nodes.get(node as usize).map(|_| tree.label(node).name.clone())
            }
            Pane::Threads => {
                let rows = self.picture()?.threads.as_ref().ok()?;
                rows.get(self.threads.row()?)?.function.clone()
            }
            Pane::Locks => {
                let rows = self.picture()?.lock_rows.as_ref().ok()?;
                rows.get(self.locks.row()?)?.held_in.clone()
            }
            Pane::Memory => {
                let memory = self.picture()?.memory.as_ref().ok()?;
                Some(memory.sites.get(self.sites.row()?)?.function.clone())
            }
            Pane::Events | Pane::Source => None,
        }
    }

    /// Whose stack is shown.
    fn stack_of(&self) -> Option<Key> {
        let id = self.active_list().filter(|id| matches!(id, ListId::Threads | ListId::Sites))?;
        Some(self.key(id, self.list(id).row()?))
    }

    /// The first frame to show of the selected one's stack.
    pub(crate) fn stack_offset(&self) -> usize {
        let (of, offset) = &self.stack;
        if *of == self.stack_of() { *offset } else { 0 }
    }

    /// Shows frames further down or up; the drawing says where that ends.
    pub(crate) fn scroll_stack(&mut self, by: isize) {
        // Whose stack one reads stays selected, whatever others do.
        if let Some(id) = self.active_list()
            && let Some(cursor) = self.list(id).cursor()
        {
            self.select_at(id, cursor);
        }
        self.stack = (self.stack_of(), self.stack_offset().saturating_add_signed(by));
    }

    /// Takes note of what was drawn.
    pub(crate) fn drawn(&mut self, screen: Screen) {
        for (id, offset, page) in &screen.lists {
            let list = self.list_mut(*id);
            (list.offset, list.page) = (*offset, *page);
        }
        if let Some((offset, page)) = screen.tree {
            (self.tree.offset, self.tree.page) = (offset, page);
        }
        if let Some((offset, page)) = screen.flame {
            (self.flame.offset, self.flame.page) = (offset, page);
        }
        match (&mut self.popup, screen.popup) {
            (Some(Popup::Switches(switches)), Some((offset, page))) => {
                (switches.offset, switches.page) = (offset, page);
            }
            (Some(Popup::Help { offset }), Some((drawn, _))) => *offset = drawn,
            _ => {}
        }
        if let Some(first) = screen.stack {
            self.stack = (self.stack_of(), first);
        }
        self.screen = screen;
    }
}
