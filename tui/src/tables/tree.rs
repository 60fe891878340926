//! A call tree to walk, fold and draw.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};
use uniprof_flamegraph::{CallTree, Direction, Order, Profile, Pruned};

use super::labels::{Label, Labels};

/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// With more nodes than these, those are merged that nobody could see.
const MANY: usize = 100_000;
/// The share of all below which nodes are merged then.
const INVISIBLE: f64 = 2e-5;

/// One call path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    /// The node after the last descendant.
    pub(crate) end: u32,
    pub(crate) depth: u32,
    /// Its place among the labels.
    pub(crate) label: u32,
    pub(crate) own: u64,
    pub(crate) total: u64,
    /// A hash of all names from the root on: the same path has the same one in the next picture.
    pub(crate) path: u64,
}

/// Nodes in depth-first order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) labels: Vec<Label>,
    pub(crate) total: u64,
    /// How many nodes were merged because they were too light.
    pub(crate) merged: usize,
    places: FxHashMap<u64, u32>,
}

impl Tree {
    pub(crate) fn new(profile: &Profile, direction: Direction, order: Order) -> Self {
        let measure = profile.measured().measure();
        let mut calls = CallTree::new(profile, direction, order);
        let mut merged = 0;
        if calls.nodes().len() > MANY {
            merged = calls.prune(measure, INVISIBLE, Pruned::Others).nodes;
        }
        let mut labels = Labels::new();
        let mut nodes: Vec<Node> = Vec::with_capacity(calls.nodes().len());
        let mut open: Vec<u32> = Vec::new();
        for (index, call) in calls.nodes().iter().enumerate() {
            close(&mut nodes, &mut open, call.depth as usize, index as u32);
            let parent = open.last().copied().unwrap_or(NONE);
            let label = labels.of(profile, call.frame);
            let above = nodes.get(parent as usize).map_or(0, |parent| parent.path);
            nodes.push(Node {
                parent,
                end: 0,
                depth: call.depth,
                label,
                own: measure.of(call.own),
                total: measure.of(call.total),
                path: path(above, &labels.labels[label as usize]),
            });
            open.push(index as u32);
        }
        let count = nodes.len() as u32;
        close(&mut nodes, &mut open, 0, count);
        let places = nodes.iter().enumerate().map(|(place, node)| (node.path, place as u32)).collect();
        Self { nodes, labels: labels.labels, total: measure.of(calls.total()), merged, places }
    }

    /// Where the node with this path is.
    pub(crate) fn place(&self, path: u64) -> Option<u32> {
        self.places.get(&path).copied()
    }

    /// The node with this path of hashes from the root on, or the deepest one above it that is still there.
    pub(crate) fn nearest(&self, path: &[u64]) -> Option<u32> {
        path.iter().rev().find_map(|hash| self.place(*hash))
    }

    /// The hashes from the root to a node.
    pub(crate) fn path_to(&self, place: u32) -> Vec<u64> {
        let mut path = Vec::new();
        let mut next = place;
        while let Some(node) = self.nodes.get(next as usize) {
            path.push(node.path);
            next = node.parent;
        }
        path.reverse();
        path
    }

    pub(crate) fn label(&self, place: u32) -> &Label {
        &self.labels[self.nodes[place as usize].label as usize]
    }

    /// The children of a node, or the roots.
    pub(crate) fn children(&self, place: u32) -> impl Iterator<Item = u32> + '_ {
        let (mut next, end) = match self.nodes.get(place as usize) {
            Some(node) => (place + 1, node.end),
            None => (0, self.nodes.len() as u32),
        };
        std::iter::from_fn(move || {
            let child = next;
            (child < end).then(|| {
                next = self.nodes[child as usize].end;
                child
            })
        })
    }

    /// What is measured in the frames whose label `matches` says, each stack counted once.
    pub(crate) fn matched(&self, matches: &[bool]) -> u64 {
        let mut sum = 0;
        let mut next = 0;
        while let Some(node) = self.nodes.get(next) {
            if matches.get(node.label as usize) == Some(&true) {
                sum += node.total;
                next = node.end as usize;
            } else {
                next += 1;
            }
        }
        sum
    }
}

fn close(nodes: &mut [Node], open: &mut Vec<u32>, depth: usize, end: u32) {
    while open.len() > depth {
        let Some(place) = open.pop() else { return };
        nodes[place as usize].end = end;
    }
}

fn path(above: u64, label: &Label) -> u64 {
    let mut hasher = FxHasher::default();
    (above, &label.name, label.kind as u8, label.inlined).hash(&mut hasher);
    hasher.finish()
}
