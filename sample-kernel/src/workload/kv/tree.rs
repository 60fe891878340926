//! An ordered map: a B-tree.

use core::borrow::Borrow;
use core::cell::Cell;

use super::node::{Inserted, Node};

pub(in crate::workload) struct Tree<K, V> {
    root: Node<K, V>,
    /// The most levels that a lookup has gone down.
    depth: Cell<u32>,
}

impl<K: Ord, V> Tree<K, V> {
    pub(in crate::workload) const fn new() -> Self {
        Self { root: Node::leaf(), depth: Cell::new(0) }
    }

    #[inline(never)]
    pub(in crate::workload) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let lookup = self.root.get(key);
        self.depth.set(self.depth.get().max(lookup.levels));
        lookup.value
    }

    pub(in crate::workload) fn depth(&self) -> u32 {
        self.depth.get()
    }

    /// Gives the value that the key had before.
    #[inline(never)]
    pub(in crate::workload) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.root.insert(key, value) {
            Inserted::Replaced(old) => Some(old),
            Inserted::Fitted => None,
            Inserted::Split(middle, right) => {
                let left = core::mem::replace(&mut self.root, Node::leaf());
                self.root = Node::above(left, middle, right);
                None
            }
        }
    }

    #[inline(never)]
    pub(in crate::workload) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let removed = self.root.remove(key);
        if let Some(only_child) = self.root.take_only_child() {
            self.root = only_child;
        }
        removed
    }

    /// Shows the pairs from `from` on, in order, for as long as `more` says so.
    #[inline(never)]
    pub(in crate::workload) fn scan<Q>(&self, from: &Q, mut more: impl FnMut(&K, &V) -> bool)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.root.scan(from, &mut more);
    }
}
