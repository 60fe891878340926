//! Reading values: bytes, numbers, fields.

use std::sync::Arc;

use uniprof_collector::paging::AddressSpace;
use uniprof_symbolizer::types::{Base, Kind, Member, Place, Struct, Type, TypeId, Types, Variant};
use uniprof_symbolizer::{AddressKind, LoadBias, Symbolizer};
use uniprof_wire::address::GuestVirtual;

use crate::program::LoadedImage;
use crate::subject::Subject;

use super::operand::Operand;
use super::{Limits, PrintError};

/// How deep a pointer or a number is looked for within wrappers.
pub(super) const MAX_WRAPPERS: u32 = 12;
/// Fields that are looked at for one that is sought: damaged types contain themselves, many times over.
const MAX_FIELDS: u32 = 1 << 12;
/// The most bytes that are read for one value.
pub(super) const MAX_READ: u64 = 1 << 20;

/// Looks at values that have types of one image.
pub(super) struct Inspector<'s> {
    pub(super) space: &'s AddressSpace,
    pub(super) types: &'s mut Types,
    pub(super) symbolizers: &'s mut [Symbolizer],
    pub(super) loaded: &'s LoadedImage,
    pub(super) bias: LoadBias,
    pub(super) limits: Limits,
    /// How many more values may be shown.
    pub(super) left: usize,
}

impl<'s> Inspector<'s> {
    pub(super) fn new(subject: &'s mut Subject, image: usize, limits: Limits) -> Result<Self, PrintError> {
        let Subject { space, program, .. } = subject;
        let (types, symbolizers, loaded) = program.types(image).ok_or(PrintError::NoImage)??;
        types.begin();
        let bias = loaded.bias;
        Ok(Self { space, types, symbolizers, loaded, bias, limits, left: limits.nodes })
    }

    /// A type without qualifiers and other names.
    pub(super) fn bare(&mut self, id: TypeId) -> Result<(TypeId, Arc<Type>), PrintError> {
        let found = self.types.bare(id)?;
        found.ok_or_else(|| PrintError::Type("it is of type void, which has no values".into()))
    }

    pub(super) fn size(&mut self, id: TypeId) -> Result<u64, PrintError> {
        self.types.size(id).ok_or_else(|| {
            let name = self.types.name(id);
            PrintError::Type(format!("the size of {} is not known", name.as_deref().unwrap_or("the type")))
        })
    }

    /// All bytes of a value.
    pub(super) fn bytes(&mut self, value: &Operand) -> Result<Vec<u8>, PrintError> {
        let size = self.size(value.ty)?;
        if size > MAX_READ {
            return Err(PrintError::Type(format!("it takes {size} bytes, more than are read at once")));
        }
        match &value.place {
            Place::Memory(address) => {
                let mut bytes = vec![0; size as usize];
                self.read(*address, &mut bytes)?;
                Ok(bytes)
            }
            Place::Bytes { missing, .. } if !missing.is_empty() => {
                let why = missing.first().map(|(_, why)| why.to_string()).unwrap_or_default();
                Err(PrintError::Memory(why))
            }
            Place::Bytes { bytes, .. } => Ok(bytes.get(..size as usize).unwrap_or(bytes).to_vec()),
        }
    }

    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PrintError> {
        self.space.read(GuestVirtual(at), into).map_err(|error| PrintError::Memory(error.to_string()))
    }

    pub(super) fn is_readable(&self, at: u64) -> bool {
        self.read(at, &mut [0]).is_ok()
    }

