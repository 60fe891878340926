//! An entry of debug information, read as a type.

use std::sync::Arc;

use gimli::{AttributeValue, EvaluationResult, UnitOffset};

use crate::debug::{Fault, Purse};

use super::Types;
use super::model::{Base, Enumeration, Kind, Member, Struct, Type, TypeId, Variant, Variants};
use super::units::{AttributeOf, Entry, Open};

/// Fields, alternatives and names that are read of one type.
const MAX_PARTS: usize = 1 << 16;

/// A child of an entry, and how deep below it lies: 1 for its own.
struct Child {
    depth: isize,
    entry: Entry,
}

impl Types {
    pub(super) fn read(&mut self, id: TypeId, purse: &mut Purse<'_>) -> Result<Type, Fault> {
        let (open, entry) = self.units.entry(id, purse)?;
        if let Some(signature) = entry.attr_value(gimli::DW_AT_signature)
            && let Some(whole) = self.units.resolve(id.unit, &signature, purse)?
            && self.units.entry(whole, purse)?.1.attr_value(gimli::DW_AT_signature).is_none()
        {
            return self.read(whole, purse);
        }
        let name = self.own_text(id.unit, &entry, gimli::DW_AT_name);
        let size = number(&entry, gimli::DW_AT_byte_size);
        let declared = entry.attr_value(gimli::DW_AT_declaration).is_some();
        let kind = match entry.tag() {
            gimli::DW_TAG_base_type => Kind::Base(base(&entry, size, name.as_deref() == Some("char"))),
            gimli::DW_TAG_unspecified_type => Kind::Base(Base::Nothing),
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => Kind::Pointer(self.target(id.unit, &entry, purse)?),
            _ if declared => Kind::Opaque,
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type => {
                Kind::Struct(self.structure(id, &open, false, purse)?)
            }
            gimli::DW_TAG_union_type => Kind::Struct(self.structure(id, &open, true, purse)?),
            gimli::DW_TAG_enumeration_type => self.enumeration(id, &open, &entry, purse)?,
            gimli::DW_TAG_array_type => return self.array(id, &open, &entry, purse),
            gimli::DW_TAG_subroutine_type => Kind::Function,
            tag => match qualifier(tag) {
                Some(qualifier) => Kind::Alias(self.target(id.unit, &entry, purse)?, qualifier),
                None => Kind::Opaque,
            },
        };
        let word = || matches!(kind, Kind::Pointer(_)).then(|| u64::from(open.unit.encoding().address_size));
        Ok(Type { name, size: size.or_else(word), kind })
    }

    pub(super) fn own_text(&self, unit: u32, entry: &Entry, name: gimli::DwAt) -> Option<Arc<str>> {
        entry.attr_value(name).and_then(|value| self.units.string(unit, value))
    }

    /// The type that an entry names as its own.
    fn target(&mut self, unit: u32, entry: &Entry, purse: &mut Purse<'_>) -> Result<Option<TypeId>, Fault> {
        match entry.attr_value(gimli::DW_AT_type) {
            Some(value) => self.units.resolve(unit, &value, purse),
            None => Ok(None),
        }
    }

    fn structure(
        &mut self,
        id: TypeId,
        open: &Open,
        union: bool,
        purse: &mut Purse<'_>,
    ) -> Result<Struct, Fault> {
        let mut made = Struct { union, ..Struct::default() };
        let mut discriminant = None;
        for Child { depth, entry } in children(open, id.offset, 3, purse)? {
            match (depth, entry.tag()) {
                (1, gimli::DW_TAG_member | gimli::DW_TAG_inheritance) => {
                    // A static member lies elsewhere.
                    let elsewhere = entry.attr_value(gimli::DW_AT_external).is_some();
                    let member = self.member(id.unit, &entry, purse)?;
                    made.members.extend(member.filter(|_| !elsewhere));
                }
                (1, gimli::DW_TAG_template_type_parameter) => {
                    let name = self.own_text(id.unit, &entry, gimli::DW_AT_name);
                    let ty = self.target(id.unit, &entry, purse)?;
                    made.parameters.extend(name.zip(ty));
                }
                (1, gimli::DW_TAG_variant_part) => {
                    discriminant = match entry.attr_value(gimli::DW_AT_discr) {
                        Some(AttributeValue::UnitRef(UnitOffset(offset))) => Some(offset),
                        _ => None,
                    };
                    made.variants = Some(Variants::default());
                }
                (2, gimli::DW_TAG_member) if discriminant == Some(entry.offset().0) => {
                    let member = self.member(id.unit, &entry, purse)?;
                    if let Some(variants) = &mut made.variants {
                        variants.discriminant = member;
                    }
                }
                (2, gimli::DW_TAG_variant) => discriminants(&entry, &mut made),
                (3, gimli::DW_TAG_member) => {
                    let member = self.member(id.unit, &entry, purse)?;
                    let last = made.variants.as_mut().and_then(|variants| variants.variants.last_mut());
                    if let Some((last, member)) = last.zip(member) {
                        last.member = member;
                    }
                }
                _ => {}
            }
        }
        if let Some(variants) = &mut made.variants {
            let size = variants.discriminant.as_ref().map(|member| member.ty);
            variants.variants.retain(|variant| variant.member.ty != NO_TYPE);
            let bits =
                size.and_then(|ty| self.size_within(ty, 0, purse)).map_or(128, |size| size.min(16) * 8);
            for variant in &mut variants.variants {
                for (first, last) in &mut variant.values {
                    (*first, *last) = (cut(*first, bits), cut(*last, bits));
                }
            }
        }
        Ok(made)
    }

