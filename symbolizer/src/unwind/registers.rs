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

/// What is known at the start.
pub(super) fn known(registers: &Registers) -> Known {
    let mut known = [None; REGISTERS];
    known[usize::from(X86_64::RBX.0)] = Some(registers.rbx);
    known[RBP] = Some(registers.rbp);
    known[RSP] = Some(registers.rsp);
    known[12] = Some(registers.r12);
    known[13] = Some(registers.r13);
    known[14] = Some(registers.r14);
    known[15] = Some(registers.r15);
    known[RIP] = Some(registers.rip);
    known
}
