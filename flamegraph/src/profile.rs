//! A profile: interned frames, a tree of interned stacks, and what was sampled at the end of each.

use std::ops::AddAssign;

use rustc_hash::FxHashMap;

use crate::frame::{Found, Frame, Kind, plain};
use crate::intern::{StringId, Strings};

/// The index of a frame in its [`Profile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub(crate) u32);

/// The index of a stack in its [`Profile`]: a frame and, through its parent, all callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub(crate) u32);

/// Where a sample was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The guest's thread id; 0 where there was no thread.
    pub thread: u32,
    /// The vCPU's number.
    pub vcpu: u32,
}

/// How much was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// The number of samples.
    pub samples: u64,
    /// The vCPU time that the samples stand for, in the unit that the caller adds (TSC ticks).
    pub weight: u64,
}

impl Amount {
    /// One sample that stands for `weight`.
    #[must_use]
    pub fn sample(weight: u64) -> Self {
        Self { samples: 1, weight }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.weight = self.weight.saturating_add(other.weight);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StoredFrame {
    pub(crate) name: StringId,
    file: Option<StringId>,
    line: Option<u32>,
    pub(crate) inlined: bool,
    found: Found,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) parent: Option<StackId>,
    pub(crate) frame: FrameId,
}

/// The samples of one stack on one thread and vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// The stack.
    pub stack: StackId,
    /// Where it was sampled.
    pub owner: Owner,
    /// How much of it there was.
    pub amount: Amount,
}

/// Stacks with weights, per thread and vCPU. Made by a [`ProfileBuilder`].
#[derive(Debug, Clone, Default)]
pub struct Profile {
    pub(crate) strings: Strings,
    pub(crate) frames: Vec<StoredFrame>,
    /// A parent always comes before its children.
    pub(crate) nodes: Vec<Node>,
    pub(crate) leaves: Vec<Leaf>,
}

impl Profile {
    /// The sum over all stacks.
    #[must_use]
    pub fn total(&self) -> Amount {
        let mut total = Amount::default();
        for leaf in &self.leaves {
            total += leaf.amount;
        }
        total
    }

    /// Every stack that was sampled, in the order in which it was first added.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The frames of a stack from the leaf to the root.
    pub fn stack(&self, stack: StackId) -> impl Iterator<Item = FrameId> + '_ {
        let mut next = Some(stack);
        std::iter::from_fn(move || {
            let node = self.nodes[next?.0 as usize];
            next = node.parent;
            Some(node.frame)
        })
    }

    /// What is known of a frame.
    #[must_use]
    pub fn frame(&self, id: FrameId) -> Frame<'_> {
        let stored = self.frames[id.0 as usize];
        Frame {
            name: self.strings.get(stored.name),
            file: stored.file.map(|file| self.strings.get(file)),
            line: stored.line,
            inlined: stored.inlined,
            found: stored.found,
            kind: stored.kind,
        }
    }

    /// The threads and vCPUs that have samples, in order, with their sums.
    #[must_use]
    pub fn owners(&self) -> Vec<(Owner, Amount)> {
        let mut sums: FxHashMap<Owner, Amount> = FxHashMap::default();
        for leaf in &self.leaves {
            *sums.entry(leaf.owner).or_default() += leaf.amount;
        }
        let mut owners: Vec<_> = sums.into_iter().collect();
        owners.sort_unstable_by_key(|(owner, _)| *owner);
        owners
    }

    /// The part of the profile whose samples were taken where `keep` says.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(Owner) -> bool) -> Self {
        Self { leaves: self.leaves.iter().filter(|leaf| keep(leaf.owner)).copied().collect(), ..self.clone() }
    }
}

/// Makes a [`Profile`] out of stacks.
#[derive(Debug, Default)]
pub struct ProfileBuilder {
    profile: Profile,
    frame_index: FxHashMap<StoredFrame, FrameId>,
    node_index: FxHashMap<Node, StackId>,
    leaf_index: FxHashMap<(StackId, Owner), usize>,
}

impl ProfileBuilder {
    /// A builder without stacks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of a frame. Callers that add many stacks keep it instead of asking again. Names come from guests and files:
    /// control characters in them, which could rewrite a terminal, become spaces.
    pub fn frame(&mut self, frame: Frame<'_>) -> FrameId {
        let stored = StoredFrame {
            name: self.profile.strings.intern(&plain(frame.name)),
            file: frame.file.map(|file| self.profile.strings.intern(&plain(file))),
            line: frame.line,
            inlined: frame.inlined,
            found: frame.found,
            kind: frame.kind,
        };
        *self.frame_index.entry(stored).or_insert_with(|| {
            self.profile.frames.push(stored);
            FrameId((self.profile.frames.len() - 1) as u32)
        })
    }

    /// Adds what was sampled with the stack `frames`, given from the root to the leaf. An empty stack has nowhere
    /// to be shown; give such samples a frame that says why it is empty.
    ///
    /// # Panics
    ///
    /// Where an id comes from another builder.
    pub fn add(&mut self, frames: impl IntoIterator<Item = FrameId>, owner: Owner, amount: Amount) {
        let mut parent = None;
        for frame in frames {
            assert!((frame.0 as usize) < self.profile.frames.len(), "a frame id of another builder");
            let node = Node { parent, frame };
            let id = *self.node_index.entry(node).or_insert_with(|| {
                self.profile.nodes.push(node);
                StackId((self.profile.nodes.len() - 1) as u32)
            });
            parent = Some(id);
        }
        let Some(stack) = parent else { return };
        let leaf = *self.leaf_index.entry((stack, owner)).or_insert_with(|| {
            self.profile.leaves.push(Leaf { stack, owner, amount: Amount::default() });
            self.profile.leaves.len() - 1
        });
        self.profile.leaves[leaf].amount += amount;
    }

    /// The profile of everything that was added.
    #[must_use]
    pub fn finish(self) -> Profile {
        self.profile
    }
}
