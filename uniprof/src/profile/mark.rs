//! What is known of a stack besides its addresses: how each frame was found, and why the stack ends. Packed into the words that
//! [`RawStacks`](uniprof_flamegraph::RawStacks) sums by, so that stacks that differ in it are different.

use uniprof_flamegraph::Found;
use uniprof_symbolizer::{AddressKind, FrameSource, Missing, UnwindEnd, UnwoundFrame};
use uniprof_wire::record::{SnapshotRecord, WalkEnd};

/// How a stack came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The guest walked along frame pointers.
    Walked {
        end: WalkEnd,
        /// Whether the leaf's caller was found by call-frame information, after the guest's walk had missed it.
        repaired: bool,
    },
    /// The host unwound a snapshot. Behind the addresses lie words with [`FRAME_BITS`] for each of them.
    Unwound(Cut),
}

/// Where an unwound stack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    Root,
    Snapshot,
    Stack,
    NoStack,
    NotRising,
    NotCode,
    NoImage,
    NoCallFrameInfo,
    LostRegister,
    Damaged,
    Depth,
    Other,
}

const CUTS: [Cut; 12] = [
    Cut::Root,
    Cut::Snapshot,
    Cut::Stack,
    Cut::NoStack,
    Cut::NotRising,
    Cut::NotCode,
    Cut::NoImage,
    Cut::NoCallFrameInfo,
    Cut::LostRegister,
    Cut::Damaged,
    Cut::Depth,
    Cut::Other,
];
const WALK_ENDS: [WalkEnd; 5] =
    [WalkEnd::Root, WalkEnd::OutsideStack, WalkEnd::NotRising, WalkEnd::Depth, WalkEnd::NoStack];

const END: u32 = 0xff;
const REPAIRED: u32 = 1 << 8;
const UNWOUND: u32 = 1 << 9;

impl Mark {
    /// As the number that raw stacks carry.
    pub(crate) fn to_bits(self) -> u32 {
        match self {
            Self::Walked { end, repaired } => end as u32 | if repaired { REPAIRED } else { 0 },
            Self::Unwound(cut) => cut as u32 | UNWOUND,
        }
    }

    /// What [`Mark::to_bits`] made.
    pub(crate) fn from_bits(bits: u32) -> Self {
        let end = (bits & END) as usize;
        if bits & UNWOUND != 0 {
            return Self::Unwound(CUTS.get(end).copied().unwrap_or(Cut::Other));
        }
        let end = WALK_ENDS.get(end).copied().unwrap_or(WalkEnd::NoStack);
        Self::Walked { end, repaired: bits & REPAIRED != 0 }
    }

    /// What is shown at the root of a stack that does not reach its thread's entry.
    pub(crate) fn cut_short(self) -> Option<&'static str> {
        match self {
            Self::Walked { end, .. } => match end {
                WalkEnd::Root => None,
                WalkEnd::OutsideStack => Some("[unknown: the frame pointers lead out of the stack]"),
                WalkEnd::NotRising => Some("[unknown: the frame pointers do not rise]"),
                WalkEnd::Depth => Some("[unknown: deeper than the guest walks]"),
                WalkEnd::NoStack => Some("[unknown: no stack is known here]"),
            },
            Self::Unwound(cut) => match cut {
                Cut::Root => None,
                Cut::Snapshot => Some("[unknown: beyond the sampled part of the stack]"),
                Cut::Stack => Some("[unknown: the stack ends before a thread's entry]"),
                Cut::NoStack => Some("[unknown: no stack is known here]"),
                Cut::NotRising => Some("[unknown: the next frame would not lie above this one]"),
                Cut::NotCode => Some("[unknown: the return address points to no code]"),
                Cut::NoImage => Some("[unknown: no image has this code]"),
                Cut::NoCallFrameInfo => Some("[unknown: no call-frame information covers this code]"),
                Cut::LostRegister => Some("[unknown: the caller depends on a register that was lost]"),
                Cut::Damaged => Some("[unknown: the call-frame information is damaged]"),
                Cut::Depth => Some("[unknown: deeper than is unwound]"),
                Cut::Other => Some("[unknown: unwinding ended]"),
            },
        }
    }

    /// The addresses of a raw stack, leaf first, each with what it is and how it was found.
    pub(crate) fn frames(self, words: &[u64]) -> impl Iterator<Item = (u64, AddressKind, Found)> + '_ {
        let addresses = match self {
            Self::Walked { .. } => words.len(),
            Self::Unwound(_) => words.len() - words.len().div_ceil(FRAMES_PER_WORD + 1),
        };
        let (addresses, tags) = words.split_at(addresses);
        addresses.iter().enumerate().map(move |(index, address)| {
            let (kind, found) = match self {
                Self::Walked { repaired, .. } => walked(index, repaired),
                Self::Unwound(_) => {
                    let word = tags.get(index / FRAMES_PER_WORD).copied().unwrap_or(0);
                    unpack(word >> (index % FRAMES_PER_WORD * FRAME_BITS))
                }
            };
            (*address, kind, found)
        })
    }
}

