//! Making one call path of the stacks that look alike.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::frame::Kind;
use crate::profile::{Amount, FrameId, Profile};
use crate::tree::{CallNode, Direction, Order};

const NO_PARENT: u32 = u32::MAX;

/// A call tree whose nodes lie in the order in which they were found: a parent before its children.
pub(crate) struct Merge {
    nodes: Vec<CallNode>,
    parents: Vec<u32>,
    /// For each node the class of its frame.
    classes: Vec<u32>,
}

impl Merge {
    pub(crate) fn new(profile: &Profile, direction: Direction) -> Self {
        let classes = classes(profile);
        let mut adder = Adder {
            classes: &classes,
            index: FxHashMap::default(),
            tree: Self { nodes: Vec::new(), parents: Vec::new(), classes: Vec::new() },
        };
        match direction {
            Direction::Callees => adder.add_callees(profile),
            Direction::Callers => adder.add_callers(profile),
        }
        let mut tree = adder.tree;
        tree.sum();
        tree
    }

    fn sum(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let own = self.nodes[index].own;
            self.nodes[index].total += own;
            let total = self.nodes[index].total;
            if let Some(parent) = self.nodes.get_mut(self.parents[index] as usize) {
                parent.total += total;
            }
        }
    }

    pub(crate) fn depth_first(self, order: Order) -> Vec<CallNode> {
        let (mut children, starts) = self.children();
        let sort = |siblings: &mut [u32]| match order {
            Order::Name => siblings.sort_unstable_by_key(|&node| Reverse(self.classes[node as usize])),
            Order::Heaviest(measure) => siblings.sort_unstable_by_key(|&node| {
                (measure.of(self.nodes[node as usize].total), Reverse(self.classes[node as usize]))
            }),
        };
        for bounds in starts.windows(2) {
            sort(&mut children[bounds[0] as usize..bounds[1] as usize]);
        }
        let of = |node: usize| &children[starts[node] as usize..starts[node + 1] as usize];
        // The roots are the children of the place after the last node.
        let mut pending = of(self.nodes.len()).to_vec();
        let mut sorted = Vec::with_capacity(self.nodes.len());
        while let Some(next) = pending.pop() {
            sorted.push(self.nodes[next as usize]);
            pending.extend_from_slice(of(next as usize));
        }
        sorted
    }

    /// The children of all nodes one after the other, and where each node's start; the roots come last.
    fn children(&self) -> (Vec<u32>, Vec<u32>) {
        let place = |parent: u32| (parent as usize).min(self.nodes.len());
        let mut starts = vec![0u32; self.nodes.len() + 2];
        for parent in &self.parents {
            starts[place(*parent) + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        let mut children = vec![0; self.nodes.len()];
        for (node, parent) in self.parents.iter().enumerate() {
            let at = &mut next[place(*parent)];
            children[*at as usize] = node as u32;
            *at += 1;
        }
        (children, starts)
    }
}

/// For each frame a number that is equal for frames to be merged, in the order of their names.
fn classes(profile: &Profile) -> Vec<u32> {
    let key = |index: usize| -> (&str, bool, Kind) {
        let frame = profile.frame(FrameId(index as u32));
        (frame.name, frame.inlined, frame.kind)
    };
    let mut sorted: Vec<usize> = (0..profile.frames.len()).collect();
    sorted.sort_by_key(|index| key(*index));
    let mut classes = vec![0; sorted.len()];
    for pair in sorted.windows(2) {
        classes[pair[1]] = classes[pair[0]] + u32::from(key(pair[0]) != key(pair[1]));
    }
    classes
}

struct Adder<'a> {
    classes: &'a [u32],
    /// From a parent and a class to the node.
    index: FxHashMap<(u32, u32), u32>,
    tree: Merge,
}

impl Adder<'_> {
    fn child(&mut self, parent: u32, frame: FrameId) -> u32 {
        let class = self.classes[frame.0 as usize];
        *self.index.entry((parent, class)).or_insert_with(|| {
            let tree = &mut self.tree;
            let depth = tree.nodes.get(parent as usize).map_or(0, |parent| parent.depth + 1);
            let amount = Amount::default();
            tree.parents.push(parent);
            tree.classes.push(class);
            tree.nodes.push(CallNode { depth, frame: Some(frame), own: amount, total: amount });
            (tree.nodes.len() - 1) as u32
        })
    }

    fn add_callees(&mut self, profile: &Profile) {
        let mut used = vec![false; profile.nodes.len()];
        for leaf in &profile.leaves {
            used[leaf.stack.0 as usize] = true;
        }
        for index in (0..used.len()).rev() {
            if let (true, Some(parent)) = (used[index], profile.nodes[index].parent) {
                used[parent.0 as usize] = true;
            }
        }
        let mut merged = vec![NO_PARENT; profile.nodes.len()];
        for (index, node) in profile.nodes.iter().enumerate().filter(|(index, _)| used[*index]) {
            let parent = node.parent.map_or(NO_PARENT, |parent| merged[parent.0 as usize]);
            merged[index] = self.child(parent, node.frame);
        }
        for leaf in &profile.leaves {
            self.tree.nodes[merged[leaf.stack.0 as usize] as usize].own += leaf.amount;
        }
    }

    fn add_callers(&mut self, profile: &Profile) {
        for leaf in &profile.leaves {
            let mut parent = NO_PARENT;
            for frame in profile.stack(leaf.stack) {
                parent = self.child(parent, frame);
            }
            if let Some(node) = self.tree.nodes.get_mut(parent as usize) {
                node.own += leaf.amount;
            }
        }
    }
}
