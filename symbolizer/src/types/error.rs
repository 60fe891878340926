//! Why a type or a variable is not known.

use std::fmt;

use crate::debug::Fault;

/// Why debug information did not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypesError {
    /// There is none.
    #[error(
        "the image has no debug information, so types and variables are not known; build it with -g and do not strip it"
    )]
    NoDebugInfo,
    /// It can't be read.
    #[error("the image's debug information can't be read: {0}")]
    Unreadable(String),
    /// It contradicts itself.
    #[error("the image's debug information is damaged: {0}")]
    Damaged(String),
}

impl From<Fault> for TypesError {
    fn from(fault: Fault) -> Self {
        Self::Damaged(fault.to_string())
    }
}

impl From<gimli::Error> for TypesError {
    fn from(error: gimli::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Why the value of a variable can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// The compiler kept no value at this instruction.
    OptimisedOut,
    /// It is somewhere else at this instruction, or nowhere yet.
    NotHere,
    /// It was in a register that the frames further in have overwritten, and nobody saved.
    LostRegister(u16),
    /// It is what a register held when the function began, which nobody saved.
    EntryValue,
    /// It is relative to a frame address that is not known.
    NoFrame,
    /// Memory that its place depends on can't be read.
    Memory(u64),
    /// It belongs to each thread, and where this thread's lies is not known.
    ThreadLocal,
    /// Its place is described in a way that is not understood, or wrongly.
    Damaged(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptimisedOut => f.write_str("optimised out"),
            Self::NotHere => f.write_str("optimised out at this instruction"),
            Self::LostRegister(number) => {
                let name = gimli::X86_64::register_name(gimli::Register(*number)).unwrap_or("a register");
                match number {
                    0..=16 => write!(f, "lost: it was in {name}, which has been overwritten since"),
                    _ => write!(f, "unknown: it was in {name}, which nobody has saved"),
                }
            }
            Self::EntryValue => {
                f.write_str("optimised out: its value at the start of the function is not kept")
            }
            Self::NoFrame => f.write_str("unknown: the address of its frame is not known"),
            Self::Memory(at) => write!(f, "unknown: the memory at {at:#x} that leads to it can't be read"),
            Self::ThreadLocal => f.write_str("unknown: it is thread-local"),
            Self::Damaged(why) => write!(f, "unknown: its debug information is damaged: {why}"),
        }
    }
}