fn walked(index: usize, repaired: bool) -> (AddressKind, Found) {
    match (index, repaired) {
        (0, _) => (AddressKind::Instruction, Found::Leaf),
        (1, true) => (AddressKind::Return, Found::Cfi),
        _ => (AddressKind::Return, Found::FramePointer),
    }
}

/// Why a snapshot's stack ends where it does.
pub(crate) fn cut(end: UnwindEnd, snapshot: &SnapshotRecord<'_>) -> Cut {
    match end {
        UnwindEnd::Root => Cut::Root,
        UnwindEnd::BeyondStack if snapshot.stack.is_empty() => Cut::NoStack,
        UnwindEnd::BeyondStack if snapshot.reaches_stack_end() => Cut::Stack,
        UnwindEnd::BeyondStack => Cut::Snapshot,
        UnwindEnd::NotRising => Cut::NotRising,
        UnwindEnd::NotCode { .. } => Cut::NotCode,
        UnwindEnd::NoRule { missing, .. } => match missing {
            Missing::Image => Cut::NoImage,
            Missing::CallFrameInfo => Cut::NoCallFrameInfo,
            Missing::Register(_) => Cut::LostRegister,
            _ => Cut::Other,
        },
        UnwindEnd::Damaged => Cut::Damaged,
        UnwindEnd::Depth => Cut::Depth,
        _ => Cut::Other,
    }
}

const FRAME_BITS: usize = 4;
const FRAMES_PER_WORD: usize = u64::BITS as usize / FRAME_BITS;
const INSTRUCTION: u64 = 1 << 3;

/// Writes unwound frames as the words of a raw stack, in place of what `words` held.
pub(crate) fn pack(frames: &[UnwoundFrame], words: &mut Vec<u64>) {
    words.clear();
    words.extend(frames.iter().map(|frame| frame.address.0));
    for some in frames.chunks(FRAMES_PER_WORD) {
        let tags = some.iter().enumerate().map(|(index, frame)| bits(frame) << (index * FRAME_BITS));
        words.push(tags.fold(0, |word, tag| word | tag));
    }
}

fn bits(frame: &UnwoundFrame) -> u64 {
    let found = match frame.found {
        FrameSource::Leaf => 0,
        FrameSource::Cfi => 1,
        FrameSource::Prologue => 2,
        FrameSource::FramePointer => 3,
        FrameSource::Scan => 4,
        _ => 5,
    };
    found | if frame.kind == AddressKind::Instruction { INSTRUCTION } else { 0 }
}

fn unpack(bits: u64) -> (AddressKind, Found) {
    let kind = if bits & INSTRUCTION != 0 { AddressKind::Instruction } else { AddressKind::Return };
    let found = match bits & (INSTRUCTION - 1) {
        0 => Found::Leaf,
        1 => Found::Cfi,
        2 => Found::Prologue,
        3 => Found::FramePointer,
        4 => Found::Scan,
        _ => Found::Unknown,
    };
    (kind, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uniprof_wire::address::GuestVirtual;

    #[test]
    fn marks_survive_the_table_of_stacks() {
        for end in WALK_ENDS {
            for repaired in [false, true] {
                let mark = Mark::Walked { end, repaired };
                assert_eq!(Mark::from_bits(mark.to_bits()), mark);
            }
        }
        for cut in CUTS {
            assert_eq!(Mark::from_bits(Mark::Unwound(cut).to_bits()), Mark::Unwound(cut));
        }
        let complete = |mark: Mark| mark.cut_short().is_none();
        assert!(complete(Mark::Unwound(Cut::Root)) && !complete(Mark::Unwound(Cut::Snapshot)));
    }

    #[test]
    fn frames_of_any_number_come_back() {
        let sources = [FrameSource::Cfi, FrameSource::Prologue, FrameSource::FramePointer, FrameSource::Scan];
        for count in 0..100 {
            let frames: Vec<UnwoundFrame> = (0..count)
                .map(|n| UnwoundFrame {
                    address: GuestVirtual(u64::MAX - n),
                    kind: if n % 3 == 0 { AddressKind::Instruction } else { AddressKind::Return },
                    found: if n == 0 { FrameSource::Leaf } else { sources[n as usize % 4] },
                })
                .collect();
            let mut words = vec![99];
            pack(&frames, &mut words);
            let read: Vec<_> = Mark::Unwound(Cut::Root).frames(&words).collect();
            assert_eq!(read.len(), frames.len());
            for (read, frame) in read.iter().zip(&frames) {
                assert_eq!((read.0, read.1), (frame.address.0, frame.kind));
                assert_eq!(format!("{:?}", read.2), format!("{:?}", frame.found));
            }
        }
    }
}
