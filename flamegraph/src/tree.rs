//! The call tree: a profile's stacks with equal frames merged, as every picture and report shows them.

use rustc_hash::FxHashMap;

use crate::frame::Kind;
use crate::intern::StringId;
use crate::profile::{Amount, FrameId, Profile};

/// Which of the two figures of an [`Amount`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// The number of samples.
    #[default]
    Samples,
    /// The vCPU time that they stand for.
    Weight,
}

impl Measure {
    /// The figure that counts.
    #[must_use]
    pub fn of(self, amount: Amount) -> u64 {
        match self {
            Self::Samples => amount.samples,
            Self::Weight => amount.weight,
        }
    }
}

/// Which end of the stacks is the root of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// From the thread's entry to the leaf: who calls what.
    #[default]
    Callees,
    /// From the leaf to the thread's entry: who it is called by.
    Callers,
}

/// The order among the frames that have the same parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By name, so that pictures of two recordings can be compared.
    Name,
    /// The heaviest first, then by name.
    Heaviest(Measure),
}

/// One call path of a [`CallTree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallNode {
    /// 0 at the root of a stack.
    pub depth: u32,
    /// A frame with this node's name; its line is that of one of the merged frames. `None` in a node that stands for
    /// pruned ones.
    pub frame: Option<FrameId>,
    /// What was sampled in this frame itself.
    pub own: Amount,
    /// What was sampled in this frame and all that it led to.
    pub total: Amount,
}

/// What [`CallTree::prune`] does with the nodes that are too light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// They become part of their parent's own amount, and of nothing where they have no parent.
    IntoParent,
    /// Those with the same parent become one node, without a frame and shown as `[others]`.
    Others,
}

/// How much [`CallTree::prune`] took out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// The number of nodes that are gone.
    pub nodes: usize,
    /// What was sampled in them.
    pub amount: Amount,
}

/// A profile's stacks, merged where the frames have the same name, kind and inline mark (file, line and how a frame was
/// found do not divide it). The nodes lie in depth-first order: a node's descendants follow it and are deeper.
#[derive(Debug, Clone)]
pub struct CallTree {
    nodes: Vec<CallNode>,
    total: Amount,
}

type Key = (Option<u32>, StringId, Kind, bool);

#[derive(Default)]
struct Merge {
    index: FxHashMap<Key, u32>,
    parents: Vec<Option<u32>>,
    nodes: Vec<CallNode>,
}

impl Merge {
    fn child(&mut self, profile: &Profile, parent: Option<u32>, frame: FrameId) -> u32 {
        let stored = profile.frames[frame.0 as usize];
        let key = (parent, stored.name, stored.kind, stored.inlined);
        *self.index.entry(key).or_insert_with(|| {
            let depth = parent.map_or(0, |parent| self.nodes[parent as usize].depth + 1);
            let amount = Amount::default();
            self.parents.push(parent);
            self.nodes.push(CallNode { depth, frame: Some(frame), own: amount, total: amount });
            (self.nodes.len() - 1) as u32
        })
    }

    fn callees(profile: &Profile) -> Self {
        let mut used = vec![false; profile.nodes.len()];
        for leaf in &profile.leaves {
            used[leaf.stack.0 as usize] = true;
        }
        for index in (0..used.len()).rev() {
            if let (true, Some(parent)) = (used[index], profile.nodes[index].parent) {
                used[parent.0 as usize] = true;
            }
        }
        let mut merge = Self::default();
        let mut merged = vec![0; profile.nodes.len()];
        for (index, node) in profile.nodes.iter().enumerate().filter(|(index, _)| used[*index]) {
            let parent = node.parent.map(|parent| merged[parent.0 as usize]);
            merged[index] = merge.child(profile, parent, node.frame);
        }
        for leaf in &profile.leaves {
            merge.nodes[merged[leaf.stack.0 as usize] as usize].own += leaf.amount;
        }
        merge
    }

    fn callers(profile: &Profile) -> Self {
        let mut merge = Self::default();
        for leaf in &profile.leaves {
            let mut parent = None;
            for frame in profile.stack(leaf.stack) {
                parent = Some(merge.child(profile, parent, frame));
            }
            if let Some(node) = parent {
                merge.nodes[node as usize].own += leaf.amount;
            }
        }
        merge
    }