    fn member(&mut self, unit: u32, entry: &Entry, purse: &mut Purse<'_>) -> Result<Option<Member>, Fault> {
        let Some(ty) = self.target(unit, entry, purse)? else { return Ok(None) };
        let offset = match entry.attr_value(gimli::DW_AT_data_member_location) {
            Some(AttributeValue::Exprloc(expression)) => {
                let Some(open) = self.units.get(unit) else { return Ok(None) };
                let mut evaluation = expression.evaluation(open.unit.encoding());
                evaluation.set_initial_value(0);
                evaluation.set_max_iterations(16);
                match evaluation.evaluate()? {
                    EvaluationResult::Complete => match evaluation.as_result() {
                        [gimli::Piece { location: gimli::Location::Address { address }, .. }] => *address,
                        _ => return Ok(None),
                    },
                    _ => return Ok(None),
                }
            }
            Some(value) => value.udata_value().unwrap_or(0),
            None => 0,
        };
        let mut member = Member {
            name: self.own_text(unit, entry, gimli::DW_AT_name),
            ty,
            offset,
            bits: None,
            artificial: entry.attr_value(gimli::DW_AT_artificial).is_some()
                || entry.tag() == gimli::DW_TAG_inheritance,
        };
        if let Some(width) = number(entry, gimli::DW_AT_bit_size).filter(|width| (1..=128).contains(width)) {
            self.place_bits(&mut member, width, entry, purse);
        }
        Ok(Some(member))
    }

    /// Where a bit field lies, by DWARF 4's attribute or by that of DWARF 2, which counts from the other end.
    fn place_bits(&mut self, member: &mut Member, width: u64, entry: &Entry, purse: &mut Purse<'_>) {
        if let Some(first) = number(entry, gimli::DW_AT_data_bit_offset) {
            member.offset = member.offset.saturating_add(first / 8);
            member.bits = Some((first % 8, width));
        } else if let Some(first) = number(entry, gimli::DW_AT_bit_offset) {
            let size = number(entry, gimli::DW_AT_byte_size);
            let size = size.or_else(|| self.size_within(member.ty, 0, purse)).unwrap_or(4).min(16);
            let first = (size * 8).saturating_sub(first.saturating_add(width));
            member.offset = member.offset.saturating_add(first / 8);
            member.bits = Some((first % 8, width));
        } else {
            member.bits = Some((0, width));
        }
    }

    fn enumeration(
        &mut self,
        id: TypeId,
        open: &Open,
        entry: &Entry,
        purse: &mut Purse<'_>,
    ) -> Result<Kind, Fault> {
        let underlying = self.target(id.unit, entry, purse)?;
        let mut made = Enumeration {
            underlying,
            scoped: entry.attr_value(gimli::DW_AT_enum_class).is_some(),
            ..Enumeration::default()
        };
        for Child { entry, .. } in children(open, id.offset, 1, purse)? {
            if entry.tag() != gimli::DW_TAG_enumerator {
                continue;
            }
            let name = self.own_text(id.unit, &entry, gimli::DW_AT_name);
            let value = entry.attr_value(gimli::DW_AT_const_value).and_then(|value| integer(&value));
            made.values.extend(name.zip(value));
        }
        Ok(Kind::Enumeration(made))
    }

    fn array(
        &mut self,
        id: TypeId,
        open: &Open,
        entry: &Entry,
        purse: &mut Purse<'_>,
    ) -> Result<Type, Fault> {
        let Some(mut element) = self.target(id.unit, entry, purse)? else {
            return Ok(Type { name: None, size: None, kind: Kind::Opaque });
        };
        let mut dimensions = Vec::new();
        for Child { entry, .. } in children(open, id.offset, 1, purse)? {
            if entry.tag() == gimli::DW_TAG_subrange_type {
                let count = number(&entry, gimli::DW_AT_count);
                // The bound of an empty array is -1, in as many bytes as it was written.
                let bound = || {
                    let value = entry.attr_value(gimli::DW_AT_upper_bound)?;
                    let empty = match value {
                        AttributeValue::Data4(value) => value == u32::MAX,
                        AttributeValue::Data8(value) => value == u64::MAX,
                        AttributeValue::Sdata(value) => value < 0,
                        _ => false,
                    };
                    if empty { Some(0) } else { value.udata_value()?.checked_add(1) }
                };
                dimensions.push(count.or_else(bound));
            }
        }
        let first = if dimensions.is_empty() { None } else { dimensions.remove(0) };
        for count in dimensions.into_iter().rev() {
            element = self.derive(Kind::Array(element, count), None);
        }
        Ok(Type {
            name: None,
            size: number(entry, gimli::DW_AT_byte_size),
            kind: Kind::Array(element, first),
        })
    }
}

