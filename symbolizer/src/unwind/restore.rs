//! The caller's registers by a row of call-frame information, expressions included (DWARF 5, sections 2.5 and 6.4).

use gimli::{EvaluationResult, Location, Piece, Value};

use crate::cfi::{Cfa, Cfi, Expression, REGISTERS, Row, Saved};

use super::registers::{Known, RIP, RSP, is_preserved};

/// How many operations an expression may take; real ones have a dozen.
const MAX_OPERATIONS: u32 = 256;

/// Why the caller's registers could not be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody called.
    Outermost,
    /// The value of this register is needed and not known.
    Register(u16),
    /// Memory that could not be read.
    Memory,
    Damaged,
}

/// The registers after the frame that `row` describes has been taken off the stack.
pub(super) fn caller(
    cfi: &Cfi,
    row: &Row,
    known: &Known,
    read: &mut impl FnMut(u64) -> Option<u64>,
) -> Result<Known, Trouble> {
    let cfa = cfa(cfi, row, known, read)?;
    let mut before = [None; REGISTERS];
    for (register, saved) in row.saved.iter().enumerate() {
        let value = restored(cfi, row, register, saved, cfa, known, read);
        before[register] = match value {
            Ok(value) => value,
            // What is not needed may lie beyond the snapshot.
            Err(_) if !matches!(register, RSP | RIP) && register != usize::from(row.return_address) => None,
            Err(trouble) => return Err(trouble),
        };
    }
    before[RIP] = *before.get(usize::from(row.return_address)).ok_or(Trouble::Damaged)?;
    Ok(before)
}

/// The canonical frame address.
pub(super) fn cfa(
    cfi: &Cfi,
    row: &Row,
    known: &Known,
    read: &mut impl FnMut(u64) -> Option<u64>,
) -> Result<u64, Trouble> {
    match &row.cfa {
        Cfa::Register { register, offset } => {
            Ok(register_value(known, *register)?.wrapping_add_signed(*offset))
        }
        Cfa::Expression(expression) => evaluate(cfi, expression, known, None, read),
    }
}

fn restored(
    cfi: &Cfi,
    row: &Row,
    register: usize,
    saved: &Saved,
    cfa: u64,
    known: &Known,
    read: &mut impl FnMut(u64) -> Option<u64>,
) -> Result<Option<u64>, Trouble> {
    Ok(Some(match saved {
        Saved::Unsaid if register == RSP => cfa,
        Saved::Unsaid => return Ok(if is_preserved(register) { known[register] } else { None }),
        Saved::Undefined if register == usize::from(row.return_address) => return Err(Trouble::Outermost),
        Saved::Undefined => return Ok(None),
        Saved::Same => return Ok(known[register]),
        Saved::At(offset) => {
            let at = cfa.wrapping_add_signed(*offset);
            if is_preserved(register) && !row.signal && known[RSP].is_some_and(|rsp| at < rsp) {
                // Popped already; compilers do not always say so.
                return Ok(known[register]);
            }
            read(at).ok_or(Trouble::Memory)?
        }
        Saved::Is(offset) => cfa.wrapping_add_signed(*offset),
        Saved::Constant(value) => *value,
        Saved::Register(other) => register_value(known, *other)?,
        Saved::AtExpression(expression) => {
            let at = evaluate(cfi, expression, known, Some(cfa), read)?;
            read(at).ok_or(Trouble::Memory)?
        }
        Saved::IsExpression(expression) => evaluate(cfi, expression, known, Some(cfa), read)?,
    }))
}

fn register_value(known: &Known, register: u16) -> Result<u64, Trouble> {
    known.get(usize::from(register)).copied().flatten().ok_or(Trouble::Register(register))
}

fn evaluate(
    cfi: &Cfi,
    expression: &Expression,
    known: &Known,
    cfa: Option<u64>,
    read: &mut impl FnMut(u64) -> Option<u64>,
) -> Result<u64, Trouble> {
    let bytes = cfi.expression(expression).ok_or(Trouble::Damaged)?;
    let mut evaluation = bytes.evaluation(expression.encoding);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    if let Some(cfa) = cfa {
        evaluation.set_initial_value(cfa);
    }
    let damaged = |_| Trouble::Damaged;
    let mut state = evaluation.evaluate().map_err(damaged)?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = register_value(known, register.0)?;
                evaluation.resume_with_register(Value::Generic(value))
            }
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let word = read(address).ok_or(Trouble::Memory)?;
                let mask = if size >= 8 { u64::MAX } else { (1 << (8 * u32::from(size))) - 1 };
                evaluation.resume_with_memory(Value::Generic(word & mask))
            }
            EvaluationResult::RequiresCallFrameCfa => {
                evaluation.resume_with_call_frame_cfa(cfa.ok_or(Trouble::Damaged)?)
            }
            // What only expressions of debug information ask for.
            _ => return Err(Trouble::Damaged),
        }
        .map_err(damaged)?;
    }
    match evaluation.as_result() {
        [Piece { location: Location::Address { address }, .. }] => Ok(*address),
        _ => Err(Trouble::Damaged),
    }
}
