//! Which nodes and frames of a profile its samples need: a filtered profile keeps them all.

use std::cmp::Ordering;

use crate::profile::{FrameId, Profile};

/// The number of what is not used.
const UNUSED: u32 = u32::MAX;

/// New numbers for the nodes and frames that are used.
pub(super) struct Used {
    nodes: Bits,
    /// For each frame of the profile its place in `sorted`.
    frames: Vec<u32>,
    /// The frames that are used, sorted by name, then kind, then inline mark: those that the viewer merges are
    /// neighbours.
    sorted: Vec<u32>,
}

impl Used {
    pub(super) fn of(profile: &Profile) -> Self {
        let mut nodes = Bits::new(profile.nodes.len());
        let mut frames = vec![UNUSED; profile.frames.len()];
        for leaf in profile.leaves() {
            nodes.set(leaf.stack.0 as usize);
        }
        for (index, node) in profile.nodes.iter().enumerate().rev() {
            if nodes.has(index) {
                frames[node.frame.0 as usize] = 0;
                if let Some(parent) = node.parent {
                    nodes.set(parent.0 as usize);
                }
            }
        }
        nodes.count();
        let mut sorted: Vec<u32> = (0..frames.len() as u32).filter(|id| frames[*id as usize] == 0).collect();
        sorted.sort_unstable_by(|a, b| compare(profile, *a, *b));
        for (place, id) in sorted.iter().enumerate() {
            frames[*id as usize] = place as u32;
        }
        Self { nodes, frames, sorted }
    }

    /// The number of nodes that are used.
    pub(super) fn node_count(&self) -> u32 {
        self.nodes.total
    }

    /// The frames that are used, in the order of their numbers.
    pub(super) fn frames(&self) -> impl ExactSizeIterator<Item = FrameId> + '_ {
        self.sorted.iter().map(|id| FrameId(*id))
    }

    /// The number of a frame that is used.
    pub(super) fn frame(&self, id: FrameId) -> u32 {
        self.frames[id.0 as usize]
    }

    /// The number of a node, by its index in the profile; `None` where it is not used.
    pub(super) fn node(&self, index: usize) -> Option<u32> {
        self.nodes.has(index).then(|| self.nodes.before(index))
    }
}

/// A bit for each node, and how many are set before each word: little enough to stay in a processor's cache.
struct Bits {
    words: Vec<u64>,
    before: Vec<u32>,
    total: u32,
}

impl Bits {
    fn new(len: usize) -> Self {
        let words = vec![0; len.div_ceil(64)];
        Self { before: vec![0; words.len()], words, total: 0 }
    }

    fn set(&mut self, index: usize) {
        self.words[index / 64] |= 1 << (index % 64);
    }

    fn has(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Counts the bits, for [`before`](Self::before); to be called when all are set.
    fn count(&mut self) {
        for (word, before) in self.words.iter().zip(&mut self.before) {
            *before = self.total;
            self.total += word.count_ones();
        }
    }

    /// How many bits are set before this one.
    fn before(&self, index: usize) -> u32 {
        let below = self.words[index / 64] & ((1 << (index % 64)) - 1);
        self.before[index / 64] + below.count_ones()
    }
}

fn compare(profile: &Profile, a: u32, b: u32) -> Ordering {
    let [a_stored, b_stored] = [a, b].map(|id| &profile.frames[id as usize]);
    let by_name = if a_stored.name == b_stored.name {
        Ordering::Equal
    } else {
        profile.strings.get(a_stored.name).cmp(profile.strings.get(b_stored.name))
    };
    by_name.then((a_stored.kind, a_stored.inlined, a).cmp(&(b_stored.kind, b_stored.inlined, b)))
}
