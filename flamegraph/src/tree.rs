//! The call tree: a profile's stacks with equal frames merged, as every picture and report shows them.

use crate::merge::Merge;
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

impl CallTree {
    /// The call tree of `profile`.
    #[must_use]
    pub fn new(profile: &Profile, direction: Direction, order: Order) -> Self {
        Self { nodes: Merge::new(profile, direction).depth_first(order), total: profile.total() }
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
