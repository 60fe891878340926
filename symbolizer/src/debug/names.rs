//! The names of functions, which may stand far from the functions themselves.

use std::sync::Arc;

use gimli::{
    AttributeValue, DebugInfoOffset, Dwarf, EntriesRaw, Reader, Unit, UnitHeader, UnitOffset, UnitRef,
};
use rustc_hash::FxHashMap;

use crate::debug::budget::{Fault, Purse};
use crate::debug::files::Files;
use crate::debug::index::UnitIndex;

/// How often an entry may refer to another for its name. Compilers need three.
const MAX_HOPS: usize = 16;
/// How many other units are kept ready.
const MAX_UNITS: usize = 64;

/// Which file a unit is in: offsets mean something else in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Main,
    Split,
    Supplement,
}

/// What an entry says of its name.
pub(crate) struct Said<R: Reader> {
    linkage: Option<AttributeValue<R>>,
    name: Option<AttributeValue<R>>,
    origin: Option<AttributeValue<R>>,
    /// Whether the reference stands before the name.
    origin_first: bool,
}

impl<R: Reader> Default for Said<R> {
    fn default() -> Self {
        Self { linkage: None, name: None, origin: None, origin_first: false }
    }
}

impl<R: Reader<Offset = usize>> Said<R> {
    /// Takes an attribute that has to do with the name.
    pub(crate) fn take(&mut self, name: gimli::DwAt, value: AttributeValue<R>) {
        match name {
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => self.linkage = Some(value),
            gimli::DW_AT_name => self.name = Some(value),
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => {
                self.origin_first |= self.name.is_none() && self.origin.is_none();
                self.origin = Some(value);
            }
            _ => {}
        }
    }
}

/// Finds names, and remembers those that it found in other units.
pub(crate) struct Names<'f, R: Reader> {
    files: &'f Files<R>,
    index: &'f UnitIndex<R>,
    units: FxHashMap<(Part, usize), Arc<Unit<R>>>,
    supplement: Option<Vec<UnitHeader<R>>>,
    known: FxHashMap<(Part, usize), Option<R>>,
}

impl<'f, R: Reader<Offset = usize>> Names<'f, R> {
    pub(crate) fn new(files: &'f Files<R>, index: &'f UnitIndex<R>) -> Self {
        Self { files, index, units: FxHashMap::default(), supplement: None, known: FxHashMap::default() }
    }

    /// The name of a function whose entry was read: its linkage name, else its name or that of the entry it refers to.
    pub(crate) fn of_function(
        &mut self,
        said: &Said<R>,
        unit: UnitRef<'_, R>,
        part: Part,
        purse: &mut Purse<'_>,
    ) -> Option<R> {
        let text = |value: &Option<AttributeValue<R>>| {
            value.as_ref().and_then(|value| unit.attr_string(value.clone()).ok())
        };
        if let Some(name) = text(&said.linkage) {
            return Some(name);
        }
        let name = text(&said.name);
        match &said.origin {
            Some(origin) if said.origin_first || name.is_none() => {
                self.at(origin.clone(), unit, part, MAX_HOPS, purse).or(name)
            }
            _ => name,
        }
    }

    fn at(
        &mut self,
        reference: AttributeValue<R>,
        unit: UnitRef<'_, R>,
        part: Part,
        hops: usize,
        purse: &mut Purse<'_>,
    ) -> Option<R> {
        let hops = hops.checked_sub(1)?;
        match reference {
            AttributeValue::UnitRef(offset) => self.entry(unit, part, offset, hops, purse).ok().flatten(),
            AttributeValue::DebugInfoRef(offset) => self.elsewhere(part, offset, hops, purse),
            AttributeValue::DebugInfoRefSup(offset) => self.elsewhere(Part::Supplement, offset, hops, purse),
            _ => None,
        }
    }

