//! CPU samples: with the callers that the guest found, or with the part of the stack in which the host finds them.

use super::{BadRecord, high, low, pair};

/// Most frames of one sample.
pub const MAX_FRAMES: usize = 128;
/// Most bytes of stack in one snapshot; a guest also cuts it to its sub-buffers and to the stack's end.
pub const MAX_SNAPSHOT_BYTES: u32 = 32 << 10;
/// Words of a snapshot's payload between its TSC and its stack.
pub const SNAPSHOT_HEAD: usize = 12;

/// Where and why a frame-pointer walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WalkEnd {
    /// At the thread's entry: the chain ended with a zero frame pointer or return address.
    Root = 0,
    /// The next frame pointer lay outside the thread's stack.
    OutsideStack = 1,
    /// The next frame pointer was not above the last one, or not aligned.
    NotRising = 2,
    /// After [`MAX_FRAMES`].
    Depth = 3,
    /// No stack bounds were known, so nothing was walked.
    NoStack = 4,
}

impl WalkEnd {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Root,
            1 => Self::OutsideStack,
            2 => Self::NotRising,
            3 => Self::Depth,
            4 => Self::NoStack,
            _ => return None,
        })
    }
}

/// Where a CPU was, and how it came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRecord<'a> {
    /// When.
    pub tsc: u64,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// Interrupted instruction.
    pub rip: u64,
    /// Stack pointer then.
    pub rsp: u64,
    /// Frame pointer then.
    pub rbp: u64,
    /// TSC ticks of busy vCPU time since the previous sample of this vCPU, or since sampling was last off: what the sample
    /// stands for.
    pub weight: u64,
    /// Ticks that should have come since the previous one and did not.
    pub missed: u32,
    /// Why the walk ended.
    pub end: WalkEnd,
    /// Words of the stack from `rsp` up, at most 255.
    pub stack: &'a [u64],
    /// Return addresses that the frame-pointer walk found, innermost first, at most [`MAX_FRAMES`].
    pub frames: &'a [u64],
}

impl<'a> SampleRecord<'a> {
    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let [rip, rsp, rbp, weight, missed, rest @ ..] = rest else { return Err(BadRecord::Length) };
        let counts = high(shape);
        let (stack_words, frames) = ((counts >> 8 & 0xff) as usize, (counts >> 16) as usize);
        if frames > MAX_FRAMES || rest.len() != stack_words + frames {
            return Err(BadRecord::Length);
        }
        let (stack, frames) = rest.split_at(stack_words);
        let end = WalkEnd::from_number(counts as u8).ok_or(BadRecord::Payload)?;
        let missed = u32::try_from(*missed).map_err(|_| BadRecord::Payload)?;
        Ok(Self {
            tsc,
            thread: low(shape),
            rip: *rip,
            rsp: *rsp,
            rbp: *rbp,
            weight: *weight,
            missed,
            end,
            stack,
            frames,
        })
    }
}

/// The registers from which a stack can be unwound: where the code is, and those that a called function must restore (System V
/// ABI for x86_64, 3.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Instruction.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Frame pointer, or anything at all.
    pub rbp: u64,
    /// Callee-saved, as are the following.
    pub rbx: u64,
    /// Callee-saved.
    pub r12: u64,
    /// Callee-saved.
    pub r13: u64,
    /// Callee-saved.
    pub r14: u64,
    /// Callee-saved.
    pub r15: u64,
}

/// Where a CPU was, and the stack in which its callers can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRecord<'a> {
    /// When.
    pub tsc: u64,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// Registers of what was interrupted.
    pub registers: Registers,
    /// As [`SampleRecord::weight`].
    pub weight: u64,
    /// As [`SampleRecord::missed`].
    pub missed: u32,
    /// Address after the last byte of the thread's stack; 0 where `rsp` lay in no known stack, and nothing was copied.
    pub stack_end: u64,
    /// Words of the stack from `rsp` up, at most [`MAX_SNAPSHOT_BYTES`].
    pub stack: &'a [u64],
}

