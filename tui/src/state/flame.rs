//! Where one looks in the flame graph.

use super::list::around;
use crate::tables::{NONE, Tree};

/// Where one looks in the flame graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct FlameState {
    /// The hashes from the root to the frame that is drawn as wide as the pane; empty: all.
    pub(crate) zoom: Vec<u64>,
    /// As above, to the selected frame.
    pub(crate) selected: Vec<u64>,
    /// The first level on the screen.
    pub(crate) offset: usize,
    pub(crate) page: usize,
}

impl FlameState {
    /// The frame that is drawn as wide as the pane, or [`NONE`] for all.
    pub(crate) fn zoomed(&self, tree: &Tree) -> u32 {
        tree.nearest(&self.zoom).unwrap_or(NONE)
    }

    /// The selected frame, or [`NONE`] for all.
    pub(crate) fn node(&self, tree: &Tree) -> u32 {
        tree.nearest(&self.selected).unwrap_or(NONE)
    }

    pub(crate) fn zoom_in(&mut self) {
        self.zoom.clone_from(&self.selected);
    }

    /// Whether there was anything to zoom out of.
    pub(crate) fn zoom_out(&mut self) -> bool {
        if self.zoom.is_empty() {
            return false;
        }
        self.selected = std::mem::take(&mut self.zoom);
        self.zoom = self.selected[..self.selected.len() - 1].to_vec();
        true
    }

    pub(crate) fn select(&mut self, tree: &Tree, node: u32) {
        self.selected = tree.path_to(node);
        // Above what is zoomed: then that is what one wants to see.
        if !self.selected.starts_with(&self.zoom) {
            self.zoom.clone_from(&self.selected);
        }
    }

    pub(crate) fn up(&mut self) {
        self.selected.pop();
        if self.selected.len() < self.zoom.len() {
            self.zoom.clone_from(&self.selected);
        }
    }

    /// Selects the heaviest frame that the selected one calls.
    pub(crate) fn down(&mut self, tree: &Tree) {
        let node = self.node(tree);
        if let Some(child) = tree.children(node).max_by_key(|child| tree.nodes[*child as usize].total) {
            self.selected = tree.path_to(child);
        }
    }

    /// How many levels are above the selected one.
    pub(crate) fn level(&self, tree: &Tree) -> usize {
        tree.nodes.get(self.node(tree) as usize).map_or(0, |node| node.depth as usize + 1)
    }

    /// The first level to show on a screen with room for `page`.
    pub(crate) fn first_shown(&self, tree: &Tree, page: usize) -> usize {
        around(self.level(tree), self.offset, page)
    }
}
