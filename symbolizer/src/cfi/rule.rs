//! A row of call-frame information in eight bytes.

use gimli::{CfaRule, FrameDescriptionEntry, RegisterRule, UnwindTableRow, X86_64};

use super::Slice;

/// Where the caller's registers are when a function is at some instruction. CFA is the canonical frame address: the
/// caller's stack pointer after the call returns. Unless told otherwise the return address is at CFA - 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// CFA = `rsp` + `cfa`.
    FromStackPointer {
        cfa: i32,
        /// The caller's `rbp` is at CFA + `rbp`; 0 where `rbp` is untouched.
        rbp: i16,
        source: RuleSource,
    },
    /// CFA = `rbp` + `cfa`.
    FromFramePointer { cfa: i32, rbp: i16, source: RuleSource },
    /// Not called but interrupted: what the processor pushed (`rip`, `cs`, `rflags`, `rsp`, `ss`) is at `rsp` + `frame`,
    /// and the interrupted code's `rbp` is at `rbp` from there; 0 where it is untouched.
    Interrupted { frame: i32, rbp: i16 },
    /// Nobody called this function.
    Outermost,
    /// A rule that needs other registers, expressions, or restores the stack pointer: a [`super::Row`].
    Complex { index: u32 },
    /// The function's call-frame information is damaged.
    Damaged,
    /// Code without call-frame information, whose instructions do not tell either.
    Unknown,
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleSource {
    /// Call-frame information.
    Cfi,
    /// The function's instructions, from this one to its end.
    Instructions,
    /// The same, where they return by a frame pointer.
    FramePointer,
}

const _: () = assert!(size_of::<Rule>() == 8, "two of them and their addresses fit half a cache line");

/// The rule of a row; `None` where it does not fit.
pub(super) fn of(row: &UnwindTableRow<usize>, fde: &FrameDescriptionEntry<Slice<'_>>) -> Option<Rule> {
    if fde.is_signal_trampoline() || fde.cie().return_address_register() != X86_64::RA {
        return None;
    }
    let (mut return_address, mut rbp) = (None, 0i16);
    for (register, rule) in row.registers() {
        match (*register, rule) {
            (X86_64::RA, RegisterRule::Offset(-8)) => return_address = Some(()),
            (X86_64::RBP, RegisterRule::Offset(at)) => {
                rbp = i16::try_from(*at).ok().filter(|at| *at != 0)?;
            }
            (X86_64::RBP, RegisterRule::SameValue) => rbp = 0,
            (X86_64::RA | X86_64::RSP | X86_64::RBP, _) => return None,
            _ => {}
        }
    }
    let source = RuleSource::Cfi;
    match row.cfa() {
        _ if return_address.is_none() => Some(Rule::Outermost),
        CfaRule::RegisterAndOffset { register, offset } => {
            let cfa = i32::try_from(*offset).ok()?;
            match *register {
                X86_64::RSP => Some(Rule::FromStackPointer { cfa, rbp, source }),
                X86_64::RBP => Some(Rule::FromFramePointer { cfa, rbp, source }),
                _ => None,
            }
        }
        CfaRule::Expression(_) => None,
    }
}
