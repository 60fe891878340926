//! Where a variable lies: DWARF expressions and location lists (DWARF 5, sections 2.5 and 2.6), evaluated in a frame.

use std::ops::Range;

use gimli::{AttributeValue, EvaluationResult, Expression, Location, Reader as _, Value, ValueType};
use uniprof_wire::address::LinkAddress;

use crate::address::LoadBias;
use crate::debug::{LazyReader, Purse};

use super::model::{Global, LocalVariable, TypeId};
use super::read::integer;
use super::units::AttributeOf;
use super::{Types, Unavailable};

/// How many operations an expression may take; real ones have a dozen.
const MAX_OPERATIONS: u32 = 1024;
/// How often finding a place may ask for another: the frame's base, a caller's register.
const MAX_NESTING: u32 = 8;
/// The largest value that is put together of pieces or stands in debug information itself.
const MAX_VALUE: usize = 64 << 10;

/// A frame of a guest, as expressions ask for it.
pub trait Machine {
    /// A register by its DWARF number, as the frame had it.
    fn register(&self, number: u16) -> Option<u64>;
    /// The canonical frame address.
    fn cfa(&self) -> Option<u64>;
    /// Copies memory; `false` where it can't be read.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;
    /// Where the image lies.
    fn bias(&self) -> LoadBias;
    /// The frame that called this one, and where it goes on, where that is in the same image.
    fn caller(&self) -> Option<(&dyn Machine, LinkAddress)> {
        None
    }
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the guest's memory, at a guest-virtual address.
    Memory(u64),
    /// Nowhere as such: in registers, in pieces, or computed.
    Bytes {
        /// The value.
        bytes: Vec<u8>,
        /// Which of them are not known, and why.
        missing: Vec<(Range<usize>, Unavailable)>,
    },
}

/// What an expression is evaluated with.
#[derive(Clone, Copy)]
struct Context<'a> {
    /// The unit that the expression is in.
    unit: u32,
    /// The instruction, which location lists ask for.
    at: Option<u64>,
    function: Option<TypeId>,
    machine: &'a dyn Machine,
    nesting: u32,
}

fn damaged(error: impl std::fmt::Display) -> Unavailable {
    Unavailable::Damaged(error.to_string())
}

impl Types {
    /// Where a variable of a function is when the frame is at `at`.
    pub fn locate(
        &mut self,
        variable: &LocalVariable,
        at: LinkAddress,
        machine: &dyn Machine,
    ) -> Result<Place, Unavailable> {
        let (entry, function) = (variable.entry, Some(variable.function));
        let context = Context { unit: entry.unit, at: Some(at.0), function, machine, nesting: 0 };
        self.place(entry, variable.ty, context)
    }

    /// Where a global variable is.
    pub fn locate_global(&mut self, global: &Global, machine: &dyn Machine) -> Result<Place, Unavailable> {
        let context = Context { unit: global.entry.unit, at: None, function: None, machine, nesting: 0 };
        self.place(global.entry, global.ty, context)
    }

    fn place(
        &mut self,
        entry: TypeId,
        ty: Option<TypeId>,
        context: Context<'_>,
    ) -> Result<Place, Unavailable> {
        let budget = std::sync::Arc::clone(&self.budget);
        let purse = &mut budget.purse();
        let size = ty.and_then(|ty| self.size_within(ty, 0, purse));
        let names = [gimli::DW_AT_location, gimli::DW_AT_const_value];
        let found = self.units.attribute(entry, &names, purse).map_err(damaged)?;
        let Some((unit, value)) = found else { return Err(Unavailable::OptimisedOut) };
        let context = Context { unit, ..context };
        let own = self.units.entry(entry, purse).map_err(damaged)?.1;
        let is_constant = own.attr_value(gimli::DW_AT_location).is_none() && {
            let located = self.units.attribute(entry, &[gimli::DW_AT_location], purse);
            located.map_err(damaged)?.is_none()
        };
        if is_constant {
            return constant(&value, size);
        }
        let Some(expression) = self.expression(value, context, purse)? else {
            return Err(Unavailable::NotHere);
        };
        if expression.0.is_empty() {
            return Err(Unavailable::OptimisedOut);
        }
        let pieces = self.evaluate(expression, context, purse)?;
        assemble(&pieces, size, context.machine)
    }

