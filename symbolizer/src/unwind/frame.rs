//! What an unwound stack consists of, and why it ends.

use std::fmt;

use uniprof_wire::address::GuestVirtual;

use crate::address::AddressKind;

/// A code address of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnwoundFrame {
    /// Where the frame's code continues.
    pub address: GuestVirtual,
    /// [`AddressKind::Instruction`] for the leaf and for frames that a signal or an exception interrupted,
    /// [`AddressKind::Return`] for those that called.
    pub kind: AddressKind,
    /// How far it can be trusted.
    pub found: FrameSource,
}

/// How a frame was found, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FrameSource {
    /// The instruction pointer itself.
    Leaf,
    /// By call-frame information of the function it called.
    Cfi,
    /// By the instructions of the function it called: in a prologue, an epilogue, or before either.
    Prologue,
    /// By the frame pointer, since call-frame information does not cover the function it called.
    FramePointer,
    /// Found on the stack: a word that follows a call, or the frame of an interrupt.
    Scan,
}

impl fmt::Display for FrameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaf => "leaf",
            Self::Cfi => "call-frame information",
            Self::Prologue => "instructions",
            Self::FramePointer => "frame pointer",
            Self::Scan => "scan",
        })
    }
}

/// Why a stack ends where it does. All but [`UnwindEnd::Root`] mean that frames may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnwindEnd {
    /// The outermost frame: call-frame information says so, its return address is zero, or it is entry code with a zero
    /// frame pointer.
    Root,
    /// What is needed lies outside the stack that was read, usually beyond the end of a snapshot.
    BeyondStack,
    /// The caller's frame would not lie above the frame it called.
    NotRising,
    /// What lies where the return address should be points to no code.
    NotCode {
        /// The word found there.
        address: u64,
    },
    /// Nothing tells where the caller of this code is.
    NoRule {
        /// The code address.
        address: GuestVirtual,
        /// What is missing.
        missing: Missing,
    },
    /// The call-frame information of the function is damaged.
    Damaged,
    /// The stack has more frames than are unwound.
    Depth,
}

/// What the unwinder lacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// The address lies in no image.
    Image,
    /// No call-frame information covers it, and its frame pointer leads nowhere.
    CallFrameInfo,
    /// The rule needs a register whose value was lost on the way; its number in the psABI's DWARF numbering.
    Register(u16),
}

impl UnwindEnd {
    /// Whether the stack was followed to its outermost frame.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Root)
    }
}

impl fmt::Display for UnwindEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the outermost frame"),
            Self::BeyondStack => f.write_str("the rest lies beyond the part of the stack that was read"),
            Self::NotRising => f.write_str("the next frame would not lie above this one"),
            Self::NotCode { address } => write!(f, "the return address {address:#x} points to no code"),
            Self::NoRule { address, missing } => match missing {
                Missing::Image => write!(f, "no image has the code at {:#x}", address.0),
                Missing::CallFrameInfo => write!(
                    f,
                    "no call-frame information covers {:#x}, and its frame pointer leads nowhere",
                    address.0
                ),
                Missing::Register(number) => write!(
                    f,
                    "the frame at {:#x} is relative to {}, whose value is not known",
                    address.0,
                    gimli::X86_64::register_name(gimli::Register(*number)).unwrap_or("a register")
                ),
            },
            Self::Damaged => f.write_str("the call-frame information of the function is damaged"),
            Self::Depth => write!(f, "it has more than {} frames", super::MAX_FRAMES),
        }
    }
}
