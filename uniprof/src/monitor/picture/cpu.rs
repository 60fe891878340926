//! The profile of what ran, of the heaviest stacks of a span.

use std::collections::HashMap;

use uniprof_flamegraph::{Amount, Frame, FrameId, Profile, ProfileBuilder};

use crate::monitor::model::Model;
use crate::monitor::span::Reach;
use crate::profile::naming::Naming;

/// Stacks of a picture that are told apart.
pub(super) const MOST_STACKS: usize = 10_000;

/// Call paths and frames of a picture: what one takes and how long it takes to make goes by these, not by stacks.
const MOST_PATHS: usize = 40_000;
const MOST_FRAMES: usize = 20_000;

/// What those that are too rare to be told apart are called.
pub(super) const OTHERS: &str = "[others]";

/// The profile of `reach`, and how many samples it is made of.
pub(super) fn profile(model: &mut Model, reach: &Reach) -> (Profile, u64) {
    let Model { images, seen, .. } = model;
    let sums = seen.stacks.sums(reach, MOST_STACKS);
    let mut naming = Naming::new(images, ProfileBuilder::new());
    let mut roots: HashMap<u32, FrameId> = HashMap::new();
    let nanoseconds = |amount: Amount| Amount { weight: seen.clock.nanoseconds(amount.weight), ..amount };
    let mut others = sums.others.clone();
    for (place, amount) in &sums.stacks {
        let Some(stack) = seen.stacks.get(*place) else { continue };
        if naming.builder.node_count() >= MOST_PATHS || naming.builder.frame_count() >= MOST_FRAMES {
            *others.entry(stack.key.owner).or_default() += *amount;
            continue;
        }
        let thread = stack.key.owner.thread;
        let root =
            *roots.entry(thread).or_insert_with(|| naming.builder.thread(thread, &seen.guest.thread(thread)));
        naming.add(root, &stack, nanoseconds(*amount));
    }
    let mut others: Vec<_> = others.iter().collect();
    others.sort_unstable_by_key(|(owner, _)| **owner);
    for (owner, amount) in others {
        let thread = owner.thread;
        let root =
            *roots.entry(thread).or_insert_with(|| naming.builder.thread(thread, &seen.guest.thread(thread)));
        let frame = naming.builder.frame(Frame::unknown(OTHERS));
        naming.builder.add([root, frame], *owner, nanoseconds(*amount));
    }
    let samples = sums.total().samples;
    (naming.builder.finish(), samples)
}