    /// The expression of an attribute: its own, or the one of its list that holds at the instruction.
    fn expression(
        &mut self,
        value: AttributeOf,
        context: Context<'_>,
        purse: &mut Purse<'_>,
    ) -> Result<Option<Expression<LazyReader>>, Unavailable> {
        if let Some(expression) = value.exprloc_value() {
            return Ok(Some(expression));
        }
        let files = self.units.files();
        let Some(open) = self.units.get(context.unit) else { return Ok(None) };
        let unit = open.unit_ref(&files);
        let offset = unit.attr_locations_offset(value).map_err(damaged)?;
        let (Some(offset), Some(at)) = (offset, context.at) else { return Ok(None) };
        let mut list = unit.locations(offset).map_err(damaged)?;
        while let Some(found) = list.next().map_err(damaged)? {
            purse.work(1).map_err(damaged)?;
            if found.range.begin <= at && at < found.range.end {
                return Ok(Some(found.data));
            }
        }
        Ok(None)
    }

    fn evaluate(
        &mut self,
        expression: Expression<LazyReader>,
        context: Context<'_>,
        purse: &mut Purse<'_>,
    ) -> Result<Vec<gimli::Piece<LazyReader>>, Unavailable> {
        purse.work(10).map_err(damaged)?;
        if context.nesting > MAX_NESTING {
            return Err(damaged("its place depends on too many others"));
        }
        let inner = Context { nesting: context.nesting + 1, ..context };
        let machine = context.machine;
        let open = self.units.get(context.unit).ok_or_else(|| damaged("its unit is missing"))?;
        let files = self.units.files();
        let mut evaluation = expression.evaluation(open.unit.encoding());
        evaluation.set_max_iterations(MAX_OPERATIONS);
        let mut state = evaluation.evaluate().map_err(damaged)?;
        loop {
            state = match state {
                EvaluationResult::Complete => return Ok(evaluation.result()),
                EvaluationResult::RequiresRegister { register, base_type } => {
                    let value = machine.register(register.0).ok_or(Unavailable::LostRegister(register.0))?;
                    let ty = self.value_type(context.unit, base_type)?;
                    let value = Value::from_u64(ty, value).map_err(damaged)?;
                    evaluation.resume_with_register(value)
                }
                EvaluationResult::RequiresMemory { address, size, base_type, .. } => {
                    let mut bytes = [0; 8];
                    let size = usize::from(size.min(8));
                    if !machine.read(address, &mut bytes[..size]) {
                        return Err(Unavailable::Memory(address));
                    }
                    let ty = self.value_type(context.unit, base_type)?;
                    let value = Value::from_u64(ty, u64::from_le_bytes(bytes)).map_err(damaged)?;
                    evaluation.resume_with_memory(value)
                }
                EvaluationResult::RequiresFrameBase => {
                    evaluation.resume_with_frame_base(self.frame_base(inner, purse)?)
                }
                EvaluationResult::RequiresCallFrameCfa => {
                    evaluation.resume_with_call_frame_cfa(machine.cfa().ok_or(Unavailable::NoFrame)?)
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    let address = machine.bias().to_guest(LinkAddress(address));
                    evaluation.resume_with_relocated_address(address.0)
                }
                EvaluationResult::RequiresIndexedAddress { index, relocate } => {
                    let found = open.unit_ref(&files).address(index).map_err(damaged)?;
                    let guest = machine.bias().to_guest(LinkAddress(found)).0;
                    evaluation.resume_with_indexed_address(if relocate { guest } else { found })
                }
                EvaluationResult::RequiresBaseType(offset) => {
                    evaluation.resume_with_base_type(self.value_type(context.unit, offset)?)
                }
                EvaluationResult::RequiresEntryValue(expression) => {
                    let value = self.entry_value(expression, inner, purse)?;
                    evaluation.resume_with_entry_value(Value::Generic(value))
                }
                EvaluationResult::RequiresParameterRef(_) => return Err(Unavailable::EntryValue),
                EvaluationResult::RequiresTls(_) => return Err(Unavailable::ThreadLocal),
                _ => return Err(damaged("its place is described by operations that are not known")),
            }
            .map_err(damaged)?;
        }
    }

