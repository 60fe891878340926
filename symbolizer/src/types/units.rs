//! Units of debug information, opened when something in them is needed, and references from one to another.

use std::sync::Arc;

use gimli::{
    Attribute, AttributeValue, DebugInfoOffset, DebugTypeSignature, DebuggingInformationEntry, Dwarf,
    Reader as _, Section as _, Unit, UnitHeader, UnitOffset, UnitRef, UnitType,
};
use rustc_hash::FxHashMap;

use crate::debug::{Budget, Fault, Files, LazyReader, Purse, UnitIndex};

use super::model::TypeId;

pub(super) type Entry = DebuggingInformationEntry<LazyReader>;
pub(super) type Attributes = [Attribute<LazyReader>];
pub(super) type AttributeOf = AttributeValue<LazyReader>;

/// How often an entry may refer to another for what it does not say itself.
const MAX_HOPS: usize = 16;
/// Units that are kept open at most.
const MAX_UNITS: usize = 1 << 16;

/// Where a unit is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// By its number.
    Main(usize),
    /// By its offset in the supplementary file.
    Supplement(usize),
    /// By its offset in the section of type units.
    Types(usize),
}

/// A unit that is open.
pub(super) struct Open {
    key: Key,
    pub(super) unit: Unit<LazyReader>,
    /// What it was split off to.
    split: Option<Arc<Dwarf<LazyReader>>>,
}

/// A unit, and what it was split off to.
type Opened = (Unit<LazyReader>, Option<Arc<Dwarf<LazyReader>>>);

/// All units of an image.
pub(super) struct Units {
    files: Arc<Files<LazyReader>>,
    index: Arc<UnitIndex<LazyReader>>,
    open: Vec<Arc<Open>>,
    known: FxHashMap<Key, Option<u32>>,
    supplement: Option<Vec<UnitHeader<LazyReader>>>,
    signatures: Option<FxHashMap<u64, TypeId>>,
}

impl Open {
    pub(super) fn unit_ref<'a>(&'a self, files: &'a Files<LazyReader>) -> UnitRef<'a, LazyReader> {
        let dwarf = match (&self.split, self.key) {
            (Some(split), _) => split,
            (None, Key::Supplement(_)) => files.main.sup().unwrap_or(&files.main),
            (None, _) => &files.main,
        };
        self.unit.unit_ref(dwarf)
    }
}

impl Units {
    pub(super) fn new(files: Files<LazyReader>, budget: &Budget) -> Self {
        let index = UnitIndex::new(&files, budget);
        Self {
            files: Arc::new(files),
            index: Arc::new(index),
            open: Vec::new(),
            known: FxHashMap::default(),
            supplement: None,
            signatures: None,
        }
    }

    pub(super) fn files(&self) -> Arc<Files<LazyReader>> {
        Arc::clone(&self.files)
    }

    /// How many units there are in the image itself.
    pub(super) fn count(&self) -> usize {
        self.index.headers.len()
    }

    /// The units whose code an address may be, best first.
    pub(super) fn at(&self, address: u64) -> Vec<usize> {
        let mut found: Vec<usize> = self.index.find(address).map(|range| range.unit as usize).collect();
        found.dedup();
        found
    }

    pub(super) fn get(&self, unit: u32) -> Option<Arc<Open>> {
        self.open.get(unit as usize).map(Arc::clone)
    }

    /// Opens a unit by its number. A unit that was split is opened where its entries are.
    pub(super) fn main(&mut self, number: usize, purse: &mut Purse<'_>) -> Result<u32, Fault> {
        self.keep(Key::Main(number), purse, |units, purse| {
            let unit = units.index.unit(&units.files.main, number)?;
            Ok(split(&units.files, &unit, purse)?.unwrap_or((unit, None)))
        })
    }

    fn keep(
        &mut self,
        key: Key,
        purse: &mut Purse<'_>,
        open: impl FnOnce(
            &mut Self,
            &mut Purse<'_>,
        ) -> Result<(Unit<LazyReader>, Option<Arc<Dwarf<LazyReader>>>), Fault>,
    ) -> Result<u32, Fault> {
        let missing = Fault::Dwarf(gimli::Error::MissingUnitDie);
        if let Some(known) = self.known.get(&key) {
            return known.ok_or(missing);
        }
        if self.open.len() >= MAX_UNITS {
            return Err(Fault::TooMuch);
        }
        purse.work(100)?;
        let opened = open(self, purse);
        let number = self.open.len() as u32;
        self.known.insert(key, opened.is_ok().then_some(number));
        let (unit, split) = opened?;
        self.open.push(Arc::new(Open { key, unit, split }));
        Ok(number)
    }

