//! The registers that unwinding starts from.

use gimli::X86_64;
use uniprof_wire::record::Registers;

use crate::cfi::REGISTERS;

/// All registers that call-frame information can name, as far as they are known, by DWARF number.
pub(super) type Known = [Option<u64>; REGISTERS];

pub(super) const RBP: usize = X86_64::RBP.0 as usize;
pub(super) const RSP: usize = X86_64::RSP.0 as usize;
pub(super) const RIP: usize = X86_64::RA.0 as usize;

/// Whether a called function preserves the register.
pub(super) const fn is_preserved(register: usize) -> bool {
    matches!(register, 3 | RBP | 12..=15)
}

/// The general registers and the instruction pointer, as far as they are known.
///
/// In the psABI's DWARF numbering: rax rdx rcx rbx rsi rdi rbp rsp r8 … r15 rip (figure 3.36).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegisterFile(pub [Option<u64>; REGISTERS]);

impl RegisterFile {
    /// Instruction pointer.
    #[must_use]
    pub const fn rip(&self) -> Option<u64> {
        self.0[RIP]
    }

    /// Stack pointer.
    #[must_use]
    pub const fn rsp(&self) -> Option<u64> {
        self.0[RSP]
    }

    /// Frame pointer.
    #[must_use]
    pub const fn rbp(&self) -> Option<u64> {
        self.0[RBP]
    }

    /// The number of a register by its name, such as `rax`.
    #[must_use]
    pub fn number(name: &str) -> Option<usize> {
        match name {
            "rip" | "pc" => Some(RIP),
            "sp" => Some(RSP),
            "fp" => Some(RBP),
            _ => X86_64::name_to_register(name)
                .map(|register| usize::from(register.0))
                .filter(|number| *number < RIP),
        }
    }
}

impl From<&Registers> for RegisterFile {
    fn from(registers: &Registers) -> Self {
        let mut known = [None; REGISTERS];
        known[usize::from(X86_64::RBX.0)] = Some(registers.rbx);
        known[RBP] = Some(registers.rbp);
        known[RSP] = Some(registers.rsp);
        known[12] = Some(registers.r12);
        known[13] = Some(registers.r13);
        known[14] = Some(registers.r14);
        known[15] = Some(registers.r15);
        known[RIP] = Some(registers.rip);
        Self(known)
    }
}
