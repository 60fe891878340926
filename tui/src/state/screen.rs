//! What was drawn where, so that a mouse finds it and a page has a length.

use ratatui::layout::{Position, Rect};

use super::list::ListId;
use super::pane::Pane;
use crate::tables::Measure;

/// What lies under a mouse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    Pane(Pane),
    Help,
    /// A row by its place among the shown ones.
    Row(ListId, usize),
    Column(ListId, usize),
    TreeRow(usize),
    /// A frame of the flame graph, or all.
    Flame(u32),
    Measure(Measure),
    /// The bar of time.
    Slider,
    /// A row of the popup.
    Switch(usize),
    /// The stack of what is selected.
    Stack,
    /// The popup itself: a click beside it closes it.
    Popup,
}

/// The last drawing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen {
    /// What lies where; what comes later covers what came before.
    pub(crate) hits: Vec<(Rect, Target)>,
    /// For each table that was drawn, its first row and how many rows there is room for.
    pub(crate) lists: Vec<(ListId, usize, usize)>,
    /// The same of the tree, the flame graph, the popup of switches and help.
    pub(crate) tree: Option<(usize, usize)>,
    pub(crate) flame: Option<(usize, usize)>,
    pub(crate) popup: Option<(usize, usize)>,
    /// The first frame of the stack that was drawn.
    pub(crate) stack: Option<usize>,
}

impl Screen {
    pub(crate) fn at(&self, x: u16, y: u16) -> Option<(Rect, Target)> {
        self.hits.iter().rev().find(|(area, _)| area.contains(Position::new(x, y))).copied()
    }
}
