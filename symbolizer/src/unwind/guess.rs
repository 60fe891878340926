//! The caller of code that nothing tells about: by the frame pointer, or by what lies on the stack.

use uniprof_wire::address::LinkAddress;

use crate::address::AddressKind;

use super::Unwinder;
use super::frame::{FrameSource, Missing, UnwindEnd};
use super::text::Call;
use super::walk::{Context, Walk, no_rule};

/// How far up a return address is looked for, in words.
const SCANNED: u64 = 64;

/// How far up the frame of an interrupt is looked for: above all registers and the SSE state.
const SCANNED_FOR_INTERRUPT: u64 = 160;

/// What a word on the stack can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidate {
    /// Not the address of code, or of code that no call precedes.
    Nothing,
    /// A call of this very function precedes it.
    Proven,
    /// A call to somewhere precedes it, or code that the image's file does not hold.
    Possible,
}

impl Unwinder {
    /// Whether a word is the return address of a call of the function that contains `callee`.
    fn candidate(&mut self, word: u64, callee: u64) -> Candidate {
        let start = self.home(callee).and_then(|(image, link)| {
            image.text.function(link).map(|start| image.bias.to_guest(LinkAddress(start)).0)
        });
        let Some((image, before)) = self.home(word.wrapping_sub(1)) else { return Candidate::Nothing };
        if image.text.is_empty() {
            return Candidate::Possible;
        }
        match image.text.call_before(LinkAddress(before.0.wrapping_add(1))) {
            None => Candidate::Nothing,
            Some(Call::Indirect) => Candidate::Possible,
            Some(Call::To(target)) => {
                let target = image.bias.to_guest(LinkAddress(target)).0;
                match start {
                    Some(start) if start == target => Candidate::Proven,
                    // A call of something else; it may have been left by a tail call, though.
                    Some(_) | None if target == callee => Candidate::Proven,
                    _ => Candidate::Possible,
                }
            }
        }
    }
}

impl<R: FnMut(u64) -> Option<u64>> Walk<'_, R> {
    /// The caller of a frame without a rule, or without even an image.
    pub(super) fn guess(&mut self, at: &Context, has_image: bool) -> Result<Context, UnwindEnd> {
        self.forget_registers();
        if !has_image && let Some(caller) = self.jumped_to_nowhere(at) {
            return Ok(caller);
        }
        let by_frame = self.by_frame_pointer(at);
        if let Ok((caller, Candidate::Proven)) = by_frame {
            return Ok(caller);
        }
        if let Some(caller) = self.scan(at, Candidate::Proven) {
            return Ok(caller);
        }
        let mut end = match by_frame {
            Ok((caller, _)) => return Ok(caller),
            Err(UnwindEnd::Root) => return Err(UnwindEnd::Root),
            Err(end) => end,
        };
        if has_image && at.rbp == Some(0) {
            // Entry code leaves a zero frame pointer (System V ABI), and a zero word above it on the stack.
            match (self.read)(at.rsp) {
                _ if self.is_entry(at) => return Err(UnwindEnd::Root),
                Some(0) => return Err(UnwindEnd::Root),
                Some(_) => {}
                None => end = UnwindEnd::BeyondStack,
            }
        }
        if let Some(caller) = self.interrupt_frame(at) {
            return Ok(caller);
        }
        // What is only possible is not followed by more of the kind.
        let again = at.found == FrameSource::Scan;
        if has_image
            && !again
            && let Some(caller) = self.scan(at, Candidate::Possible)
        {
            return Ok(caller);
        }
        Err(match end {
            UnwindEnd::BeyondStack => end,
            _ => no_rule(at, if has_image { Missing::CallFrameInfo } else { Missing::Image }),
        })
    }

    /// A call through a bad pointer: nothing has happened since but the call.
    fn jumped_to_nowhere(&mut self, at: &Context) -> Option<Context> {
        let word = (self.read)(at.rsp).filter(|_| at.kind == AddressKind::Instruction)?;
        let (image, before) = self.unwinder.home(word.wrapping_sub(1))?;
        let possible = match image.text.call_before(LinkAddress(before.0.wrapping_add(1))) {
            Some(Call::Indirect) => true,
            Some(Call::To(target)) => image.bias.to_guest(LinkAddress(target)).0 == at.rip,
            None => image.text.is_empty(),
        };
        possible.then(|| caller_at(at, at.rsp, word, FrameSource::Scan))
    }

    fn by_frame_pointer(&mut self, at: &Context) -> Result<(Context, Candidate), UnwindEnd> {
        let nowhere = UnwindEnd::NotRising;
        let base = at.rbp.filter(|rbp| *rbp >= at.rsp && *rbp <= u64::MAX - 16).ok_or(nowhere)?;
        // A frame of a mebibyte is none.
        let near = base - at.rsp < 1 << 20;
        let word = (self.read)(base + 8).ok_or(if near { UnwindEnd::BeyondStack } else { nowhere })?;
        let above = (self.read)(base);
        match self.unwinder.candidate(word, at.rip) {
            Candidate::Nothing if word == 0 && above.is_none_or(|above| above == 0) => Err(UnwindEnd::Root),
            Candidate::Nothing => Err(nowhere),
            how => {
                let caller = caller_at(at, base + 8, word, FrameSource::FramePointer);
                Ok((Context { rbp: above, ..caller }, how))
            }
        }
    }

    fn is_entry(&mut self, at: &Context) -> bool {
        self.unwinder.home(at.rip).is_some_and(|(image, link)| image.text.is_entry(link))
    }

    /// The first word further up that can be the return address.
    fn scan(&mut self, at: &Context, wanted: Candidate) -> Option<Context> {
        for word in 0..SCANNED {
            let slot = at.rsp.checked_add(8 * word)?;
            let value = (self.read)(slot)?;
            if self.unwinder.candidate(value, at.rip) == wanted {
                let caller = caller_at(at, slot, value, FrameSource::Scan);
                // An untouched frame pointer lies above what is left; what was saved on the way is not known.
                let rbp = at.rbp.filter(|rbp| *rbp >= caller.rsp);
                return Some(Context { rbp, ..caller });
            }
        }
        None
    }

    /// What the processor pushes when it is interrupted: five words that are hard to mistake.
    fn interrupt_frame(&mut self, at: &Context) -> Option<Context> {
        for word in 0..SCANNED_FOR_INTERRUPT {
            let slot = at.rsp.checked_add(8 * word)?;
            let mut read = |index: u64| (self.read)(slot.wrapping_add(8 * index));
            let (rip, cs, flags) = (read(0)?, read(1)?, read(2)?);
            // Bit 1 of `rflags` is always set; 3, 5, 15 and those above 21 never are.
            let selectors = cs != 0 && cs < 0x400 && flags & !0x3f_7fd5 == 2;
            if !selectors || self.unwinder.home(rip).is_none() {
                continue;
            }
            let mut read = |index: u64| (self.read)(slot.wrapping_add(8 * index));
            let (rsp, ss) = (read(3)?, read(4)?);
            if ss < 0x400 && rsp != 0 {
                let kind = AddressKind::Instruction;
                return Some(Context { rip, rsp, rbp: at.rbp, kind, found: FrameSource::Scan });
            }
        }
        None
    }
}

/// The caller whose return address was found in a slot.
fn caller_at(at: &Context, slot: u64, address: u64, found: FrameSource) -> Context {
    Context { rip: address, rsp: slot.wrapping_add(8), rbp: at.rbp, kind: AddressKind::Return, found }
}
