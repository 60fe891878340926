//! Abbreviations: how the entries of a unit are laid out.

use std::sync::{Arc, OnceLock};

use gimli::{
    Abbreviations, Attribute, AttributeSpecification, DebugAbbrev, DebugAbbrevOffset, Dwarf, EntriesRaw,
    Error, Reader, Section as _, UnitHeader, UnitOffset,
};
use rustc_hash::FxHashMap;

use crate::debug::budget::{Fault, Purse};

type Parsed = Result<Arc<Abbreviations>, Error>;

/// The tables of an image. Each is believed to end where the next one starts that a unit refers to: tables that overlap
/// would be parsed again and again.
pub(crate) struct Tables {
    starts: Vec<usize>,
    /// Those that several units refer to.
    shared: FxHashMap<usize, OnceLock<Parsed>>,
}

impl Tables {
    pub(crate) fn new(offsets: impl Iterator<Item = usize>) -> Self {
        let mut starts: Vec<usize> = offsets.collect();
        starts.sort_unstable();
        let twice = starts.windows(2).filter(|pair| pair[0] == pair[1]);
        let shared = twice.map(|pair| (pair[0], OnceLock::new())).collect();
        starts.dedup();
        Self { starts, shared }
    }

    pub(crate) fn get<R: Reader<Offset = usize>>(&self, section: &DebugAbbrev<R>, offset: usize) -> Parsed {
        match self.shared.get(&offset) {
            Some(shared) => shared.get_or_init(|| self.parse(section, offset)).clone(),
            None => self.parse(section, offset),
        }
    }

    fn parse<R: Reader<Offset = usize>>(&self, section: &DebugAbbrev<R>, offset: usize) -> Parsed {
        let mut bytes = section.reader().clone();
        let next = self.starts.partition_point(|start| *start <= offset);
        if let Some(end) = self.starts.get(next).filter(|end| **end <= bytes.len()) {
            bytes.truncate(*end)?;
        }
        DebugAbbrev::from(bytes).abbreviations(DebugAbbrevOffset(offset)).map(Arc::new)
    }
}

/// The attributes of a unit's first entry. Nothing else of its abbreviations is parsed, which are long.
pub(crate) fn root<R: Reader<Offset = usize>>(
    dwarf: &Dwarf<R>,
    header: &UnitHeader<R>,
    purse: &mut Purse<'_>,
) -> Result<Vec<Attribute<R>>, Fault> {
    let mut entry = header.range_from(UnitOffset(header.header_size())..)?;
    let code = entry.read_uleb128()?;
    let mut table = dwarf.debug_abbrev.reader().clone();
    table.skip(header.debug_abbrev_offset().0)?;
    let specifications = find(&mut table, code, purse)?;
    let none = Abbreviations::default();
    let mut entries = EntriesRaw::new(entry, header.encoding(), &none, UnitOffset(0));
    let attributes = specifications.into_iter().map(|one| entries.read_attribute(one));
    Ok(attributes.collect::<Result<_, _>>()?)
}

/// What the abbreviation `code` says of its attributes. It is the first, but for odd producers.
fn find<R: Reader>(
    table: &mut R,
    code: u64,
    purse: &mut Purse<'_>,
) -> Result<Vec<AttributeSpecification>, Fault> {
    loop {
        let found = table.read_uleb128()?;
        if found == 0 {
            return Err(Error::InvalidAbbreviationCode(code).into());
        }
        table.skip_leb128()?;
        table.read_u8()?;
        let mut attributes = Vec::new();
        loop {
            purse.work(1)?;
            let (name, form) = (table.read_uleb128_u16()?, table.read_uleb128_u16()?);
            if (name, form) == (0, 0) {
                break;
            }
            let (name, form) = (gimli::DwAt(name), gimli::DwForm(form));
            let constant =
                (form == gimli::DW_FORM_implicit_const).then(|| table.read_sleb128()).transpose()?;
            if found == code {
                attributes.push(AttributeSpecification::new(name, form, constant));
            }
        }
        if found == code {
            return Ok(attributes);
        }
    }
}
