//! The stacks and frames that samples are left of, numbered without gaps: a filter leaves the others in the profile.

use crate::frame::Frame;
use crate::profile::{FrameId, Profile, StackId};

const NONE: u32 = u32::MAX;

/// A call path: its last frame, and the path to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) parent: Option<u32>,
    pub(super) frame: u32,
}

/// What of a profile is in use, in its order: a parent comes before its children.
pub(super) struct Dense {
    pub(super) nodes: Vec<Node>,
    pub(super) frames: Vec<FrameId>,
    node_of: Vec<u32>,
    frame_of: Vec<u32>,
}

impl Dense {
    /// The frames that `keep` takes and the stacks that are left of them.
    pub(super) fn new(profile: &Profile, keep: impl Fn(&Frame<'_>) -> bool) -> Self {
        let used = used_nodes(profile);
        let mut dense = Self {
            nodes: Vec::new(),
            frames: Vec::new(),
            node_of: vec![NONE; profile.nodes.len()],
            frame_of: vec![NONE; profile.frame_count()],
        };
        for (index, node) in profile.nodes.iter().enumerate().filter(|(index, _)| used[*index]) {
            let parent = node.parent.and_then(|parent| dense.node(parent));
            dense.node_of[index] = if keep(&profile.frame(node.frame)) {
                let frame = dense.number(node.frame);
                dense.nodes.push(Node { parent, frame });
                (dense.nodes.len() - 1) as u32
            } else {
                parent.unwrap_or(NONE)
            };
        }
        dense
    }

    fn number(&mut self, frame: FrameId) -> u32 {
        let place = &mut self.frame_of[frame.0 as usize];
        if *place == NONE {
            *place = self.frames.len() as u32;
            self.frames.push(frame);
        }
        *place
    }

    /// The number of a stack; `None` where none of its frames was kept.
    pub(super) fn node(&self, stack: StackId) -> Option<u32> {
        Some(self.node_of[stack.0 as usize]).filter(|node| *node != NONE)
    }

    /// The frames of a stack, from the leaf to the root.
    pub(super) fn path(&self, node: Option<u32>) -> impl Iterator<Item = u32> + '_ {
        let mut next = node;
        std::iter::from_fn(move || {
            let node = self.nodes[next? as usize];
            next = node.parent;
            Some(node.frame)
        })
    }
}

fn used_nodes(profile: &Profile) -> Vec<bool> {
    let mut used = vec![false; profile.nodes.len()];
    for leaf in profile.leaves() {
        used[leaf.stack.0 as usize] = true;
    }
    for index in (0..used.len()).rev() {
        if let (true, Some(parent)) = (used[index], profile.nodes[index].parent) {
            used[parent.0 as usize] = true;
        }
    }
    used
}
