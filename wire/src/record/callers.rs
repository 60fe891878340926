//! The stack that comes with a record of what is no sample.

use super::{BadRecord, MAX_FRAMES, WalkEnd, high, pair};

/// Return addresses found by following frame pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callers<'a> {
    /// Why the walk ended.
    pub end: WalkEnd,
    /// Innermost first, at most [`MAX_FRAMES`].
    pub frames: &'a [u64],
}

impl<'a> Callers<'a> {
    /// Nobody asked for the stack.
    pub const NONE: Self = Self { end: WalkEnd::NoStack, frames: &[] };

    /// A record's second word: the thread, and `end:8 │ small:8 │ frames:16`.
    pub(super) const fn shape(&self, thread: u32, small: u8) -> u64 {
        pair(thread, self.end as u32 | (small as u32) << 8 | (self.frames.len() as u32) << 16)
    }

    /// The inverse of [`Callers::shape`]: what is small, the `HEAD` words that come first, and the callers.
    pub(super) fn split<const HEAD: usize>(
        shape: u64,
        rest: &'a [u64],
    ) -> Result<(u8, &'a [u64; HEAD], Self), BadRecord> {
        let (head, frames) = rest.split_first_chunk().ok_or(BadRecord::Length)?;
        let counts = high(shape);
        if frames.len() != (counts >> 16) as usize || frames.len() > MAX_FRAMES {
            return Err(BadRecord::Length);
        }
        let end = WalkEnd::from_number(counts as u8).ok_or(BadRecord::Payload)?;
        Ok(((counts >> 8) as u8, head, Self { end, frames }))
    }
}
