//! Where one looks in the call tree.

use rustc_hash::FxHashSet;

use super::list::around;
use crate::tables::{NONE, Tree};

/// A new picture's tree is unfolded along its heaviest path, as far as a call has more than this share of its caller.
const MAIN_PATH: f64 = 0.5;

/// Where one looks in the call tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct TreeState {
    /// Whether callers are shown rather than callees.
    pub(crate) callers: bool,
    /// Paths whose children are shown.
    pub(crate) unfolded: FxHashSet<u64>,
    /// The hashes from the root to the selected node; empty: whatever is first.
    pub(crate) selected: Vec<u64>,
    /// The nodes that are shown.
    pub(crate) rows: Vec<u32>,
    pub(crate) cursor: usize,
    pub(crate) offset: usize,
    pub(crate) page: usize,
    /// Whether its main path has been unfolded already.
    begun: bool,
}

impl TreeState {
    /// Takes a new picture's tree, or what has been folded.
    pub(crate) fn arrange(&mut self, tree: &Tree) {
        if !self.begun && !tree.nodes.is_empty() {
            self.begun = true;
            self.unfold_main_path(tree);
        }
        self.rows.clear();
        let mut next = 0;
        while let Some(node) = tree.nodes.get(next) {
            self.rows.push(next as u32);
            next = if self.unfolded.contains(&node.path) { next + 1 } else { node.end as usize };
        }
        let nearest = tree.nearest(&self.selected);
        // Folded away with a caller: that one is selected then.
        self.cursor =
            nearest.map_or(0, |node| self.rows.partition_point(|row| *row <= node).saturating_sub(1));
    }

    fn unfold_main_path(&mut self, tree: &Tree) {
        let mut at = NONE;
        let mut above = tree.total;
        loop {
            let Some(child) = tree.children(at).next() else { return };
            let node = tree.nodes[child as usize];
            if (node.total as f64) < above as f64 * MAIN_PATH && at != NONE {
                return;
            }
            self.unfolded.insert(node.path);
            above = node.total;
            at = child;
        }
    }

    /// Forgets what belongs to one direction.
    pub(crate) fn turn(&mut self, callers: bool) {
        *self = Self { callers, page: self.page, ..Self::default() };
    }

    pub(crate) fn node(&self) -> Option<u32> {
        self.rows.get(self.cursor).copied()
    }

    pub(crate) fn select_row(&mut self, tree: &Tree, row: usize) {
        let Some(last) = self.rows.len().checked_sub(1) else { return };
        self.cursor = row.min(last);
        self.selected = tree.path_to(self.rows[self.cursor]);
    }

    /// Shows the children of the selected node, and theirs as long as there is only one.
    pub(crate) fn unfold(&mut self, tree: &Tree) {
        let mut next = self.node();
        while let Some(node) = next {
            self.unfolded.insert(tree.nodes[node as usize].path);
            let mut children = tree.children(node);
            next = children.next().filter(|_| children.next().is_none());
        }
    }

    /// Hides the children of the selected node; where they are hidden already, selects its caller.
    pub(crate) fn fold(&mut self, tree: &Tree) {
        let Some(node) = self.node() else { return };
        let path = tree.nodes[node as usize].path;
        let has_children = tree.nodes[node as usize].end > node + 1;
        if self.unfolded.remove(&path) && has_children {
            return;
        }
        if tree.nodes[node as usize].parent != NONE {
            self.selected.pop();
        }
    }

    pub(crate) fn toggle(&mut self, tree: &Tree) {
        let Some(node) = self.node() else { return };
        if self.unfolded.contains(&tree.nodes[node as usize].path) {
            self.unfolded.remove(&tree.nodes[node as usize].path);
        } else {
            self.unfold(tree);
        }
    }

    /// Shows or hides all below the selected node.
    pub(crate) fn all_below(&mut self, tree: &Tree, show: bool) {
        let Some(node) = self.node() else { return };
        for below in node..tree.nodes[node as usize].end {
            let path = tree.nodes[below as usize].path;
            if show {
                self.unfolded.insert(path);
            } else {
                self.unfolded.remove(&path);
            }
        }
    }

    /// Unfolds what leads to a node, and selects it.
    pub(crate) fn reveal(&mut self, tree: &Tree, node: u32) {
        self.selected = tree.path_to(node);
        let above = self.selected.len().saturating_sub(1);
        self.unfolded.extend(self.selected[..above].iter().copied());
    }

    /// The first row to show on a screen with room for `page`.
    pub(crate) fn first_shown(&self, page: usize) -> usize {
        let most = self.rows.len().saturating_sub(page);
        around(self.cursor, self.offset.min(most), page)
    }
}