    /// A value of a scalar type as bits.
    pub(super) fn bits(&mut self, value: &Operand) -> Result<u128, PrintError> {
        if let Some((first, width)) = value.bits {
            return self.bit_field(value, first, width);
        }
        let bytes = self.bytes(value)?;
        if bytes.len() > 16 {
            return Err(PrintError::Type("it is no number".into()));
        }
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte)))
    }

    fn bit_field(&mut self, value: &Operand, first: u64, width: u64) -> Result<u128, PrintError> {
        let len = (first + width).div_ceil(8).min(16) as usize;
        let mut bytes = vec![0; len];
        match &value.place {
            Place::Memory(address) => self.read(*address, &mut bytes)?,
            Place::Bytes { bytes: from, .. } => {
                for (to, from) in bytes.iter_mut().zip(from) {
                    *to = *from;
                }
            }
        }
        let whole = bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
        let mask = if width >= 128 { u128::MAX } else { (1 << width) - 1 };
        Ok(whole >> first.min(127) & mask)
    }

    /// A number, an address, a truth value or an enumerator as a number, with its sign.
    pub(super) fn integer(&mut self, value: &Operand) -> Result<i128, PrintError> {
        self.integer_within(value, 0)
    }

    fn integer_within(&mut self, value: &Operand, depth: u32) -> Result<i128, PrintError> {
        let (id, ty) = self.bare(value.ty)?;
        if depth > MAX_WRAPPERS {
            return Err(self.no_number(id));
        }
        let signed = match &ty.kind {
            Kind::Base(Base::Signed | Base::Byte) => true,
            Kind::Base(Base::Float | Base::Nothing) => return Err(self.no_number(id)),
            Kind::Base(_) | Kind::Pointer(_) => false,
            Kind::Enumeration(found) => match found.underlying {
                Some(underlying) => return self.integer_within(&value.seen_as(underlying), depth + 1),
                None => false,
            },
            Kind::Struct(_) => {
                let inner = self.only_number(value, 0).ok_or_else(|| self.no_number(id))?;
                return self.integer_within(&inner, depth + 1);
            }
            _ => return Err(self.no_number(id)),
        };
        let bits = self.bits(value)?;
        let width = match value.bits {
            Some((_, width)) => width,
            None => 8 * self.size(value.ty)?,
        };
        Ok(if signed { signed_of(bits, width) } else { bits as i128 })
    }

    fn no_number(&mut self, id: TypeId) -> PrintError {
        let name = self.types.name(id);
        PrintError::Type(format!("a value of type {} is no number", name.as_deref().unwrap_or("?")))
    }

    /// The number that a wrapper holds, such as an atomic.
    fn only_number(&mut self, value: &Operand, depth: u32) -> Option<Operand> {
        let (_, ty) = self.bare(value.ty).ok()?;
        match &ty.kind {
            Kind::Base(_) | Kind::Pointer(_) | Kind::Enumeration(_) => Some(value.clone()),
            Kind::Struct(found) if depth < MAX_WRAPPERS && found.variants.is_none() => {
                let inner = self.only_member(value, found)?;
                self.only_number(&inner, depth + 1)
            }
            _ => None,
        }
    }

    /// The only field that takes any room.
    pub(super) fn only_member(&mut self, value: &Operand, of: &Struct) -> Option<Operand> {
        let mut found = None;
        for member in of.members.iter().take(64) {
            if self.types.size(member.ty) == Some(0) {
                continue;
            }
            if found.replace(member).is_some() && !of.union {
                return None;
            }
        }
        let member = found?.clone();
        self.member(value, &member)
    }

    pub(super) fn member(&mut self, value: &Operand, member: &Member) -> Option<Operand> {
        let size = self.types.size(member.ty);
        let part = match (value.address(), member.bits) {
            (None, Some((first, width))) => {
                value.part(member.offset, member.ty, Some((first + width).div_ceil(8)))
            }
            _ => value.part(member.offset, member.ty, size),
        };
        part.map(|part| Operand { bits: member.bits, ..part })
    }

    /// A field by its name; those of anonymous members, base classes and the current alternative of an enum count.
    pub(super) fn field(&mut self, value: &Operand, name: &str) -> Option<Operand> {
        self.field_within(value, name, 0, &mut { MAX_FIELDS })
    }

    fn field_within(&mut self, value: &Operand, name: &str, depth: u32, left: &mut u32) -> Option<Operand> {
        *left = left.checked_sub(1)?;
        let (_, ty) = self.bare(value.ty).ok()?;
        let Kind::Struct(found) = &ty.kind else { return None };
        let is_called = |member: &&Member| {
            let own = member.name.as_deref();
            own == Some(name) || own.and_then(|own| own.strip_prefix("__")) == Some(name)
        };
        if let Some(member) = found.members.iter().find(is_called) {
            return self.member(value, member);
        }
        if depth >= MAX_WRAPPERS {
            return None;
        }
        for member in
            found.members.iter().filter(|member| member.name.is_none() || member.artificial).take(64)
        {
            let inner = self.member(value, member);
            if let Some(inner) = inner.and_then(|inner| self.field_within(&inner, name, depth + 1, left)) {
                return Some(inner);
            }
        }
        let variant = self.variant(value, found).ok().flatten()?;
        let inner = self.member(value, &variant.member)?;
        self.field_within(&inner, name, depth + 1, left)
    }

    /// The alternative that an enum is.
    pub(super) fn variant(&mut self, value: &Operand, of: &Struct) -> Result<Option<Variant>, PrintError> {
        let Some(variants) = &of.variants else { return Ok(None) };
        let Some(discriminant) = &variants.discriminant else {
            return Ok(variants.variants.first().cloned());
        };
        let number = self
            .member(value, discriminant)
            .ok_or_else(|| PrintError::Type("which alternative it is is not known".into()))?;
        let number = self.bits(&number)?;
        match variants.of(number) {
            Some(variant) => Ok(Some(variant.clone())),
            None => Err(PrintError::Type(format!("its discriminant {number} stands for no alternative"))),
        }
    }

    /// The first pointer within wrappers such as `Unique` and `NonNull`.
    pub(super) fn pointer(&mut self, value: &Operand) -> Option<(u64, Option<TypeId>)> {
        self.pointer_within(value, 0, &mut { MAX_FIELDS })
    }

    fn pointer_within(
        &mut self,
        value: &Operand,
        depth: u32,
        left: &mut u32,
    ) -> Option<(u64, Option<TypeId>)> {
        *left = left.checked_sub(1)?;
        let (_, ty) = self.bare(value.ty).ok()?;
        match &ty.kind {
            Kind::Pointer(target) => Some((self.bits(value).ok()? as u64, *target)),
            Kind::Struct(found) if depth < MAX_WRAPPERS => {
                for member in found.members.iter().take(8) {
                    let inner = self.member(value, member)?;
                    if let Some(pointer) = self.pointer_within(&inner, depth + 1, left) {
                        return Some(pointer);
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// A field that is a number, by the names that lead to it.
    pub(super) fn number(&mut self, value: &Operand, path: &[&str]) -> Option<u64> {
        let mut at = value.clone();
        for name in path {
            at = self.field(&at, name)?;
        }
        u64::try_from(self.integer(&at).ok()?).ok()
    }

    /// The function or variable that an address lies in, with the distance.
    pub(super) fn symbol(&mut self, address: u64) -> Option<String> {
        let at = GuestVirtual(address);
        if let Some(home) = self.symbolizers.iter().position(|one| one.is_executable(at)) {
            let found = self.symbolizers.get_mut(home)?.resolve(at, AddressKind::Instruction);
            let name = found.frames().last().map(|frame| frame.function.to_string())?;
            return Some(match self.loaded.image.owner_of(self.bias.to_link(at)) {
                Some((_, offset)) if offset > 0 => format!("<{name}+{offset}>"),
                _ => format!("<{name}>"),
            });
        }
        let (name, offset) = self.loaded.image.owner_of(self.bias.to_link(at))?;
        Some(if offset > 0 { format!("<{name}+{offset}>") } else { format!("<{name}>") })
    }
}

pub(super) fn signed_of(bits: u128, width: u64) -> i128 {
    match width {
        1..=127 => (bits << (128 - width)) as i128 >> (128 - width),
        _ => bits as i128,
    }
}