    fn value_type(&self, unit: u32, at: gimli::UnitOffset<usize>) -> Result<ValueType, Unavailable> {
        if at.0 == 0 {
            return Ok(ValueType::Generic);
        }
        let open = self.units.get(unit).ok_or_else(|| damaged("its unit is missing"))?;
        let entry = open.unit.entry(at).map_err(damaged)?;
        let found = ValueType::from_entry(&entry).map_err(damaged)?;
        Ok(found.unwrap_or(ValueType::Generic))
    }

    /// What `DW_OP_fbreg` is relative to.
    fn frame_base(&mut self, context: Context<'_>, purse: &mut Purse<'_>) -> Result<u64, Unavailable> {
        let function = context.function.ok_or(Unavailable::NoFrame)?;
        let found = self.units.attribute(function, &[gimli::DW_AT_frame_base], purse).map_err(damaged)?;
        let (unit, value) = found.ok_or(Unavailable::NoFrame)?;
        let context = Context { unit, ..context };
        let expression = self.expression(value, context, purse)?.ok_or(Unavailable::NoFrame)?;
        match self.evaluate(expression, context, purse)?.as_slice() {
            [piece] => match piece.location {
                Location::Address { address } => Ok(address),
                Location::Register { register } => {
                    context.machine.register(register.0).ok_or(Unavailable::LostRegister(register.0))
                }
                Location::Value { value } => value.to_u64(u64::MAX).map_err(damaged),
                _ => Err(Unavailable::NoFrame),
            },
            _ => Err(Unavailable::NoFrame),
        }
    }

    /// What a register held when the function began: what the caller has in it, if callees preserve it, or what the caller's
    /// debug information says that it handed over.
    fn entry_value(
        &mut self,
        expression: Expression<LazyReader>,
        context: Context<'_>,
        purse: &mut Purse<'_>,
    ) -> Result<u64, Unavailable> {
        let encoding = self.units.get(context.unit).map(|open| open.unit.encoding());
        let encoding = encoding.ok_or(Unavailable::EntryValue)?;
        let mut operations = expression.operations(encoding);
        let register = match operations.next().map_err(damaged)? {
            Some(gimli::Operation::Register { register }) => register.0,
            _ => return Err(Unavailable::EntryValue),
        };
        let (caller, returns) = context.machine.caller().ok_or(Unavailable::EntryValue)?;
        if matches!(register, 3 | 6 | 12..=15) {
            return caller.register(register).ok_or(Unavailable::EntryValue);
        }
        let callee = context.function.ok_or(Unavailable::EntryValue)?;
        let handed = self.handed_over(callee, register, returns, purse).map_err(damaged)?;
        let (function, unit, value) = handed.ok_or(Unavailable::EntryValue)?;
        // The caller is at its call, not where it returns to.
        let at = Some(returns.0.wrapping_sub(1));
        let context = Context { unit, at, function: Some(function), machine: caller, ..context };
        match self.evaluate(value, context, purse)?.as_slice() {
            [piece] => match piece.location {
                Location::Address { address } => Ok(address),
                Location::Value { value } => value.to_u64(u64::MAX).map_err(damaged),
                Location::Register { register } => caller.register(register.0).ok_or(Unavailable::EntryValue),
                _ => Err(Unavailable::EntryValue),
            },
            _ => Err(Unavailable::EntryValue),
        }
    }

    /// The link address of an entry that lies at a fixed one.
    pub(super) fn fixed_address(&mut self, entry: TypeId, purse: &mut Purse<'_>) -> Option<u64> {
        let (unit, value) = self.units.attribute(entry, &[gimli::DW_AT_location], purse).ok().flatten()?;
        let context = Context { unit, at: None, function: None, machine: &Nothing, nesting: 0 };
        match self.evaluate(value.exprloc_value()?, context, purse).ok()?.as_slice() {
            [gimli::Piece { location: Location::Address { address }, .. }] => Some(*address),
            _ => None,
        }
    }
}

/// A machine of which nothing is known, and whose image lies where it was linked.
struct Nothing;

