//! A profile: interned frames, a tree of interned stacks, and what was sampled at the end of each.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use rustc_hash::FxHashMap;

use crate::frame::{Found, Frame, Kind, plain};
use crate::image::{Image, ImageId};
use crate::intern::{StringId, Strings};
use crate::measured::Measured;

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

/// How much was sampled, or measured otherwise; the profile says [what](Measured).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// The number of samples, or of what else was counted.
    pub samples: u64,
    /// The vCPU time that the samples stand for, in nanoseconds, or another [weight](Measured::weight); 0 where it is not known.
    pub weight: u64,
}

impl Amount {
    /// One sample that stands for `weight` nanoseconds.
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
    image: Option<ImageId>,
    address: Option<u64>,
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

/// One sample, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedSample {
    /// When: nanoseconds since the guest's boot.
    pub at: u64,
    /// The stack.
    pub stack: StackId,
    /// Where it was taken.
    pub owner: Owner,
    /// The vCPU time that it stands for, in nanoseconds.
    pub weight: u64,
}

/// Stacks with weights, per thread and vCPU. Made by a [`ProfileBuilder`].
#[derive(Debug, Clone, Default)]
pub struct Profile {
    measured: Measured,
    pub(crate) strings: Strings,
    pub(crate) frames: Vec<StoredFrame>,
    /// A parent always comes before its children.
    pub(crate) nodes: Vec<Node>,
    pub(crate) leaves: Vec<Leaf>,
    images: Vec<Image>,
    threads: BTreeMap<u32, StringId>,
    timeline: Vec<TimedSample>,
}

impl Profile {
    /// What it is a profile of.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.measured
    }

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
            image: stored.image,
            address: stored.address,
        }
    }

    /// The number of frames; their ids count from 0.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// What is known of an image.
    #[must_use]
    pub fn image(&self, id: ImageId) -> &Image {
        &self.images[id.0 as usize]
    }

    /// The images, in the order of their ids.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The name of a thread, where it has one.
    #[must_use]
    pub fn thread_name(&self, id: u32) -> Option<&str> {
        self.threads.get(&id).map(|name| self.strings.get(*name))
    }

    /// Every sample in the order of time; empty where times were not kept. The same samples as the leaves sum up.
    #[must_use]
    pub fn timeline(&self) -> &[TimedSample] {
        &self.timeline
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
        Self {
            measured: self.measured,
            leaves: self.leaves.iter().filter(|leaf| keep(leaf.owner)).copied().collect(),
            timeline: self.timeline.iter().filter(|sample| keep(sample.owner)).copied().collect(),
            strings: self.strings.clone(),
            frames: self.frames.clone(),
            nodes: self.nodes.clone(),
            images: self.images.clone(),
            threads: self.threads.clone(),
        }
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

    /// A builder without stacks of what was `measured`; [`ProfileBuilder::new`] is for samples.
    #[must_use]
    pub fn of(measured: Measured) -> Self {
        Self { profile: Profile { measured, ..Profile::default() }, ..Self::default() }
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
            image: frame.image,
            address: frame.address,
        };
        *self.frame_index.entry(stored).or_insert_with(|| {
            self.profile.frames.push(stored);
            FrameId((self.profile.frames.len() - 1) as u32)
        })
    }

    /// The id of an image, for the frames that are its code.
    pub fn image(&mut self, image: Image) -> ImageId {
        let images = &mut self.profile.images;
        let known = images.iter().position(|other| *other == image);
        let index = known.unwrap_or_else(|| {
            images.push(image);
            images.len() - 1
        });
        ImageId(index as u32)
    }

    /// Names a thread; gives the frame at the root of its stacks.
    pub fn thread(&mut self, id: u32, name: &str) -> FrameId {
        let name = plain(name);
        let interned = self.profile.strings.intern(&name);
        self.profile.threads.insert(id, interned);
        self.frame(Frame::thread(&name))
    }

    /// The name of one of this builder's frames.
    ///
    /// # Panics
    ///
    /// Where the id comes from another builder.
    #[must_use]
    pub fn name(&self, frame: FrameId) -> &str {
        self.profile.frame(frame).name
    }

    /// Keeps the time of a sample whose amount was [added](Self::add) to `sample.stack`. In any order.
    pub fn keep_time(&mut self, sample: TimedSample) {
        self.profile.timeline.push(sample);
    }

    /// Adds what was sampled with the stack `frames`, given from the root to the leaf, and gives the stack's id. An empty
    /// stack has nowhere to be shown; give such samples a frame that says why it is empty.
    ///
    /// # Panics
    ///
    /// Where an id comes from another builder.
    pub fn add(
        &mut self,
        frames: impl IntoIterator<Item = FrameId>,
        owner: Owner,
        amount: Amount,
    ) -> Option<StackId> {
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
        let stack = parent?;
        let leaf = *self.leaf_index.entry((stack, owner)).or_insert_with(|| {
            self.profile.leaves.push(Leaf { stack, owner, amount: Amount::default() });
            self.profile.leaves.len() - 1
        });
        self.profile.leaves[leaf].amount += amount;
        Some(stack)
    }

    /// How many different call paths there are so far.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.profile.nodes.len()
    }

    /// How many different frames there are so far.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.profile.frames.len()
    }

    /// The profile of everything that was added.
    #[must_use]
    pub fn finish(mut self) -> Profile {
        let Profile { frames, nodes, leaves, timeline, .. } = &mut self.profile;
        timeline.sort_by_key(|sample| sample.at);
        // A profile may be kept for long, and up to half of what these have room for is empty.
        frames.shrink_to_fit();
        nodes.shrink_to_fit();
        leaves.shrink_to_fit();
        self.profile
    }
}
