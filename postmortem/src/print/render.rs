//! Values as people read them.

use std::sync::Arc;

use uniprof_symbolizer::types::{Base, Enumeration, Kind, Member, Place, Struct, Type, TypeId, base_name};

use super::PrintError;
use super::inspect::{Inspector, signed_of};
use super::operand::Operand;
use super::sequence::{Library, is_box};
use super::value::Data;

/// How many characters of a C string are shown next to its address.
const STRING: u64 = 200;

/// Alternatives and wrappers that are seen through on the way to one value: damaged types contain themselves.
const MAX_SEEN_THROUGH: u32 = 100;

/// How deep a value lies within what is shown.
#[derive(Clone, Copy, Default)]
struct Level {
    depth: u32,
    references: u32,
    seen_through: u32,
}

impl Level {
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    fn followed(self) -> Self {
        Self { references: self.references + 1, ..self }
    }

    fn through(self) -> Result<Self, PrintError> {
        let within = self.seen_through < MAX_SEEN_THROUGH;
        within
            .then(|| Self { seen_through: self.seen_through + 1, ..self })
            .ok_or_else(|| PrintError::Type("its type contains itself".into()))
    }
}

impl Inspector<'_> {
    /// A value with all that it is made of, within the limits.
    pub(super) fn render(&mut self, value: &Operand) -> Data {
        self.at_level(value, Level::default())
    }

    fn at_level(&mut self, value: &Operand, level: Level) -> Data {
        let Some(left) = self.left.checked_sub(1) else { return Data::More };
        self.left = left;
        if level.depth > self.limits.depth.saturating_mul(2) {
            return Data::More;
        }
        self.try_render(value, level).unwrap_or_else(|error| Data::Unknown(error.to_string()))
    }

    fn try_render(&mut self, value: &Operand, level: Level) -> Result<Data, PrintError> {
        let Some((id, ty)) = self.types.bare(value.ty)? else { return Ok(Data::Name("void".into())) };
        match &ty.kind {
            Kind::Base(base) => self.base(value, *base),
            Kind::Pointer(target) => self.pointer_to(value, &ty, *target, level),
            Kind::Struct(found) => self.structure(value, id, &ty, found, level),
            Kind::Enumeration(found) => self.enumerator(value, &ty, found),
            Kind::Array(element, _) => self.array(value, *element, level),
            Kind::Function => Ok(self.function(value)),
            Kind::Opaque => self.declared(value, id, level),
            Kind::Alias(..) => Err(PrintError::Type("its type is another name of itself".into())),
        }
    }

    fn base(&mut self, value: &Operand, base: Base) -> Result<Data, PrintError> {
        if base == Base::Nothing {
            return Ok(Data::Tuple(String::new(), Vec::new()));
        }
        if base == Base::Float {
            return match self.size(value.ty)? {
                4 => Ok(Data::Float(f32::from_bits(self.bits(value)? as u32))),
                _ => self.float(value).map(Data::Double),
            };
        }
        let bits = self.bits(value)?;
        let width = match value.bits {
            Some((_, width)) => width,
            None => 8 * self.size(value.ty)?,
        };
        Ok(match base {
            Base::Signed => Data::Signed(signed_of(bits, width)),
            Base::Byte => Data::Byte(signed_of(bits, width)),
            Base::Bool if bits <= 1 => Data::Bool(bits == 1),
            Base::Bool => Data::Unknown(format!("damaged bool: {bits}")),
            Base::Char => match u32::try_from(bits).ok().and_then(char::from_u32) {
                Some(value) => Data::Char(value),
                None => Data::Unknown(format!("damaged char: {bits:#x}")),
            },
            _ => Data::Unsigned(bits),
        })
    }

    pub(super) fn float(&mut self, value: &Operand) -> Result<f64, PrintError> {
        let bits = self.bits(value)?;
        Ok(match self.size(value.ty)? {
            4 => f64::from(f32::from_bits(bits as u32)),
            8 => f64::from_bits(bits as u64),
            10..=16 => extended(bits),
            size => {
                return Err(PrintError::Type(format!(
                    "a number of {size} bytes with a fraction is not known"
                )));
            }
        })
    }

    fn pointer_to(
        &mut self,
        value: &Operand,
        ty: &Type,
        target: Option<TypeId>,
        level: Level,
    ) -> Result<Data, PrintError> {
        let address = self.bits(value)? as u64;
        if let Some(target) = target
            && let Some((_, to)) = self.types.bare(target)?
        {
            if is_box(ty.name.as_ref()) {
                return Ok(self.behind(&Operand::at(target, address), level, false));
            }
            if ty.name.as_ref().is_some_and(|name| name.starts_with('&')) {
                return Ok(self.behind(&Operand::at(target, address), level, true));
            }
            let is_text = matches!(to.kind, Kind::Base(Base::Byte)) && !self.types.is_rust(target);
            if is_text && address != 0 {
                return Ok(Data::Pointer(address, self.c_string(address)));
            }
        }
        Ok(Data::Pointer(address, self.symbol(address)))
    }

    /// What a reference or a box leads to.
    fn behind(&mut self, to: &Operand, level: Level, is_reference: bool) -> Data {
        let address = to.address().unwrap_or(0);
        if level.references >= self.limits.references {
            let note = self.symbol(address);
            return Data::Pointer(address, note);
        }
        if self.types.size(to.ty) != Some(0) && !self.is_readable(address) {
            return Data::Pointer(address, Some("<not in memory>".into()));
        }
        let inner = self.at_level(to, level.followed());
        if is_reference { Data::Reference(address, Box::new(inner)) } else { inner }
    }

    /// Text up to its zero byte; `None` where there is none to be read.
    fn c_string(&mut self, address: u64) -> Option<String> {
        let mut text = Vec::new();
        let mut byte = [0];
        for offset in 0..STRING {
            if self.read(address.wrapping_add(offset), &mut byte).is_err() {
                return (!text.is_empty()).then(|| Data::Text(text, 0).flat() + "…");
            }
            if byte == [0] {
                return Some(Data::Text(text, 0).flat());
            }
            text.push(byte[0]);
        }
        Some(Data::Text(text, 0).flat() + "…")
    }

    fn structure(
        &mut self,
        value: &Operand,
        id: TypeId,
        ty: &Arc<Type>,
        found: &Struct,
        level: Level,
    ) -> Result<Data, PrintError> {
        if let Some(variant) = self.variant(value, found)? {
            let inner = self.member(value, &variant.member).ok_or_else(missing)?;
            return self.try_render(&inner, level.through()?);
        }
        if found.variants.is_some() {
            return Ok(Data::Name("!".into()));
        }
        if self.is_slice(value) {
            return self.slice_or_text(value, ty, level);
        }
        if let Some(found) = self.trait_object(value, ty, level)? {
            return Ok(found);
        }
        match self.library(id) {
            Some(Library::Text) => self.text(value),
            Some(Library::Vector | Library::Deque) => self.list(value, level),
            Some(Library::Shared | Library::Wrapper) => match self.see_through(value) {
                Some(inner) if inner.address() != value.address() => Ok(self.behind(&inner, level, false)),
                Some(inner) => self.try_render(&inner, level.through()?),
                None => self.fields(value, ty, found, level),
            },
            Some(Library::BTreeMap) => {
                let entries = self.tree(value)?;
                Ok(self.map(entries, level, false))
            }
            Some(Library::BTreeSet) => {
                let map = self.field(value, "map").ok_or_else(missing)?;
                let entries = self.tree(&map)?;
                Ok(self.map(entries, level, true))
            }
            Some(kind @ (Library::HashMap | Library::HashSet)) => {
                let entries = self.table(value)?;
                Ok(self.map(entries, level, kind == Library::HashSet))
            }
            None => self.fields(value, ty, found, level),
        }
    }

    fn map(&mut self, found: super::collections::Entries, level: Level, is_set: bool) -> Data {
        let more = found.len.saturating_sub(found.entries.len() as u64);
        let level = level.deeper();
        if is_set {
            let keys = found.entries.iter().map(|(key, _)| self.at_level(key, level));
            return Data::Set(keys.collect(), more);
        }
        let entries = found.entries.iter();
        let entries = entries.map(|(key, value)| (self.at_level(key, level), self.at_level(value, level)));
        Data::Map(entries.collect(), more)
    }

    fn fields(
        &mut self,
        value: &Operand,
        ty: &Type,
        found: &Struct,
        level: Level,
    ) -> Result<Data, PrintError> {
        let name = ty.name.as_deref().map(base_name).unwrap_or_default();
        let name = if name.starts_with('(') { "" } else { name };
        let mut shown: Vec<&Member> = Vec::new();
        for member in &found.members {
            if !self.is_marker(member.ty) {
                shown.push(member);
            }
        }
        if shown.is_empty() {
            return Ok(if name.is_empty() {
                Data::Tuple(String::new(), Vec::new())
            } else {
                Data::Name(name.into())
            });
        }
        if level.depth >= self.limits.depth {
            return Ok(Data::Name(format!("{name} {{…}}").trim_start().into()));
        }
        let number = |member: &&Member| {
            member.name.as_deref().and_then(|name| name.strip_prefix("__")).map(str::parse::<u32>)
        };
        if shown.iter().all(|member| matches!(number(member), Some(Ok(_)))) {
            shown.sort_by_key(|member| number(member).and_then(Result::ok));
            let fields = shown.into_iter().map(|member| self.shown(value, member, level));
            return Ok(Data::Tuple(name.into(), fields.collect()));
        }
        let mut fields = Vec::new();
        for member in shown {
            if self.left == 0 {
                fields.push(("…".into(), Data::More));
                break;
            }
            let data = self.shown(value, member, level);
            match (&member.name, data) {
                // The fields of what has no name count as those of what holds it.
                (None, Data::Fields(inner, more)) if inner.is_empty() => fields.extend(more),
                (name, data) => fields.push((name.as_deref().unwrap_or("_").to_owned(), data)),
            }
        }
        Ok(Data::Fields(name.into(), fields))
    }

    fn shown(&mut self, value: &Operand, member: &Member, level: Level) -> Data {
        match self.member(value, member) {
            Some(inner) => self.at_level(&inner, level.deeper()),
            None => Data::Unknown(missing().to_string()),
        }
    }

    fn is_marker(&mut self, id: TypeId) -> bool {
        let marker = |ty: &Type| ty.name.as_deref().map(base_name) == Some("PhantomData");
        self.types.get(id).is_ok_and(|ty| ty.size == Some(0) && marker(&ty))
    }

    /// A pointer with a table of methods: shown as the type that the table is of.
    fn trait_object(&mut self, value: &Operand, ty: &Type, level: Level) -> Result<Option<Data>, PrintError> {
        let (Some(pointer), Some(table)) = (self.field(value, "pointer"), self.field(value, "vtable")) else {
            return Ok(None);
        };
        let (Some((address, _)), Some((table, _))) = (self.pointer(&pointer), self.pointer(&table)) else {
            return Ok(None);
        };
        let link = self.bias.to_link(uniprof_wire::address::GuestVirtual(table));
        Ok(Some(match self.types.of_vtable(link) {
            Some(concrete) => {
                let is_reference =
                    ty.name.as_ref().is_some_and(|name| !name.starts_with("alloc::boxed::Box"));
                self.behind(&Operand::at(concrete, address), level, is_reference)
            }
            None => Data::Pointer(address, Some(format!("<dyn by the table at {table:#x}>"))),
        }))
    }

    fn enumerator(&mut self, value: &Operand, ty: &Type, found: &Enumeration) -> Result<Data, PrintError> {
        let bits = self.bits(value)?;
        let width = match value.bits {
            Some((_, width)) => width,
            None => 8 * self.size(value.ty)?,
        };
        let same = |number: i128| number as u128 & mask(width) == bits & mask(width);
        if let Some((name, _)) = found.values.iter().find(|(_, number)| same(*number)) {
            return Ok(Data::Name(name.to_string()));
        }
        let flags: Vec<_> = found
            .values
            .iter()
            .filter(|(_, flag)| *flag > 0 && bits & *flag as u128 == *flag as u128)
            .collect();
        let all = found.values.iter().all(|(_, number)| *number >= 0 && (*number as u128).count_ones() <= 1);
        if all && !flags.is_empty() && flags.iter().fold(0, |sum, (_, flag)| sum | *flag as u128) == bits {
            let names: Vec<&str> = flags.iter().map(|(name, _)| &**name).collect();
            return Ok(Data::Name(format!("({})", names.join(" | "))));
        }
        let name = ty.name.as_deref().unwrap_or("enum");
        Ok(Data::Unknown(format!("{bits} is no {name}")))
    }

    fn array(&mut self, value: &Operand, element: TypeId, level: Level) -> Result<Data, PrintError> {
        let (_, ty) = self.bare(element)?;
        if matches!(ty.kind, Kind::Base(Base::Byte)) {
            return self.c_array(value);
        }
        self.list(value, level)
    }

    /// Characters of C: text up to the zeros at its end.
    fn c_array(&mut self, value: &Operand) -> Result<Data, PrintError> {
        let sequence = self.sequence(value)?;
        let Some(len) = sequence.len else { return Ok(Data::List(Vec::new(), 0)) };
        let (mut bytes, more) = self.raw(value, len)?;
        while more == 0 && bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(Data::Text(bytes, more))
    }

    fn list(&mut self, value: &Operand, level: Level) -> Result<Data, PrintError> {
        let sequence = self.sequence(value)?;
        let len = sequence.len.unwrap_or(0);
        if level.depth >= self.limits.depth && len > 0 {
            return Ok(Data::List(Vec::new(), len));
        }
        let mut items = Vec::new();
        for index in 0..len.min(self.limits.elements as u64) {
            if self.left == 0 {
                break;
            }
            let element = self.element(&sequence, index)?;
            items.push(self.at_level(&element, level.deeper()));
        }
        let more = len - items.len() as u64;
        Ok(Data::List(items, more))
    }

    fn slice_or_text(&mut self, value: &Operand, ty: &Type, level: Level) -> Result<Data, PrintError> {
        let name = ty.name.as_deref().unwrap_or_default();
        let is_text = name.ends_with("str")
            || name.contains("Box<str")
            || name.contains("Rc<str")
            || name.contains("Arc<str");
        if is_text {
            return self.text(value);
        }
        let list = self.list(value, level)?;
        let address =
            self.field(value, "data_ptr").and_then(|data| self.bits(&data).ok()).unwrap_or(0) as u64;
        Ok(if name.starts_with('&') { Data::Reference(address, Box::new(list)) } else { list })
    }

    fn text(&mut self, value: &Operand) -> Result<Data, PrintError> {
        let len = self.sequence(value)?.len.unwrap_or(0);
        let (bytes, more) = self.raw(value, len)?;
        Ok(Data::Text(bytes, more))
    }

    /// The first bytes of a sequence of bytes, and how many follow.
    fn raw(&mut self, value: &Operand, len: u64) -> Result<(Vec<u8>, u64), PrintError> {
        let sequence = self.sequence(value)?;
        let shown = len.min(self.limits.text as u64);
        let first = self.element(&sequence, 0).ok().and_then(|first| first.address());
        let bytes = match (first, &value.place) {
            (_, _) if shown == 0 => Vec::new(),
            (Some(at), _) => {
                let mut bytes = vec![0; shown as usize];
                self.read(at, &mut bytes)?;
                bytes
            }
            (None, Place::Bytes { .. }) => {
                let mut bytes = self.bytes(value)?;
                bytes.truncate(shown as usize);
                bytes
            }
            (None, Place::Memory(_)) => return Err(missing()),
        };
        Ok((bytes, len - shown))
    }

    fn function(&mut self, value: &Operand) -> Data {
        match value.address() {
            Some(address) => Data::Pointer(address, self.symbol(address)),
            None => Data::Unknown("a function without an address".into()),
        }
    }

    /// A value of a type that only its declaration is known of.
    fn declared(&mut self, value: &Operand, id: TypeId, level: Level) -> Result<Data, PrintError> {
        let name = self.types.name(id);
        match self.types.definition(id)? {
            Some(found) if found != id => self.try_render(&value.seen_as(found), level),
            _ => Err(PrintError::Type(match (name.as_deref(), value.address()) {
                (Some(name), _) if name != "?" => {
                    format!("debug information does not say what {name} is made of")
                }
                (_, Some(at)) => format!(
                    "no debug information says what type it is; cast its address {at:#x}, as in *(u64*){at:#x}"
                ),
                _ => "no debug information says what type it is".into(),
            })),
        }
    }
}

fn missing() -> PrintError {
    PrintError::Type("that part of it is not there".into())
}

fn mask(width: u64) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

/// A number of 80 bits as x87 has it, as near as 64 bits come to it.
fn extended(bits: u128) -> f64 {
    let (mantissa, head) = (bits as u64, (bits >> 64) as u16);
    let sign = if head & 0x8000 != 0 { -1.0 } else { 1.0 };
    match (head & 0x7fff, mantissa) {
        (0, 0) => sign * 0.0,
        (0x7fff, mantissa) if mantissa << 1 == 0 => sign * f64::INFINITY,
        (0x7fff, _) => f64::NAN,
        (exponent, mantissa) => sign * mantissa as f64 * 2f64.powi(i32::from(exponent) - 16383 - 63),
    }
}