    fn sum(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let own = self.nodes[index].own;
            self.nodes[index].total += own;
            if let Some(parent) = self.parents[index] {
                let total = self.nodes[index].total;
                self.nodes[parent as usize].total += total;
            }
        }
    }

    fn depth_first(self, profile: &Profile, order: Order) -> Vec<CallNode> {
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        let mut pending = Vec::new();
        for (index, parent) in self.parents.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent as usize].push(index as u32),
                None => pending.push(index as u32),
            }
        }
        let sort = |siblings: &mut Vec<u32>| {
            siblings.sort_unstable_by(|&a, &b| {
                let (a, b) = (&self.nodes[a as usize], &self.nodes[b as usize]);
                let name = || name_order(profile, b).cmp(&name_order(profile, a));
                match order {
                    Order::Name => name(),
                    Order::Heaviest(measure) => measure.of(a.total).cmp(&measure.of(b.total)).then_with(name),
                }
            });
        };
        sort(&mut pending);
        let mut sorted = Vec::with_capacity(self.nodes.len());
        while let Some(next) = pending.pop() {
            sorted.push(self.nodes[next as usize]);
            sort(&mut children[next as usize]);
            pending.append(&mut children[next as usize]);
        }
        sorted
    }
}

fn name_order<'a>(profile: &'a Profile, node: &CallNode) -> Option<(&'a str, bool, Kind)> {
    node.frame.map(|id| {
        let frame = profile.frame(id);
        (frame.name, frame.inlined, frame.kind)
    })
}

impl CallTree {
    /// The call tree of `profile`.
    #[must_use]
    pub fn new(profile: &Profile, direction: Direction, order: Order) -> Self {
        let mut merge = match direction {
            Direction::Callees => Merge::callees(profile),
            Direction::Callers => Merge::callers(profile),
        };
        merge.sum();
        Self { nodes: merge.depth_first(profile, order), total: profile.total() }
    }

    /// The nodes in depth-first order.
    #[must_use]
    pub fn nodes(&self) -> &[CallNode] {
        &self.nodes
    }

    /// The sum over all stacks; pruning does not change it.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }

    /// Takes out the nodes whose total is less than `share` (0 to 1) of all.
    pub fn prune(&mut self, measure: Measure, share: f64, how: Pruned) -> PruneReport {
        let floor = measure.of(self.total) as f64 * share;
        let mut report = PruneReport::default();
        let mut kept: Vec<CallNode> = Vec::new();
        // The nodes on the path to the current one, and for each depth what was pruned there.
        let mut path: Vec<usize> = Vec::new();
        let mut others: Vec<Amount> = vec![Amount::default()];
        let mut cut: Option<u32> = None;
        for node in &self.nodes {
            if cut.is_some_and(|depth| node.depth > depth) {
                report.nodes += 1;
                continue;
            }
            cut = None;
            close(&mut kept, &mut path, &mut others, node.depth as usize, how);
            if (measure.of(node.total) as f64) < floor {
                report.nodes += 1;
                report.amount += node.total;
                others[node.depth as usize] += node.total;
                cut = Some(node.depth);
            } else {
                path.push(kept.len());
                others.push(Amount::default());
                kept.push(*node);
            }
        }
        close(&mut kept, &mut path, &mut others, 0, how);
        if how == Pruned::Others {
            push_others(&mut kept, 0, others[0]);
        }
        self.nodes = kept;
        report
    }

    /// The tree as stacks: for every node with an amount of its own, the frames from the root and that amount.
    pub(crate) fn for_each_stack<E>(
        &self,
        mut visit: impl FnMut(&[Option<FrameId>], Amount) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut path = Vec::new();
        for node in &self.nodes {
            path.truncate(node.depth as usize);
            path.push(node.frame);
            if node.own != Amount::default() {
                visit(&path, node.own)?;
            }
        }
        Ok(())
    }
}

/// Leaves the open nodes that are at `depth` or deeper, and gives each what was pruned below it.
fn close(
    kept: &mut Vec<CallNode>,
    path: &mut Vec<usize>,
    others: &mut Vec<Amount>,
    depth: usize,
    how: Pruned,
) {
    while path.len() > depth {
        let (Some(parent), Some(amount)) = (path.pop(), others.pop()) else { return };
        match how {
            Pruned::IntoParent => kept[parent].own += amount,
            Pruned::Others => push_others(kept, kept[parent].depth + 1, amount),
        }
    }
}

fn push_others(kept: &mut Vec<CallNode>, depth: u32, amount: Amount) {
    if amount != Amount::default() {
        kept.push(CallNode { depth, frame: None, own: amount, total: amount });
    }
}
