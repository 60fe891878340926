//! A frame of a guest's stack, as variables are looked for in it.

use uniprof_collector::paging::AddressSpace;
use uniprof_symbolizer::types::Machine;
use uniprof_symbolizer::{AddressKind, DetailedFrame, LoadBias, RegisterFile};
use uniprof_wire::address::{GuestVirtual, LinkAddress};

use crate::stacks::Stack;

/// A frame: where it stands and what its registers held.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameContext {
    /// Where its code continues.
    pub address: GuestVirtual,
    /// Whether it made a call or was interrupted.
    pub kind: AddressKind,
    /// Its registers, as far as they are known.
    pub registers: RegisterFile,
    /// Its canonical frame address.
    pub cfa: Option<u64>,
    /// Which of the functions that were inlined at the address is meant, from 0 for the innermost.
    pub inlined: usize,
    /// The frame that called it.
    pub caller: Option<Box<FrameContext>>,
}

/// Callers that are kept: what a function was handed may have been handed to its caller.
const CALLERS: usize = 8;

impl FrameContext {
    /// A frame of an unwound stack, by its number from 0 for the leaf.
    #[must_use]
    pub fn of(frames: &[DetailedFrame], number: usize, inlined: usize) -> Option<Self> {
        Self::with_callers(frames, number, inlined, CALLERS)
    }

    /// A function of a stack by its number in [`Stack::frames`], inlined ones counted.
    #[must_use]
    pub fn of_stack(stack: &Stack, number: usize) -> Option<Self> {
        let depth = stack.frames.get(number)?.depth;
        let first = stack.frames.iter().position(|frame| frame.depth == depth)?;
        Self::of(&stack.unwound, depth, number.checked_sub(first)?)
    }

    fn with_callers(frames: &[DetailedFrame], number: usize, inlined: usize, callers: usize) -> Option<Self> {
        let DetailedFrame { frame, registers, cfa } = *frames.get(number)?;
        let (address, kind) = (frame.address, frame.kind);
        let caller = callers.checked_sub(1).and_then(|left| Self::with_callers(frames, number + 1, 0, left));
        Some(Self { address, kind, registers, cfa, inlined, caller: caller.map(Box::new) })
    }

    /// An address of the instruction that it is at.
    #[must_use]
    pub fn lookup(&self) -> GuestVirtual {
        self.kind.lookup(self.address)
    }
}

/// A frame in memory, or only memory.
pub(super) struct FrameMachine<'a> {
    pub(super) frame: Option<&'a FrameContext>,
    pub(super) space: &'a AddressSpace,
    pub(super) bias: LoadBias,
    caller: Option<Box<FrameMachine<'a>>>,
}

impl<'a> FrameMachine<'a> {
    pub(super) fn new(frame: Option<&'a FrameContext>, space: &'a AddressSpace, bias: LoadBias) -> Self {
        let caller = frame.and_then(|frame| frame.caller.as_deref());
        let caller = caller.map(|caller| Box::new(Self::new(Some(caller), space, bias)));
        Self { frame, space, bias, caller }
    }
}

impl Machine for FrameMachine<'_> {
    fn register(&self, number: u16) -> Option<u64> {
        self.frame?.registers.0.get(usize::from(number)).copied().flatten()
    }

    fn cfa(&self) -> Option<u64> {
        self.frame?.cfa
    }

    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.space.read(GuestVirtual(at), into).is_ok()
    }

    fn bias(&self) -> LoadBias {
        self.bias
    }

    fn caller(&self) -> Option<(&dyn Machine, LinkAddress)> {
        let caller = self.caller.as_deref()?;
        let frame = caller.frame.filter(|frame| frame.kind == AddressKind::Return)?;
        Some((caller, self.bias.to_link(frame.address)))
    }
}
