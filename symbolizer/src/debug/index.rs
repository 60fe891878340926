//! Which compilation unit an address belongs to, found out by looking at the first entry of each.

use gimli::{
    AttributeValue, DebugAddrBase, DebugInfoOffset, DebugRngListsBase, Dwarf, DwarfFileType,
    RangeListsOffset, Reader, Unit, UnitHeader, UnitType,
};

use crate::debug::abbreviations::{self, Tables};
use crate::debug::budget::{Budget, Fault, Purse};
use crate::debug::files::Files;
use crate::debug::lines;

/// A part of the code that a unit says is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitRange {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) unit: u32,
    /// The least `begin` of this and all later ranges.
    min_begin: u64,
}

/// The units of an image, in the order of the section and in the order of their addresses.
pub(crate) struct UnitIndex<R: Reader> {
    pub(crate) headers: Vec<UnitHeader<R>>,
    /// By their ends. Where units claim the same address the first of these is asked first.
    ranges: Vec<UnitRange>,
    tables: Tables,
    pub(crate) fault: Option<Fault>,
}

impl<R: Reader<Offset = usize>> UnitIndex<R> {
    /// Reads as far as the section is whole.
    pub(crate) fn new(files: &Files<R>, budget: &Budget) -> Self {
        let (dwarf, mut purse) = (&files.main, budget.purse());
        let mut headers = Vec::new();
        let mut fault = None;
        let mut units = dwarf.units();
        loop {
            match units.next() {
                Ok(Some(header)) => headers.push(header),
                Ok(None) => break,
                Err(error) => {
                    fault = Some(error.into());
                    break;
                }
            }
        }
        let tables = Tables::new(headers.iter().map(|header| header.debug_abbrev_offset().0));
        let mut index = Self { headers, ranges: Vec::new(), tables, fault };
        for unit in 0..index.headers.len() {
            if let Err(fault) = index.add_ranges(dwarf, unit, &mut purse) {
                index.fault.get_or_insert(fault);
            }
        }
        index.ranges.sort_unstable_by_key(|range| (range.end, range.unit));
        let mut least = u64::MAX;
        for range in index.ranges.iter_mut().rev() {
            least = least.min(range.begin);
            range.min_begin = least;
        }
        index
    }

    fn add_ranges(&mut self, dwarf: &Dwarf<R>, unit: usize, purse: &mut Purse<'_>) -> Result<(), Fault> {
        let header = &self.headers[unit];
        if matches!(
            header.type_(),
            UnitType::Type { .. }
                | UnitType::SplitType { .. }
                | UnitType::Partial
                | UnitType::SplitCompilation(_)
        ) {
            return Ok(());
        }
        let mut found = stated_ranges(dwarf, header, purse)?;
        if found.is_empty() {
            // Some assemblers state none. The line table tells.
            let unit = self.unit(dwarf, unit)?;
            found = lines::sequences(&unit.unit_ref(dwarf), purse)?;
        }
        found.sort_unstable();
        let mut end = 0;
        for (begin, stop) in found {
            let begin = begin.max(end);
            if begin < stop {
                purse.items(1)?;
                self.ranges.push(UnitRange { begin, end: stop, unit: unit as u32, min_begin: 0 });
                end = stop;
            }
        }
        Ok(())
    }

    /// A unit, ready to be read.
    pub(crate) fn unit(&self, dwarf: &Dwarf<R>, unit: usize) -> Result<Unit<R>, Fault> {
        let header = self.headers.get(unit).ok_or(gimli::Error::MissingUnitDie)?.clone();
        let abbreviations = self.tables.get(&dwarf.debug_abbrev, header.debug_abbrev_offset().0)?;
        Ok(Unit::new_with_abbreviations(dwarf, header, abbreviations)?)
    }