/// Stands for the type of an alternative until its member is read.
const NO_TYPE: TypeId = TypeId { unit: TypeId::DERIVED, offset: usize::MAX };

fn discriminants(entry: &Entry, made: &mut Struct) {
    let mut values = Vec::new();
    if let Some(value) = entry.attr_value(gimli::DW_AT_discr_value).and_then(|value| integer(&value)) {
        values.push((value as u128, value as u128));
    }
    if let Some(AttributeValue::Block(list)) = entry.attr_value(gimli::DW_AT_discr_list) {
        values.extend(discriminant_list(list).unwrap_or_default());
    }
    let member = Member { name: None, ty: NO_TYPE, offset: 0, bits: None, artificial: false };
    if let Some(variants) = &mut made.variants {
        variants.variants.push(Variant { values, member });
    }
}

/// Single numbers and ranges of them (DWARF 5, section 5.7.10), taken as without a sign.
fn discriminant_list(mut list: crate::debug::LazyReader) -> Result<Vec<(u128, u128)>, gimli::Error> {
    use gimli::Reader as _;
    let mut values = Vec::new();
    while !list.is_empty() && values.len() < MAX_PARTS {
        let is_range = list.read_u8()? == gimli::DW_DSC_range.0;
        let first = u128::from(list.read_uleb128()?);
        let last = if is_range { u128::from(list.read_uleb128()?) } else { first };
        values.push((first, last));
    }
    Ok(values)
}

fn cut(value: u128, bits: u64) -> u128 {
    if bits >= 128 { value } else { value & ((1 << bits) - 1) }
}

fn qualifier(tag: gimli::DwTag) -> Option<&'static str> {
    Some(match tag {
        gimli::DW_TAG_typedef | gimli::DW_TAG_template_alias => "",
        gimli::DW_TAG_const_type => "const",
        gimli::DW_TAG_volatile_type => "volatile",
        gimli::DW_TAG_restrict_type => "restrict",
        gimli::DW_TAG_atomic_type => "_Atomic",
        _ => return None,
    })
}

fn base(entry: &Entry, size: Option<u64>, is_char: bool) -> Base {
    let Some(AttributeValue::Encoding(encoding)) = entry.attr_value(gimli::DW_AT_encoding) else {
        return Base::Unsigned;
    };
    match encoding {
        _ if size == Some(0) => Base::Nothing,
        gimli::DW_ATE_boolean => Base::Bool,
        gimli::DW_ATE_signed => Base::Signed,
        gimli::DW_ATE_signed_char => Base::Byte,
        // Rust and C++ call other characters so, too.
        gimli::DW_ATE_unsigned_char if is_char => Base::Byte,
        gimli::DW_ATE_UTF => Base::Char,
        gimli::DW_ATE_float => Base::Float,
        _ => Base::Unsigned,
    }
}

/// An attribute that is a number without a sign.
pub(super) fn number(entry: &Entry, name: gimli::DwAt) -> Option<u64> {
    entry.attr_value(name)?.udata_value()
}

/// A number that may have a sign or sixteen bytes.
pub(super) fn integer(value: &AttributeOf) -> Option<i128> {
    use gimli::Reader as _;
    match value {
        AttributeValue::Sdata(value) => Some(i128::from(*value)),
        AttributeValue::Data16(value) => Some(*value as i128),
        AttributeValue::Block(bytes) if bytes.len() <= 16 => {
            let bytes = bytes.to_slice().ok()?;
            Some(bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte)) as i128)
        }
        other => other.udata_value().map(i128::from),
    }
}

/// The entries below one, to a depth.
fn children(open: &Open, offset: usize, deepest: isize, purse: &mut Purse<'_>) -> Result<Vec<Child>, Fault> {
    let mut entries = open.unit.entries_raw(Some(UnitOffset(offset)))?;
    let mut found = Vec::new();
    let mut entry = Entry::null();
    if !entries.read_entry(&mut entry)? || !entry.has_children() {
        return Ok(found);
    }
    while !entries.is_empty() && entries.next_depth() > 0 && found.len() < MAX_PARTS {
        let depth = entries.next_depth();
        let mut entry = Entry::null();
        let is_one = entries.read_entry(&mut entry)?;
        purse.work(1 + entry.attrs().len())?;
        if is_one && depth <= deepest {
            found.push(Child { depth, entry });
        }
    }
    Ok(found)
}
