//! From stacks of addresses to a profile of names.

use std::collections::HashMap;

use uniprof_flamegraph::{Found, Frame, FrameId, Profile, ProfileBuilder, RawStack, RawStacks};
use uniprof_symbolizer::{AddressKind, Resolution};
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::WalkEnd;

use super::images::Images;

/// What is known of a stack besides its addresses; stacks that differ in it are different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where the guest's walk ended.
    pub(crate) end: WalkEnd,
    /// Whether the leaf's caller was found by call-frame information, after the guest's walk had missed it.
    pub(crate) repaired: bool,
}

const REPAIRED: u32 = 1 << 8;

impl Mark {
    /// As the number that raw stacks carry.
    pub(crate) fn to_bits(self) -> u32 {
        self.end as u32 | if self.repaired { REPAIRED } else { 0 }
    }

    fn from_bits(bits: u32) -> Self {
        let end = match bits & 0xff {
            0 => WalkEnd::Root,
            1 => WalkEnd::OutsideStack,
            2 => WalkEnd::NotRising,
            3 => WalkEnd::Depth,
            _ => WalkEnd::NoStack,
        };
        Self { end, repaired: bits & REPAIRED != 0 }
    }
}

/// Names every stack. `thread` gives the name of a thread id.
pub(crate) fn name(stacks: &RawStacks, images: &mut Images, thread: impl Fn(u32) -> String) -> Profile {
    let mut naming = Naming { images, builder: ProfileBuilder::new(), known: HashMap::new() };
    let mut threads: HashMap<u32, FrameId> = HashMap::new();
    for stack in stacks.iter() {
        let id = stack.key.owner.thread;
        let root = *threads.entry(id).or_insert_with(|| naming.builder.frame(Frame::thread(&thread(id))));
        naming.add(root, &stack);
    }
    naming.builder.finish()
}

struct Naming<'a> {
    images: &'a mut Images,
    builder: ProfileBuilder,
    /// Root first, as they are added.
    known: HashMap<(u64, Found), Vec<FrameId>>,
}

impl Naming<'_> {
    fn add(&mut self, root: FrameId, stack: &RawStack<'_>) {
        let mark = Mark::from_bits(stack.key.mark);
        let mut frames = vec![root];
        if let Some(why) = cut_short(mark.end) {
            frames.push(self.builder.frame(Frame::unknown(why)));
        }
        for (index, address) in stack.frames.iter().enumerate().rev() {
            let found = match (index, mark.repaired) {
                (0, _) => Found::Leaf,
                (1, true) => Found::Cfi,
                _ => Found::FramePointer,
            };
            frames.extend_from_slice(self.frames(*address, found));
        }
        self.builder.add(frames, stack.key.owner, stack.sum.amount);
    }

    fn frames(&mut self, address: u64, found: Found) -> &[FrameId] {
        let Self { images, builder, known } = self;
        known.entry((address, found)).or_insert_with(|| {
            let kind = if found == Found::Leaf { AddressKind::Instruction } else { AddressKind::Return };
            match images.resolve(GuestVirtual(address), kind) {
                None => vec![builder.frame(Frame::unknown("[unknown: no image of the guest]"))],
                Some(Resolution::Unknown(reason)) => vec![builder.frame(Frame::unknown(&reason.to_string()))],
                Some(Resolution::Symbol { frames, .. }) => frames
                    .iter()
                    .rev()
                    .map(|frame| {
                        builder.frame(Frame {
                            file: frame.file.as_deref(),
                            line: frame.line,
                            inlined: frame.inlined,
                            found: if frame.inlined { Found::Inline } else { found },
                            ..Frame::function(&frame.function)
                        })
                    })
                    .collect(),
            }
        })
    }
}

/// What is shown at the root of a stack that does not reach its thread's entry.
fn cut_short(end: WalkEnd) -> Option<&'static str> {
    match end {
        WalkEnd::Root => None,
        WalkEnd::OutsideStack => Some("[unknown: the frame pointers lead out of the stack]"),
        WalkEnd::NotRising => Some("[unknown: the frame pointers do not rise]"),
        WalkEnd::Depth => Some("[unknown: deeper than the guest walks]"),
        WalkEnd::NoStack => Some("[unknown: no stack is known here]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_the_table_of_stacks() {
        for end in
            [WalkEnd::Root, WalkEnd::OutsideStack, WalkEnd::NotRising, WalkEnd::Depth, WalkEnd::NoStack]
        {
            for repaired in [false, true] {
                let mark = Mark { end, repaired };
                assert_eq!(Mark::from_bits(mark.to_bits()), mark);
            }
        }
    }
}