    /// The unit that an entry of the section is in.
    pub(crate) fn unit_at(&self, offset: DebugInfoOffset<usize>) -> Option<usize> {
        let start = |header: &UnitHeader<R>| header.debug_info_offset().map_or(usize::MAX, |start| start.0);
        self.headers.partition_point(|header| start(header) < offset.0).checked_sub(1)
    }

    /// The ranges that an address lies in, best first, with their ranks.
    pub(crate) fn find(&self, address: u64) -> impl Iterator<Item = &UnitRange> {
        let first = self.ranges.partition_point(|range| range.end <= address);
        self.ranges[first..]
            .iter()
            .take_while(move |range| range.min_begin <= address)
            .filter(move |range| range.begin <= address)
    }

    /// The ranges of one unit in the order of addresses, with their ranks. Looks at those of all units.
    pub(crate) fn ranges_of(&self, unit: usize) -> Vec<(u32, UnitRange)> {
        let own = |range: &UnitRange| range.unit as usize == unit;
        self.ranges
            .iter()
            .zip(0..)
            .filter(|(range, _)| own(range))
            .map(|(range, rank)| (rank, *range))
            .collect()
    }

    /// The ranges of each unit in the order of addresses, with their ranks.
    pub(crate) fn ranges_by_unit(&self) -> Vec<Vec<(u32, UnitRange)>> {
        let mut units = vec![Vec::new(); self.headers.len()];
        for (rank, range) in self.ranges.iter().enumerate() {
            units[range.unit as usize].push((rank as u32, *range));
        }
        units
    }
}

/// What the first entry of a unit says of its addresses.
fn stated_ranges<R: Reader<Offset = usize>>(
    dwarf: &Dwarf<R>,
    header: &UnitHeader<R>,
    purse: &mut Purse<'_>,
) -> Result<Vec<(u64, u64)>, Fault> {
    let encoding = header.encoding();
    let mut addresses = DebugAddrBase(0);
    let mut lists = DebugRngListsBase::default_for_encoding_and_file(encoding, DwarfFileType::Main);
    let (mut low, mut high, mut ranges) = (None, None, None);
    for attribute in abbreviations::root(dwarf, header, purse)? {
        match (attribute.name(), attribute.value()) {
            (gimli::DW_AT_addr_base | gimli::DW_AT_GNU_addr_base, AttributeValue::DebugAddrBase(base)) => {
                addresses = base;
            }
            (gimli::DW_AT_rnglists_base, AttributeValue::DebugRngListsBase(base)) => lists = base,
            (gimli::DW_AT_low_pc, value) => low = Some(value),
            (gimli::DW_AT_high_pc, value) => high = Some(value),
            (gimli::DW_AT_ranges, value) => ranges = Some(value),
            _ => {}
        }
    }
    let address = |value: AttributeValue<R>| match value {
        AttributeValue::Addr(address) => Ok(Some(address)),
        AttributeValue::DebugAddrIndex(index) => {
            dwarf.debug_addr.get_address(encoding.address_size, addresses, index).map(Some)
        }
        _ => Ok(None),
    };
    let low = low.map(address).transpose()?.flatten();
    let offset = match ranges {
        Some(AttributeValue::RangeListsRef(offset)) => Some(RangeListsOffset(offset.0)),
        Some(AttributeValue::DebugRngListsIndex(index)) => {
            Some(dwarf.ranges.get_offset(encoding, lists, index)?)
        }
        _ => None,
    };
    let mut found = Vec::new();
    if let Some(offset) = offset {
        let base = low.unwrap_or(0);
        let mut list = dwarf.ranges.ranges(offset, encoding, base, &dwarf.debug_addr, addresses)?;
        while let Some(range) = list.next()? {
            purse.work(1)?;
            found.push((range.begin, range.end));
        }
    } else if let (Some(low), Some(high)) = (low, high) {
        let end = match high.udata_value() {
            Some(size) => low.wrapping_add(size),
            None => address(high)?.unwrap_or(0),
        };
        found.push((low, end));
    }
    found.retain(|(begin, end)| begin < end);
    Ok(found)
}
