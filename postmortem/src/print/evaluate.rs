//! Expressions, evaluated.

use uniprof_symbolizer::types::{Base, Kind, Place, TypeId};

use super::PrintError;
use super::expression::{Expression, Operator, TypeName};
use super::frame::FrameContext;
use super::inspect::{Inspector, MAX_WRAPPERS};
use super::operand::Operand;
use super::value::{Data, Value};

/// What evaluating comes to.
enum Outcome {
    One(Operand),
    /// Elements, and how many were left out.
    Many(Vec<Operand>, u64),
}

impl Inspector<'_> {
    pub(super) fn expression(
        &mut self,
        expression: &Expression,
        frame: Option<&FrameContext>,
    ) -> Result<Value, PrintError> {
        match self.outcome(expression, frame)? {
            Outcome::One(operand) => {
                let data = self.render(&operand);
                let ty = self.types.name(operand.ty).map(|name| name.to_string()).unwrap_or_default();
                if let (Data::Unknown(why), Place::Memory(_)) = (&data, &operand.place) {
                    return Err(PrintError::Memory(why.clone()));
                }
                Ok(Value { ty, address: operand.address().filter(|_| operand.bits.is_none()), data })
            }
            Outcome::Many(items, more) => {
                let element = items.first().and_then(|item| self.types.name(item.ty));
                let ty = format!("[{}]", element.as_deref().unwrap_or_default());
                let address = items.first().and_then(Operand::address);
                let data = Data::List(items.iter().map(|item| self.render(item)).collect(), more);
                Ok(Value { ty, address, data })
            }
        }
    }

    fn outcome(
        &mut self,
        expression: &Expression,
        frame: Option<&FrameContext>,
    ) -> Result<Outcome, PrintError> {
        let Expression::Range(of, first, last) = expression else {
            return self.operand(expression, frame).map(Outcome::One);
        };
        let of = self.operand(of, frame)?;
        let bound = |inspector: &mut Self, bound: &Option<Box<Expression>>| match bound {
            Some(bound) => inspector.index_of(bound, frame).map(Some),
            None => Ok(None),
        };
        let (first, last) = (bound(self, first)?.unwrap_or(0), bound(self, last)?);
        let sequence = self.sequence(&of)?;
        let last = match (last, sequence.len) {
            (Some(last), Some(len)) if last > len => {
                return Err(PrintError::Type(format!(
                    "the range ends at {last}, but there are {len} elements"
                )));
            }
            (Some(last), _) => last,
            (None, Some(len)) => len,
            (None, None) => {
                return Err(PrintError::Type("how many there are is not known; say [a..b]".into()));
            }
        };
        let count = last
            .checked_sub(first)
            .ok_or_else(|| PrintError::Type("the range ends before it begins".into()))?;
        let shown = count.min(self.limits.elements as u64);
        let items =
            (first..first + shown).map(|index| self.element(&sequence, index)).collect::<Result<_, _>>()?;
        Ok(Outcome::Many(items, count - shown))
    }

    fn operand(
        &mut self,
        expression: &Expression,
        frame: Option<&FrameContext>,
    ) -> Result<Operand, PrintError> {
        match expression {
            Expression::Integer(value) => self.literal(*value),
            Expression::Register(name) => self.register(name, frame),
            Expression::Name(name) => self.name(name, frame),
            Expression::Field(of, name) => {
                let of = self.operand(of, frame)?;
                self.access(&of, name)
            }
            Expression::Index(of, index) => {
                let of = self.operand(of, frame)?;
                let index = self.index_of(index, frame)?;
                let sequence = self.sequence(&of)?;
                match sequence.len {
                    Some(len) if index >= len => {
                        Err(PrintError::Type(format!("index {index} is out of bounds: the length is {len}")))
                    }
                    _ => self.element(&sequence, index),
                }
            }
            Expression::Range(..) => {
                Err(PrintError::Type("nothing can be done with a range but to show it".into()))
            }
            Expression::Deref(of) => {
                let of = self.operand(of, frame)?;
                self.deref(&of)
            }
            Expression::Address(of) => {
                let of = self.operand(of, frame)?;
                let address = of.address().filter(|_| of.bits.is_none());
                let address = address.ok_or_else(|| {
                    PrintError::Type("it has no address: it is in a register, or computed".into())
                })?;
                let ty = self.types.pointer_to(Some(of.ty));
                Ok(Operand::of_bytes(ty, address.to_le_bytes().to_vec()))
            }
            Expression::Cast(of, to) => {
                let of = self.operand(of, frame)?;
                self.cast(&of, to)
            }
            Expression::Negative(of) => {
                let of = self.operand(of, frame)?;
                let value = self.integer(&of)?;
                self.computed(value.checked_neg(), of.ty)
            }
            Expression::Inverse(of) => {
                let of = self.operand(of, frame)?;
                let (_, ty) = self.bare(of.ty)?;
                let value = self.integer(&of)?;
                let is_bool = matches!(ty.kind, Kind::Base(Base::Bool));
                self.computed(Some(if is_bool { i128::from(value == 0) } else { !value }), of.ty)
            }
            Expression::Binary(left, operator, right) => {
                let (left, right) = (self.operand(left, frame)?, self.operand(right, frame)?);
                self.binary(&left, *operator, &right)
            }
        }
    }

    fn literal(&mut self, value: u128) -> Result<Operand, PrintError> {
        let (name, len) = match 128 - value.leading_zeros() {
            0..=31 => ("i32", 4),
            32..=63 => ("i64", 8),
            64 => ("u64", 8),
            _ => ("u128", 16),
        };
        let ty = self.number_type(name)?;
        Ok(Operand::of_bytes(ty, value.to_le_bytes()[..len].to_vec()))
    }

    fn index_of(&mut self, expression: &Expression, frame: Option<&FrameContext>) -> Result<u64, PrintError> {
        let index = self.operand(expression, frame)?;
        let index = self.integer(&index)?;
        u64::try_from(index).map_err(|_| PrintError::Type(format!("{index} is no index")))
    }

    /// A field, where need be of what a pointer or a wrapper leads to.
    fn access(&mut self, of: &Operand, name: &str) -> Result<Operand, PrintError> {
        let mut at = of.clone();
        for _ in 0..8 {
            if let Some(found) = self.field(&at, name) {
                return Ok(found);
            }
            let inner = match self.see_through(&at) {
                Some(inner) => Some(inner),
                None => self.deref(&at).ok(),
            };
            match inner {
                Some(inner) => at = inner,
                None => break,
            }
        }
        Err(self.no_field(of, name))
    }

    fn no_field(&mut self, of: &Operand, name: &str) -> PrintError {
        let ty = self.types.name(of.ty);
        let ty = ty.as_deref().unwrap_or("its type");
        let names: Vec<String> = match self.bare(of.ty) {
            Ok((_, found)) => match &found.kind {
                Kind::Struct(found) => found
                    .members
                    .iter()
                    .filter_map(|member| member.name.as_deref())
                    .map(String::from)
                    .take(12)
                    .collect(),
                _ => Vec::new(),
            },
            Err(_) => Vec::new(),
        };
        let has = if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) };
        PrintError::Type(format!("{ty} has no field {name}{has}"))
    }

    pub(super) fn deref(&mut self, of: &Operand) -> Result<Operand, PrintError> {
        self.deref_within(of, 0)
    }

    fn deref_within(&mut self, of: &Operand, depth: u32) -> Result<Operand, PrintError> {
        let (_, ty) = self.bare(of.ty)?;
        if let Some(inner) = self.see_through(of) {
            return if matches!(ty.kind, Kind::Pointer(_)) || depth == MAX_WRAPPERS {
                Ok(inner)
            } else {
                self.deref_within(&inner, depth + 1).or(Ok(inner))
            };
        }
        match &ty.kind {
            Kind::Pointer(Some(target)) => {
                let address = self.bits(of)? as u64;
                Ok(Operand::at(*target, address))
            }
            Kind::Pointer(None) => Err(PrintError::Type("what it points to has no type; cast it".into())),
            Kind::Array(..) => {
                let sequence = self.sequence(of)?;
                self.element(&sequence, 0)
            }
            Kind::Base(_) if of.address().is_none() => {
                Err(PrintError::Type("a number points to nothing; cast it: *(u64*)0x1000".into()))
            }
            _ => {
                let name = self.types.name(of.ty);
                Err(PrintError::Type(format!("{} is no pointer", name.as_deref().unwrap_or("it"))))
            }
        }
    }

    fn cast(&mut self, of: &Operand, to: &TypeName) -> Result<Operand, PrintError> {
        let to = self.type_named(to)?;
        let (_, ty) = self.bare(to)?;
        let (_, from) = self.bare(of.ty)?;
        match (&ty.kind, &from.kind) {
            (Kind::Base(Base::Float), Kind::Base(Base::Float)) => Ok(of.clone()),
            (Kind::Base(Base::Float), _) => {
                let value = self.integer(of)?;
                let bytes = match self.size(to)? {
                    4 => (value as f32).to_le_bytes().to_vec(),
                    _ => (value as f64).to_le_bytes().to_vec(),
                };
                Ok(Operand::of_bytes(to, bytes))
            }
            (Kind::Base(_) | Kind::Pointer(_) | Kind::Enumeration(_), Kind::Base(Base::Float)) => {
                let value = self.float(of)?;
                self.computed(Some(value as i128), to)
            }
            (Kind::Pointer(_), Kind::Array(..)) if of.address().is_some() => {
                self.computed(of.address().map(i128::from), to)
            }
            (Kind::Base(_) | Kind::Pointer(_) | Kind::Enumeration(_), _) => {
                let value = self.integer(of)?;
                self.computed(Some(value), to)
            }
            // Seen as another structure, where it lies.
            _ if of.address().is_some() => Ok(of.seen_as(to)),
            _ => {
                Err(PrintError::Type("a value without an address can't be seen as another structure".into()))
            }
        }
    }

    /// A number that was computed, of a type's size.
    fn computed(&mut self, value: Option<i128>, ty: TypeId) -> Result<Operand, PrintError> {
        let value = value.ok_or_else(|| PrintError::Type("the result is too large".into()))?;
        let size = self.size(ty)?.min(16) as usize;
        Ok(Operand::of_bytes(ty, value.to_le_bytes()[..size].to_vec()))
    }

    fn binary(&mut self, left: &Operand, operator: Operator, right: &Operand) -> Result<Operand, PrintError> {
        let target = |inspector: &mut Self, of: &Operand| {
            inspector.bare(of.ty).map(|(_, ty)| match ty.kind {
                Kind::Pointer(target) => Some(target),
                _ => None,
            })
        };
        let (a, b) = (self.integer(left)?, self.integer(right)?);
        match (target(self, left)?, operator, target(self, right)?) {
            (Some(to), Operator::Add | Operator::Subtract, None) => {
                let size = i128::from(to.and_then(|to| self.types.size(to)).unwrap_or(1));
                let distance = b.checked_mul(size);
                let moved = distance.and_then(|distance| match operator {
                    Operator::Add => a.checked_add(distance),
                    _ => a.checked_sub(distance),
                });
                self.computed(moved, left.ty)
            }
            (Some(to), Operator::Subtract, Some(_)) => {
                let size = i128::from(to.and_then(|to| self.types.size(to)).unwrap_or(1)).max(1);
                let ty = self.number_type("i64")?;
                self.computed(a.checked_sub(b).map(|distance| distance / size), ty)
            }
            _ => {
                let ty = self.wider(left.ty, right.ty)?;
                self.computed(arithmetic(a, operator, b)?, ty)
            }
        }
    }

    /// The type of a result: the larger one's, at least of 64 bits, so that little is cut off.
    fn wider(&mut self, left: TypeId, right: TypeId) -> Result<TypeId, PrintError> {
        let ty = if self.size(left)? >= self.size(right)? { left } else { right };
        if self.size(ty)? >= 8 {
            return Ok(ty);
        }
        let (_, found) = self.bare(ty)?;
        let unsigned = matches!(found.kind, Kind::Base(Base::Unsigned) | Kind::Pointer(_));
        self.number_type(if unsigned { "u64" } else { "i64" })
    }
}

fn arithmetic(a: i128, operator: Operator, b: i128) -> Result<Option<i128>, PrintError> {
    let by_zero = || PrintError::Type("division by zero".into());
    Ok(match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide if b == 0 => return Err(by_zero()),
        Operator::Remainder if b == 0 => return Err(by_zero()),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
        Operator::And => Some(a & b),
        Operator::Or => Some(a | b),
        Operator::Exclusive => Some(a ^ b),
        Operator::Left => {
            u32::try_from(b).ok().filter(|by| *by < 128).and_then(|by| a.checked_mul(1i128.checked_shl(by)?))
        }
        Operator::Right => u32::try_from(b).ok().filter(|by| *by < 128).map(|by| a >> by),
    })
}