impl Machine for Nothing {
    fn register(&self, _: u16) -> Option<u64> {
        None
    }
    fn cfa(&self) -> Option<u64> {
        None
    }
    fn read(&self, _: u64, _: &mut [u8]) -> bool {
        false
    }
    fn bias(&self) -> LoadBias {
        LoadBias::NONE
    }
}

/// A value that stands in debug information itself.
fn constant(value: &AttributeOf, size: Option<u64>) -> Result<Place, Unavailable> {
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_VALUE);
    let mut bytes = match (value, integer(value)) {
        (AttributeValue::Block(bytes) | AttributeValue::String(bytes), _) if bytes.len() <= MAX_VALUE => {
            bytes.to_slice().map_err(damaged)?.into_owned()
        }
        (_, Some(number)) => {
            let mut bytes = number.to_le_bytes().to_vec();
            bytes.truncate(size.unwrap_or(8));
            bytes
        }
        _ => return Err(damaged("its value is of an unknown form")),
    };
    bytes.resize(size.unwrap_or(bytes.len()), 0);
    Ok(Place::Bytes { bytes, missing: Vec::new() })
}

/// Brings the pieces of a value together.
fn assemble(
    pieces: &[gimli::Piece<LazyReader>],
    size: Option<u64>,
    machine: &dyn Machine,
) -> Result<Place, Unavailable> {
    if let [gimli::Piece { location: Location::Address { address }, size_in_bits: None, .. }] = pieces {
        return Ok(Place::Memory(*address));
    }
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_VALUE);
    let whole = size.ok_or_else(|| damaged("its size is not known"))?;
    let (mut bytes, mut missing) = (Vec::new(), Vec::new());
    for piece in pieces {
        let bits = piece.size_in_bits.unwrap_or(8 * (whole - bytes.len().min(whole)) as u64);
        let len = usize::try_from(bits / 8).unwrap_or(usize::MAX);
        if bits % 8 != 0 || piece.bit_offset.unwrap_or(0) % 8 != 0 || len > MAX_VALUE - bytes.len() {
            return Err(damaged("a piece of it is none of whole bytes"));
        }
        let start = bytes.len();
        bytes.resize(start + len, 0);
        let skip = (piece.bit_offset.unwrap_or(0) / 8) as usize;
        if let Err(why) = fill(&mut bytes[start..], skip, &piece.location, machine) {
            missing.push((start..start + len, why));
        }
    }
    if bytes.len() < whole {
        missing.push((bytes.len()..whole, Unavailable::OptimisedOut));
    }
    bytes.resize(whole, 0);
    match missing.as_slice() {
        [(range, why)] if whole > 0 && range.start == 0 && range.end >= whole => Err(why.clone()),
        _ => Ok(Place::Bytes { bytes, missing }),
    }
}

fn fill(
    into: &mut [u8],
    skip: usize,
    location: &Location<LazyReader>,
    machine: &dyn Machine,
) -> Result<(), Unavailable> {
    let mut copy = |from: &[u8]| {
        let from = from.get(skip..).unwrap_or_default();
        if from.len() < into.len() && into.len() > 8 {
            return Err(damaged("it is larger than the register that it is said to be in"));
        }
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        Ok(())
    };
    match location {
        Location::Empty | Location::ImplicitPointer { .. } => Err(Unavailable::OptimisedOut),
        Location::Register { register } => {
            let value = machine.register(register.0).ok_or(Unavailable::LostRegister(register.0))?;
            copy(&value.to_le_bytes())
        }
        Location::Value { value } => copy(&match value {
            Value::F32(value) => value.to_bits().to_le_bytes().to_vec(),
            Value::F64(value) => value.to_bits().to_le_bytes().to_vec(),
            other => {
                // Those with a sign are longer than their type where the variable is.
                let mut bytes = other.to_u64(u64::MAX).map_err(damaged)?.to_le_bytes().to_vec();
                bytes.resize(16, 0);
                bytes
            }
        }),
        Location::Bytes { value } => copy(&value.to_slice().map_err(damaged)?),
        Location::Address { address } => {
            let at = address.wrapping_add(skip as u64);
            if machine.read(at, into) { Ok(()) } else { Err(Unavailable::Memory(at)) }
        }
    }
}