impl<'a> SnapshotRecord<'a> {
    /// Whether `stack` reaches up to the end of the thread's stack, but for less than a word.
    #[must_use]
    pub const fn reaches_stack_end(&self) -> bool {
        let copied = self.registers.rsp.saturating_add(self.stack.len() as u64 * 8);
        self.stack_end != 0 && self.stack_end.saturating_sub(copied) < 8
    }

    /// The payload between the TSC and a stack of `stack_words` words. A guest that copies the stack straight into the ring has
    /// no slice of it.
    #[must_use]
    pub const fn head(&self, stack_words: usize) -> [u64; SNAPSHOT_HEAD] {
        let Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 } = self.registers;
        let shape = pair(self.thread, (stack_words as u32) << 16);
        [shape, rip, rsp, rbp, rbx, r12, r13, r14, r15, self.weight, self.missed as u64, self.stack_end]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let [rip, rsp, rbp, rbx, r12, r13, r14, r15, weight, missed, stack_end, stack @ ..] = rest else {
            return Err(BadRecord::Length);
        };
        let words = (high(shape) >> 16) as usize;
        if stack.len() != words || words > MAX_SNAPSHOT_BYTES as usize / 8 {
            return Err(BadRecord::Length);
        }
        if high(shape) & 0xffff != 0 {
            return Err(BadRecord::Payload);
        }
        let missed = u32::try_from(*missed).map_err(|_| BadRecord::Payload)?;
        let registers = Registers {
            rip: *rip,
            rsp: *rsp,
            rbp: *rbp,
            rbx: *rbx,
            r12: *r12,
            r13: *r13,
            r14: *r14,
            r15: *r15,
        };
        let (thread, weight, stack_end) = (low(shape), *weight, *stack_end);
        Ok(Self { tsc, thread, registers, weight, missed, stack_end, stack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Record};

    fn snapshot(stack: &[u64], stack_end: u64) -> SnapshotRecord<'_> {
        let registers = Registers { rsp: 0x1000, ..Registers::default() };
        SnapshotRecord { tsc: 0, thread: 0, registers, weight: 0, missed: 0, stack_end, stack }
    }

    #[test]
    fn a_snapshot_tells_whether_it_is_all_of_the_stack() {
        assert!(snapshot(&[1, 2], 0x1010).reaches_stack_end());
        assert!(snapshot(&[1, 2], 0x1017).reaches_stack_end(), "stacks may end between words");
        assert!(!snapshot(&[1, 2], 0x1018).reaches_stack_end());
        assert!(!snapshot(&[], 0).reaches_stack_end());
    }

    #[test]
    fn snapshots_that_contradict_themselves_are_refused() {
        let good = snapshot(&[7; 3], 0x2000);
        let mut payload = [0; 1 + SNAPSHOT_HEAD + 3];
        Record::Snapshot(good)
            .encode(|index, words| payload[index..index + words.len()].copy_from_slice(words));
        assert_eq!(Record::decode(Kind::Snapshot, &payload), Ok(Record::Snapshot(good)));
        let bad = |word: usize, value: u64| {
            let mut payload = payload;
            payload[word] = value;
            Record::decode(Kind::Snapshot, &payload).unwrap_err()
        };
        assert_eq!(bad(1, pair(0, 4 << 16)), BadRecord::Length);
        assert_eq!(bad(1, pair(0, 3 << 16 | 1)), BadRecord::Payload);
        assert_eq!(bad(11, 1 << 32), BadRecord::Payload);
        assert_eq!(Record::decode(Kind::Snapshot, &payload[..SNAPSHOT_HEAD]), Err(BadRecord::Length));
        let words = MAX_SNAPSHOT_BYTES as usize / 8 + 1;
        let mut long = [0; 1 + SNAPSHOT_HEAD + MAX_SNAPSHOT_BYTES as usize / 8 + 1];
        long[1] = pair(0, (words as u32) << 16);
        assert_eq!(Record::decode(Kind::Snapshot, &long), Err(BadRecord::Length));
    }
}
