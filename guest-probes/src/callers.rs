//! By which calls the CPU came somewhere: a walk of the frame pointers.

use core::mem::MaybeUninit;
use core::ops::Range;

use uniprof_wire::record::{self, MAX_FRAMES, WalkEnd};

use crate::arch;

/// Follows the chain of frame pointers from `frame`, storing return addresses: upwards only, inside `stack` above
/// `rsp` only, at most `frames.len()`. Returns those that were stored and why it ended.
///
/// # Safety
/// `stack` can be read.
pub(crate) unsafe fn walk<'a>(
    frame: usize,
    rsp: usize,
    stack: &Range<usize>,
    frames: &'a mut [MaybeUninit<u64>; MAX_FRAMES],
) -> (&'a [u64], WalkEnd) {
    if !stack.contains(&rsp) {
        return (&[], WalkEnd::NoStack);
    }
    let (mut frame, mut lowest, mut depth) = (frame, rsp, 0);
    let highest = stack.end.saturating_sub(16);
    let end = loop {
        if frame < lowest || frame > highest || !frame.is_multiple_of(8) {
            break why_not(frame, stack);
        }
        // SAFETY: `frame .. frame + 16` lies in the stack, and is aligned.
        let [next, return_address] = unsafe { *(frame as *const [usize; 2]) };
        if return_address == 0 {
            break WalkEnd::Root;
        }
        let Some(slot) = frames.get_mut(depth) else { break WalkEnd::Depth };
        slot.write(return_address as u64);
        depth += 1;
        lowest = frame + 16;
        frame = next;
    };
    // SAFETY: the first `depth` were written.
    (unsafe { frames[..depth].assume_init_ref() }, end)
}

/// What ended a walk at a frame pointer that can not be followed.
#[cold]
fn why_not(frame: usize, stack: &Range<usize>) -> WalkEnd {
    match frame {
        0 => WalkEnd::Root,
        _ if frame < stack.start || frame > stack.end.saturating_sub(16) => WalkEnd::OutsideStack,
        _ => WalkEnd::NotRising,
    }
}

/// Where a walk begins: a function's frame and stack pointer.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) frame: usize,
    pub(crate) stack_pointer: usize,
}

impl Frame {
    /// Of the function that this is written in: the first return address of the walk then is its caller's. For functions that are
    /// not inlined.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (frame, stack_pointer) = arch::frame();
        Self { frame, stack_pointer }
    }
}

/// The callers of a function.
pub(crate) struct Callers {
    frames: [MaybeUninit<u64>; MAX_FRAMES],
    depth: usize,
    end: WalkEnd,
}

impl Callers {
    /// Those of the function whose frame this is.
    ///
    /// # Safety
    /// `stack` can be read.
    #[inline]
    pub(crate) unsafe fn of(from: Frame, stack: &Range<usize>) -> Self {
        let mut frames = [MaybeUninit::uninit(); MAX_FRAMES];
        // SAFETY: the same contract.
        let (found, end) = unsafe { walk(from.frame, from.stack_pointer, stack, &mut frames) };
        Self { depth: found.len(), frames, end }
    }

    /// Return addresses, the innermost first.
    pub(crate) fn addresses(&self) -> &[u64] {
        // SAFETY: the first `depth` were written.
        unsafe { self.frames[..self.depth].assume_init_ref() }
    }

    /// As records have them, without the innermost `own`, which are the probes' own.
    pub(crate) fn without(&self, own: usize) -> record::Callers<'_> {
        record::Callers { end: self.end, frames: self.addresses().get(own..).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack of `frames` frames with return addresses 0x1000, 0x1001 …, outermost last, ended by a zero.
    fn chain(frames: usize) -> Vec<[usize; 2]> {
        let mut stack = vec![[0usize; 2]; frames + 1];
        for i in 0..frames {
            stack[i] = [&raw const stack[i + 1] as usize, 0x1000 + i];
        }
        stack
    }

    fn range(stack: &[[usize; 2]]) -> Range<usize> {
        let range = stack.as_ptr_range();
        range.start as usize..range.end as usize
    }

    fn walked(stack: &[[usize; 2]]) -> (Vec<u64>, WalkEnd) {
        let mut frames = [MaybeUninit::uninit(); MAX_FRAMES];
        let range = range(stack);
        // SAFETY: the range is a live vector.
        let (found, end) = unsafe { walk(range.start, range.start, &range, &mut frames) };
        (found.to_vec(), end)
    }

    #[test]
    fn walks_to_the_root() {
        let (frames, end) = walked(&chain(5));
        assert_eq!(frames, [0x1000, 0x1001, 0x1002, 0x1003, 0x1004]);
        assert_eq!(end, WalkEnd::Root);
    }

    #[test]
    fn stops_at_the_depth_limit() {
        let (frames, end) = walked(&chain(MAX_FRAMES + 10));
        assert_eq!((frames.len(), end), (MAX_FRAMES, WalkEnd::Depth));
    }

    #[test]
    fn damaged_chains_end_with_a_reason() {
        let mut looped = chain(5);
        looped[3][0] = &raw const looped[1] as usize;
        assert_eq!(walked(&looped).1, WalkEnd::NotRising);
        let mut itself = chain(5);
        itself[3][0] = &raw const itself[3] as usize;
        assert_eq!(walked(&itself).1, WalkEnd::NotRising);
        let mut unaligned = chain(5);
        unaligned[3][0] += 4;
        assert_eq!(walked(&unaligned).1, WalkEnd::NotRising);
        let mut wild = chain(5);
        wild[3][0] = usize::MAX - 7;
        assert_eq!(walked(&wild).1, WalkEnd::OutsideStack);
        let mut at_the_end = chain(5);
        at_the_end[3][0] = range(&at_the_end).end - 8;
        assert_eq!(walked(&at_the_end).1, WalkEnd::OutsideStack);
    }

    #[test]
    fn no_stack_no_walk() {
        let mut frames = [MaybeUninit::uninit(); MAX_FRAMES];
        // SAFETY: an empty range is never read.
        let walked = unsafe { walk(8, 8, &(0..0), &mut frames) };
        assert_eq!(walked, (&[][..], WalkEnd::NoStack));
    }
}
