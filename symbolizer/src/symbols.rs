//! The symbol table, as names for addresses and as addresses for names.

use std::ops::Range;

use object::elf::{self, Sym64};
use object::read::elf::Sym as _;
use object::{LittleEndian, pod};
use uniprof_wire::address::LinkAddress;

use crate::code::Code;
use crate::demangle::demangle;
use crate::image::Image;
use crate::ocaml;
use crate::store::Content;

/// The longest symbol name that is read. Rust's and C++'s generics reach a few thousand bytes.
const MAX_NAME: usize = 64 << 10;

/// A symbol that was looked up by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Its first address.
    pub address: LinkAddress,
    /// Its size in bytes; 0 where the file does not say.
    pub size: u64,
}

/// A defined symbol. Its name stays in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    pub(crate) size: u64,
    /// Offset of the name among the names.
    name: u32,
    /// Lower is better among symbols of one address.
    rank: u8,
    pub(crate) code: bool,
}

/// The defined symbols of an image.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    entries: Vec<Entry>,
    names: Option<Content>,
    whole: bool,
}

impl Symbols {
    /// Reads `SHT_SYMTAB`, which is `whole`, or `SHT_DYNSYM`.
    pub(crate) fn read(table: &[u8], names: Content, whole: bool) -> Self {
        let count = table.len() / size_of::<Sym64<LittleEndian>>();
        let symbols = pod::slice_from_bytes::<Sym64<LittleEndian>>(table, count);
        let symbols = symbols.map_or(&[][..], |(symbols, _)| symbols);
        let entries = symbols.iter().filter_map(|symbol| Entry::read(symbol, &names)).collect();
        Self { entries, names: Some(names), whole }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether they are a whole symbol table, not only what is exported.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Where code begins that has a name, and its size as far as it is told.
    pub(crate) fn code_addresses(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.entries.iter().filter(|entry| entry.code).map(|entry| (entry.address, entry.size))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Symbol> {
        let matches = |entry: &&Entry| {
            self.rest(entry).strip_prefix(name.as_bytes()).is_some_and(|after| after.first() == Some(&0))
        };
        let found = self.entries.iter().filter(matches).min_by_key(|entry| entry.rank)?;
        Some(Symbol { address: LinkAddress(found.address), size: found.size })
    }

    /// The symbol whose readable name is `name`, or ends with it at a `::`; the shortest of several.
    pub(crate) fn called(&self, name: &str) -> Option<Symbol> {
        let readable = |entry: &Entry| demangle(&String::from_utf8_lossy(self.name(entry)));
        let fits =
            |full: &str| full.strip_suffix(name).is_some_and(|path| path.is_empty() || path.ends_with("::"));
        let named = self.entries.iter().map(|entry| (entry, readable(entry))).filter(|(_, full)| fits(full));
        let (found, _) = named.min_by_key(|(entry, full)| (full.len(), entry.rank, entry.address))?;
        Some(Symbol { address: LinkAddress(found.address), size: found.size })
    }

    /// The symbol, of code or of data, that has an address: the one that begins last before it and reaches that far.
    pub(crate) fn at(&self, address: u64) -> Option<&Entry> {
        let has =
            |entry: &&Entry| address.checked_sub(entry.address).is_some_and(|past| past < entry.size.max(1));
        let order = |entry: &&Entry| (entry.address, std::cmp::Reverse(entry.rank));
        self.entries.iter().filter(has).max_by_key(order)
    }

    pub(crate) fn name(&self, entry: &Entry) -> &[u8] {
        let rest = self.rest(entry);
        let rest = &rest[..rest.len().min(MAX_NAME)];
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The names, from the entry's on.
    fn rest(&self, entry: &Entry) -> &[u8] {
        self.names.as_deref().and_then(|names| names.get(entry.name as usize..)).unwrap_or_default()
    }
}

impl Entry {
    fn read(symbol: &Sym64<LittleEndian>, names: &[u8]) -> Option<Self> {
        let kind = symbol.st_type();
        let code = match kind {
            elf::STT_FUNC | elf::STT_NOTYPE | elf::STT_GNU_IFUNC => true,
            elf::STT_OBJECT | elf::STT_TLS => false,
            _ => return None,
        };
        let name = symbol.st_name(LittleEndian);
        if symbol.is_undefined(LittleEndian) || symbol.is_common(LittleEndian) || name == 0 {
            return None;
        }
        let bind = match symbol.st_bind() {
            elf::STB_GLOBAL => 0,
            elf::STB_WEAK => 1,
            _ => 2,
        };
        let untyped = kind == elf::STT_NOTYPE;
        let mark = untyped && names.get(name as usize..).is_some_and(ocaml::marks_a_unit);
        // A linker script's absolute symbols may be addresses (`UNIPROF_REGION = …`) but name no code.
        let code = code && !symbol.is_absolute(LittleEndian);
        Some(Self {
            address: symbol.st_value(LittleEndian),
            size: symbol.st_size(LittleEndian),
            name,
            rank: bind + if untyped { 4 } else { 0 } + if mark { 8 } else { 0 },
            code,
        })
    }
}

/// Which symbol names the code at an address: ranges that do not overlap, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct CodeRanges {
    ranges: Vec<(Range<u64>, Entry)>,
}

impl CodeRanges {
    pub(crate) fn new(image: &Image) -> Self {
        let mut code: Vec<Entry> =
            image.symbols().entries.iter().filter(|entry| entry.code).copied().collect();
        code.sort_by_key(|entry| (entry.address, entry.rank, std::cmp::Reverse(entry.size)));
        let (mut sized, unsized_): (Vec<Entry>, Vec<Entry>) = code.iter().partition(|entry| entry.size > 0);
        sized.dedup_by_key(|entry| entry.address);
        let mut ranges = nested(&sized);
        fill_gaps(&mut ranges, unsized_, &image.code());
        Self { ranges }
    }

    /// Where ranges begin and end.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().flat_map(|(range, _)| [range.start, range.end])
    }

    pub(crate) fn find(&self, address: LinkAddress) -> Option<&Entry> {
        let index = self.ranges.partition_point(|(range, _)| range.start <= address.0).checked_sub(1)?;
        let (range, entry) = &self.ranges[index];
        range.contains(&address.0).then_some(entry)
    }
}

/// Cuts symbols that overlap into ranges: the one that starts last names the address.
fn nested(sorted: &[Entry]) -> Vec<(Range<u64>, Entry)> {
    let mut ranges = Vec::with_capacity(sorted.len());
    let mut open: Vec<Entry> = Vec::new();
    let mut from = 0;
    let end = |entry: &Entry| entry.address.saturating_add(entry.size);
    let mut emit = |from: &mut u64, to: u64, entry: &Entry| {
        if *from < to {
            ranges.push((*from..to, *entry));
            *from = to;
        }
    };
    for next in sorted {
        while let Some(top) = open.pop_if(|top| end(top) <= next.address) {
            emit(&mut from, end(&top), &top);
        }
        if let Some(top) = open.last() {
            emit(&mut from, next.address, top);
        }
        from = next.address;
        open.push(*next);
    }
    while let Some(top) = open.pop() {
        emit(&mut from, end(&top), &top);
    }
    ranges
}

/// Symbols without a size (labels of assembly code) name what no other symbol covers, up to the next symbol or the end
/// of their section.
fn fill_gaps(ranges: &mut Vec<(Range<u64>, Entry)>, labels: Vec<Entry>, code: &Code) {
    let mut filled = Vec::new();
    let mut labels = labels.into_iter().peekable();
    while let Some(label) = labels.next() {
        while labels.next_if(|next| next.address == label.address).is_some() {}
        let after = ranges.partition_point(|(range, _)| range.start <= label.address);
        let covered = after.checked_sub(1).is_some_and(|index| ranges[index].0.contains(&label.address));
        let Some(section) = code.find(LinkAddress(label.address)) else { continue };
        if covered {
            continue;
        }
        let mut end = section.end;
        if let Some((next, _)) = ranges.get(after) {
            end = end.min(next.start);
        }
        if let Some(next) = labels.peek() {
            end = end.min(next.address);
        }
        filled.push((label.address..end, label));
    }
    ranges.append(&mut filled);
    ranges.sort_by_key(|(range, _)| range.start);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: u64, size: u64) -> Entry {
        Entry { address, size, name: address as u32, rank: 0, code: true }
    }

    fn starts(ranges: &[(Range<u64>, Entry)]) -> Vec<(u64, u64, u64)> {
        ranges.iter().map(|(range, entry)| (range.start, range.end, entry.address)).collect()
    }

    #[test]
    fn the_inner_symbol_names_its_range() {
        let made = nested(&[entry(10, 20), entry(12, 4), entry(14, 1), entry(40, 5), entry(43, 9)]);
        let expected = [
            (10, 12, 10),
            (12, 14, 12),
            (14, 15, 14),
            (15, 16, 12),
            (16, 30, 10),
            (40, 43, 40),
            (43, 52, 43),
        ];
        assert_eq!(starts(&made), expected);
    }

    #[test]
    fn labels_fill_what_is_left_of_their_section() {
        let mut ranges = nested(&[entry(10, 5), entry(30, 5)]);
        let labels = vec![entry(5, 0), entry(12, 0), entry(16, 0), entry(20, 0), entry(36, 0), entry(90, 0)];
        fill_gaps(&mut ranges, labels, &Code::new(vec![10..40, 60..70]));
        assert_eq!(starts(&ranges), [(10, 15, 10), (16, 20, 16), (20, 30, 20), (30, 35, 30), (36, 40, 36)]);
    }
}
