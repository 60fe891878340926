//! A row of call-frame information in full.

use gimli::{
    BaseAddresses, CfaRule, Encoding, FrameDescriptionEntry, Register, RegisterRule, UnwindContext,
    UnwindExpression, UnwindOffset, UnwindSection, UnwindTableRow,
};
use uniprof_wire::address::LinkAddress;

use super::index::Function;
use super::{Home, Slice};

/// The registers of the psABI's DWARF numbering that a row can tell of: `rax` to `r15` (0 to 15), and the return
/// address (16).
pub(crate) const REGISTERS: usize = 17;

/// How to find the canonical frame address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cfa {
    Register { register: u16, offset: i64 },
    Expression(Expression),
}

/// Where the caller's value of a register is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Saved {
    /// Nothing is said: untouched in a register that callees save, lost in others.
    Unsaid,
    /// Lost. As the return address's rule: nobody called the function.
    Undefined,
    Same,
    At(i64),
    Is(i64),
    Constant(u64),
    Register(u16),
    AtExpression(Expression),
    IsExpression(Expression),
}

/// Where a DWARF expression lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expression {
    pub(super) home: Home,
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(crate) encoding: Encoding,
}

/// Where everything is when a function is at some instruction.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) cfa: Cfa,
    pub(crate) saved: [Saved; REGISTERS],
    /// Which of them is the return address.
    pub(crate) return_address: u16,
    /// The frame was not called but interrupted: a signal's or an exception's.
    pub(crate) signal: bool,
}

impl Row {
    pub(super) fn of(
        row: &UnwindTableRow<usize>,
        fde: &FrameDescriptionEntry<Slice<'_>>,
        home: Home,
    ) -> Self {
        let encoding = fde.cie().encoding();
        let expression = |expression: &UnwindExpression<usize>| Expression {
            home,
            offset: expression.offset,
            length: expression.length,
            encoding,
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                Cfa::Register { register: register.0, offset: *offset }
            }
            CfaRule::Expression(found) => Cfa::Expression(expression(found)),
        };
        let return_address = fde.cie().return_address_register().0;
        let mut saved = [Saved::Unsaid; REGISTERS];
        if let Some(rule) = saved.get_mut(usize::from(return_address)) {
            *rule = Saved::Undefined;
        }
        for (Register(register), rule) in row.registers() {
            let Some(saved) = saved.get_mut(usize::from(*register)) else { continue };
            *saved = match rule {
                RegisterRule::Undefined | RegisterRule::Architectural => Saved::Undefined,
                RegisterRule::SameValue => Saved::Same,
                RegisterRule::Offset(offset) => Saved::At(*offset),
                RegisterRule::ValOffset(offset) => Saved::Is(*offset),
                RegisterRule::Register(other) => Saved::Register(other.0),
                RegisterRule::Expression(found) => Saved::AtExpression(expression(found)),
                RegisterRule::ValExpression(found) => Saved::IsExpression(expression(found)),
                RegisterRule::Constant(value) => Saved::Constant(*value),
            };
        }
        Self { cfa, saved, return_address, signal: fde.is_signal_trampoline() }
    }
}

pub(super) fn at<'a, S>(
    section: &S,
    bases: &BaseAddresses,
    context: &mut UnwindContext<usize>,
    function: &Function,
    address: LinkAddress,
) -> Result<Row, gimli::Error>
where
    S: UnwindSection<Slice<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    let fde = section.fde_from_offset(bases, S::Offset::from(function.offset), S::cie_from_offset)?;
    let row = fde.unwind_info_for_address(section, bases, context, address.0)?;
    Ok(Row::of(row, &fde, function.home))
}
