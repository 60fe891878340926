//! What a unit contains, found by going through it once: types and lasting variables with the modules that they lie in, and
//! where its functions are.

use gimli::{Attribute, AttributeValue, DwAt, DwTag, Reader as _};
use rustc_hash::FxHasher;
use std::hash::Hasher as _;

use crate::debug::{Fault, Files, LazyReader, Purse};

use super::units::{Open, ranges};

pub(super) const TOP: u32 = u32::MAX;

/// What an entry of interest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Type,
    /// A type of which no more than the name is said.
    Declaration,
    Variable,
    /// The table of a trait's methods for a type of Rust.
    Vtable,
}

/// An entry of interest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) offset: usize,
    /// The scope that it is in, or [`TOP`].
    pub(super) scope: u32,
    /// Of its name; 0 where that stands elsewhere.
    pub(super) hash: u32,
    pub(super) what: What,
}

/// A module, type or function that others lie in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub(super) offset: usize,
    pub(super) parent: u32,
}

/// The content of a unit.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// In the order of their offsets.
    pub(super) items: Vec<Item>,
    pub(super) scopes: Vec<Scope>,
    /// First address, end, offset.
    pub(super) functions: Vec<(u64, u64, usize)>,
}

/// The hash of a name without its generic arguments; never 0.
pub(super) fn hash(name: &[u8]) -> u32 {
    let base = match name.iter().position(|byte| *byte == b'<') {
        Some(0) | None => name,
        Some(end) => &name[..end],
    };
    let mut hasher = FxHasher::default();
    hasher.write(base);
    (hasher.finish() >> 32) as u32 | 1
}

struct Level {
    depth: isize,
    scope: u32,
    function: bool,
}

impl Outline {
    pub(super) fn read(open: &Open, files: &Files<LazyReader>, purse: &mut Purse<'_>) -> Result<Self, Fault> {
        let unit = open.unit_ref(files);
        let mut outline = Self::default();
        let mut levels: Vec<Level> = Vec::new();
        let mut attributes = Vec::new();
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let (depth, offset) = (entries.next_depth(), entries.next_offset().0);
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            purse.work(1 + abbreviation.attributes().len())?;
            while levels.pop_if(|level| level.depth >= depth).is_some() {}
            let (scope, function) = levels.last().map_or((TOP, false), |level| (level.scope, level.function));
            let tag = abbreviation.tag();
            if !is_of_interest(tag) {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            entries.read_attributes(abbreviation.attributes(), &mut attributes)?;
            let says = Said { attributes: &attributes };
            let name = says.value(gimli::DW_AT_name).and_then(|name| unit.attr_string(name).ok());
            let name = name.as_ref().and_then(|name| name.to_slice().ok());
            if tag == gimli::DW_TAG_subprogram {
                let functions = &mut outline.functions;
                ranges(&unit, &attributes, purse, |begin, end| functions.push((begin, end, offset)))?;
            }
            if let Some(what) = says.what(tag, function) {
                purse.items(1)?;
                let is_table = name.as_ref().is_some_and(|name| name.ends_with(b"::{vtable}"));
                let what = if is_table && what == What::Variable { What::Vtable } else { what };
                let hash = name.as_ref().map_or(0, |name| hash(name));
                outline.items.push(Item { offset, scope, hash, what });
            }
            if abbreviation.has_children() {
                let function = function || tag == gimli::DW_TAG_subprogram;
                let inner = if is_scope(tag) { outline.scopes.len() as u32 } else { scope };
                if is_scope(tag) {
                    purse.items(1)?;
                    outline.scopes.push(Scope { offset, parent: scope });
                }
                levels.push(Level { depth, scope: inner, function });
            }
        }
        outline.functions.sort_unstable();
        Ok(outline)
    }

    /// The scope that a type lies in.
    pub(super) fn scope_of(&self, offset: usize) -> Option<u32> {
        let at = self.items.binary_search_by_key(&offset, |item| item.offset).ok()?;
        self.items.get(at).map(|item| item.scope)
    }

    /// The function that an address is in: of several that claim it, the one that begins last.
    pub(super) fn function_at(&self, address: u64) -> Option<usize> {
        let after = self.functions.partition_point(|(begin, ..)| *begin <= address);
        // Functions do not overlap but by mistake: a few steps back are enough.
        let near = self.functions[..after].iter().rev().take(16);
        near.copied().find(|(_, end, _)| address < *end).map(|(_, _, offset)| offset)
    }
}

fn is_scope(tag: DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_namespace
            | gimli::DW_TAG_module
            | gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_subprogram
    )
}

fn is_of_interest(tag: DwTag) -> bool {
    let more =
        [gimli::DW_TAG_base_type, gimli::DW_TAG_typedef, gimli::DW_TAG_variable, gimli::DW_TAG_pointer_type];
    is_scope(tag) || more.contains(&tag) || is_block(tag)
}

/// What variables of a function are in, though it gives no name to them.
fn is_block(tag: DwTag) -> bool {
    matches!(tag, gimli::DW_TAG_lexical_block | gimli::DW_TAG_inlined_subroutine)
}

struct Said<'a> {
    attributes: &'a [Attribute<LazyReader>],
}

impl Said<'_> {
    fn value(&self, name: DwAt) -> Option<AttributeValue<LazyReader>> {
        self.attributes.iter().find(|attribute| attribute.name() == name).map(Attribute::value)
    }

    fn what(&self, tag: DwTag, in_function: bool) -> Option<What> {
        let named = self.value(gimli::DW_AT_name).is_some();
        match tag {
            gimli::DW_TAG_variable => self.is_lasting(in_function).then_some(What::Variable),
            gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_base_type
            | gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_typedef
                if named =>
            {
                let declared = self.value(gimli::DW_AT_declaration).is_some();
                Some(if declared { What::Declaration } else { What::Type })
            }
            _ => None,
        }
    }

    /// Whether a variable outlives its function: it has an address by itself.
    fn is_lasting(&self, in_function: bool) -> bool {
        match self.value(gimli::DW_AT_location) {
            Some(AttributeValue::Exprloc(place)) => {
                let first = place.0.clone().read_u8().map(gimli::DwOp);
                let by_itself = [gimli::DW_OP_addr, gimli::DW_OP_addrx, gimli::DW_OP_GNU_addr_index];
                first.is_ok_and(|first| by_itself.contains(&first) || !in_function)
            }
            _ => !in_function && self.value(gimli::DW_AT_const_value).is_some(),
        }
    }
}