    /// What an attribute of an entry refers to.
    pub(super) fn resolve(
        &mut self,
        from: u32,
        value: &AttributeOf,
        purse: &mut Purse<'_>,
    ) -> Result<Option<TypeId>, Fault> {
        let Some(home) = self.get(from) else { return Ok(None) };
        match value {
            AttributeValue::UnitRef(offset) => Ok(Some(TypeId { unit: from, offset: offset.0 })),
            AttributeValue::DebugInfoRef(offset) => match home.key {
                // What was split refers to nothing outside.
                _ if home.split.is_some() => {
                    let within = offset.to_unit_offset(&home.unit.header);
                    Ok(within.map(|offset| TypeId { unit: from, offset: offset.0 }))
                }
                Key::Supplement(_) => self.in_supplement(*offset, purse),
                _ => self.in_main(*offset, purse),
            },
            AttributeValue::DebugInfoRefSup(offset) => self.in_supplement(*offset, purse),
            AttributeValue::DebugTypesRef(signature) => self.by_signature(*signature, purse),
            _ => Ok(None),
        }
    }

    fn in_main(
        &mut self,
        offset: DebugInfoOffset<usize>,
        purse: &mut Purse<'_>,
    ) -> Result<Option<TypeId>, Fault> {
        let Some(number) = self.index.unit_at(offset) else { return Ok(None) };
        let unit = self.main(number, purse)?;
        Ok(self.within(unit, offset))
    }

    fn in_supplement(
        &mut self,
        offset: DebugInfoOffset<usize>,
        purse: &mut Purse<'_>,
    ) -> Result<Option<TypeId>, Fault> {
        let files = self.files();
        let Some(dwarf) = files.main.sup() else { return Ok(None) };
        let headers = self.supplement.get_or_insert_with(|| {
            let mut units = dwarf.units();
            std::iter::from_fn(|| units.next().ok().flatten()).collect()
        });
        let start =
            |header: &UnitHeader<LazyReader>| header.debug_info_offset().map_or(usize::MAX, |at| at.0);
        let header = headers.partition_point(|header| start(header) <= offset.0).checked_sub(1);
        let Some(header) = header.and_then(|number| headers.get(number)).cloned() else { return Ok(None) };
        let unit = self.keep(Key::Supplement(start(&header)), purse, |_, purse| {
            purse.work(dwarf.debug_abbrev.reader().len())?;
            Ok((dwarf.unit(header)?, None))
        })?;
        Ok(self.within(unit, offset))
    }

    fn within(&self, unit: u32, offset: DebugInfoOffset<usize>) -> Option<TypeId> {
        let within = offset.to_unit_offset(&self.get(unit)?.unit.header)?;
        Some(TypeId { unit, offset: within.0 })
    }

    /// A type in a unit of its own (`-fdebug-types-section`).
    fn by_signature(
        &mut self,
        signature: DebugTypeSignature,
        purse: &mut Purse<'_>,
    ) -> Result<Option<TypeId>, Fault> {
        if self.signatures.is_none() {
            let found = self.read_signatures(purse)?;
            self.signatures = Some(found);
        }
        Ok(self.signatures.as_ref().and_then(|known| known.get(&signature.0).copied()))
    }

    fn read_signatures(&mut self, purse: &mut Purse<'_>) -> Result<FxHashMap<u64, TypeId>, Fault> {
        let (files, index) = (self.files(), Arc::clone(&self.index));
        let mut found = FxHashMap::default();
        for (number, header) in index.headers.iter().enumerate() {
            if let UnitType::Type { type_signature, type_offset } = header.type_() {
                purse.items(1)?;
                let unit = self.main(number, purse)?;
                found.insert(type_signature.0, TypeId { unit, offset: type_offset.0 });
            }
        }
        let mut units = files.main.type_units();
        while let Some(header) = units.next()? {
            if let UnitType::Type { type_signature, type_offset } = header.type_() {
                purse.items(1)?;
                let at = header.debug_types_offset().map_or(0, |at| at.0);
                let unit = self.keep(Key::Types(at), purse, |_, purse| {
                    purse.work(100)?;
                    Ok((files.main.unit(header)?, None))
                })?;
                found.insert(type_signature.0, TypeId { unit, offset: type_offset.0 });
            }
        }
        Ok(found)
    }