    fn elsewhere(
        &mut self,
        part: Part,
        offset: DebugInfoOffset<usize>,
        hops: usize,
        purse: &mut Purse<'_>,
    ) -> Option<R> {
        if let Some(known) = self.known.get(&(part, offset.0)) {
            return known.clone();
        }
        let dwarf: &'f Dwarf<R> = match part {
            Part::Main => &self.files.main,
            Part::Supplement => self.files.main.sup.as_deref()?,
            // Split units refer to nothing outside.
            Part::Split => return None,
        };
        let unit = self.unit(dwarf, part, offset, purse).ok()?;
        let within = offset.to_unit_offset(&unit.header)?;
        let name = self.entry(unit.unit_ref(dwarf), part, within, hops, purse).ok().flatten();
        if purse.items(1).is_ok() {
            self.known.insert((part, offset.0), name.clone());
        }
        name
    }

    fn unit(
        &mut self,
        dwarf: &'f Dwarf<R>,
        part: Part,
        offset: DebugInfoOffset<usize>,
        purse: &mut Purse<'_>,
    ) -> Result<Arc<Unit<R>>, Fault> {
        let number = match part {
            Part::Supplement => {
                let headers = self.supplement.get_or_insert_with(|| {
                    let mut units = dwarf.units();
                    std::iter::from_fn(|| units.next().ok().flatten()).collect()
                });
                let start = |header: &UnitHeader<R>| header.debug_info_offset().map_or(usize::MAX, |at| at.0);
                headers.partition_point(|header| start(header) < offset.0).checked_sub(1)
            }
            _ => self.index.unit_at(offset),
        };
        let number = number.ok_or(gimli::Error::NoEntryAtGivenOffset(offset.0 as u64))?;
        if let Some(unit) = self.units.get(&(part, number)) {
            return Ok(Arc::clone(unit));
        }
        let unit = match (part, &self.supplement) {
            (Part::Supplement, Some(headers)) => {
                purse.work(dwarf.debug_abbrev_size())?;
                dwarf.unit(headers[number].clone())?
            }
            _ => self.index.unit(dwarf, number)?,
        };
        purse.work(
            unit.line_program.as_ref().map_or(0, |program| program.header().file_names().len()) + 100,
        )?;
        if self.units.len() >= MAX_UNITS {
            self.units.clear();
        }
        let unit = Arc::new(unit);
        self.units.insert((part, number), Arc::clone(&unit));
        Ok(unit)
    }

    /// The name in an entry that another refers to: here its own comes before that of yet another.
    fn entry(
        &mut self,
        unit: UnitRef<'_, R>,
        part: Part,
        offset: UnitOffset<usize>,
        hops: usize,
        purse: &mut Purse<'_>,
    ) -> Result<Option<R>, Fault> {
        let mut entries = unit.entries_raw(Some(offset))?;
        let said = read(&mut entries, purse)?;
        let text = |value: Option<AttributeValue<R>>| value.and_then(|value| unit.attr_string(value).ok());
        if let Some(name) = text(said.linkage).or_else(|| text(said.name)) {
            return Ok(Some(name));
        }
        Ok(said.origin.and_then(|origin| self.at(origin, unit, part, hops, purse)))
    }
}

fn read<R: Reader<Offset = usize>>(
    entries: &mut EntriesRaw<'_, R>,
    purse: &mut Purse<'_>,
) -> Result<Said<R>, Fault> {
    let mut said = Said::default();
    if let Some(abbreviation) = entries.read_abbreviation()? {
        purse.work(abbreviation.attributes().len())?;
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            said.take(attribute.name(), attribute.value());
        }
    }
    Ok(said)
}

/// How much parsing abbreviations anew may cost.
trait AbbreviationSize {
    fn debug_abbrev_size(&self) -> usize;
}

impl<R: Reader<Offset = usize>> AbbreviationSize for Dwarf<R> {
    fn debug_abbrev_size(&self) -> usize {
        use gimli::Section as _;
        self.debug_abbrev.reader().len()
    }
}