    /// Reads an entry.
    pub(super) fn entry(&self, at: TypeId, purse: &mut Purse<'_>) -> Result<(Arc<Open>, Entry), Fault> {
        let open = self.get(at.unit).ok_or(gimli::Error::MissingUnitDie)?;
        let entry = open.unit.entry(UnitOffset(at.offset))?;
        purse.work(1 + entry.attrs().len())?;
        Ok((open, entry))
    }

    /// An attribute of an entry, or of the entry that it completes or is an instance of, with the unit that it is in.
    pub(super) fn attribute(
        &mut self,
        at: TypeId,
        names: &[gimli::DwAt],
        purse: &mut Purse<'_>,
    ) -> Result<Option<(u32, AttributeOf)>, Fault> {
        let mut at = at;
        for _ in 0..MAX_HOPS {
            let (_, entry) = self.entry(at, purse)?;
            if let Some(value) = names.iter().find_map(|name| entry.attr_value(*name)) {
                return Ok(Some((at.unit, value)));
            }
            let onward = entry
                .attr_value(gimli::DW_AT_abstract_origin)
                .or_else(|| entry.attr_value(gimli::DW_AT_specification));
            let Some(onward) = onward else { return Ok(None) };
            let Some(next) = self.resolve(at.unit, &onward, purse)? else { return Ok(None) };
            at = next;
        }
        Ok(None)
    }

    /// An attribute that is text, likewise.
    pub(super) fn text(
        &mut self,
        at: TypeId,
        name: gimli::DwAt,
        purse: &mut Purse<'_>,
    ) -> Result<Option<Arc<str>>, Fault> {
        let Some((unit, value)) = self.attribute(at, &[name], purse)? else { return Ok(None) };
        Ok(self.string(unit, value))
    }

    pub(super) fn string(&self, unit: u32, value: AttributeOf) -> Option<Arc<str>> {
        /// Names are longer with many generic arguments, but not by so much.
        const MAX_NAME: usize = 16 << 10;
        let open = self.get(unit)?;
        let mut text = open.unit_ref(&self.files).attr_string(value).ok()?;
        text.truncate(text.len().min(MAX_NAME)).ok()?;
        Some(text.to_string_lossy().ok()?.into())
    }

    /// An attribute that refers to an entry, likewise.
    pub(super) fn reference(
        &mut self,
        at: TypeId,
        name: gimli::DwAt,
        purse: &mut Purse<'_>,
    ) -> Result<Option<TypeId>, Fault> {
        let Some((unit, value)) = self.attribute(at, &[name], purse)? else { return Ok(None) };
        self.resolve(unit, &value, purse)
    }
}

/// The rest of a unit that was split off.
fn split(
    files: &Files<LazyReader>,
    unit: &Unit<LazyReader>,
    purse: &mut Purse<'_>,
) -> Result<Option<Opened>, Fault> {
    let Some(dwarf) = unit.dwo_id.and_then(|id| files.split(id)) else { return Ok(None) };
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        if matches!(header.type_(), UnitType::SplitType { .. }) {
            continue;
        }
        purse.work(100)?;
        let mut split = dwarf.unit(header)?;
        if split.dwo_id.is_some_and(|id| Some(id) != unit.dwo_id) {
            continue;
        }
        split.copy_relocated_attributes(unit);
        return Ok(Some((split, Some(dwarf))));
    }
    Ok(None)
}

/// The addresses that attributes of a function or a block name, as `add` gets them.
pub(super) fn ranges(
    unit: &UnitRef<'_, LazyReader>,
    attributes: &Attributes,
    purse: &mut Purse<'_>,
    mut add: impl FnMut(u64, u64),
) -> Result<(), Fault> {
    let find = |name| attributes.iter().find(|attribute| attribute.name() == name).map(Attribute::value);
    if let Some(value) = find(gimli::DW_AT_ranges)
        && let Some(offset) = unit.attr_ranges_offset(value)?
    {
        let mut list = unit.ranges(offset)?;
        while let Some(range) = list.next()? {
            purse.work(1)?;
            if range.begin < range.end {
                add(range.begin, range.end);
            }
        }
        return Ok(());
    }
    let (Some(low), Some(high)) = (find(gimli::DW_AT_low_pc), find(gimli::DW_AT_high_pc)) else {
        return Ok(());
    };
    let Some(begin) = unit.attr_address(low)? else { return Ok(()) };
    let end = match high.udata_value() {
        Some(size) => begin.wrapping_add(size),
        None => unit.attr_address(high)?.unwrap_or(0),
    };
    if begin < end {
        add(begin, end);
    }
    Ok(())
}
