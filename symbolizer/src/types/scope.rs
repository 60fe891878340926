//! Which variables a function has in scope at an address, those of functions inlined there included.

use std::sync::Arc;

use gimli::UnitOffset;
use uniprof_wire::address::LinkAddress;

use crate::debug::{Fault, Purse};

use super::model::{LocalVariable, Scope, TypeId, VariableKind};
use super::units::{Entry, ranges};
use super::{Types, TypesError};

/// Variables that are told of one address at most.
const MAX_VARIABLES: usize = 4096;
/// Functions inlined into each other.
const MAX_INLINED: usize = 256;

/// A variable as it is found, before its name is looked up.
struct Found {
    entry: TypeId,
    kind: VariableKind,
    block: u32,
}

/// A function of the address, outermost first.
struct Level {
    entry: TypeId,
    variables: Vec<Found>,
}

/// A block whose content is in scope.
struct Inside {
    depth: isize,
    block: u32,
    /// Which function it is a block of.
    level: usize,
}

impl Types {
    /// The functions at an address and their variables, the innermost inlined one first. Empty where debug information knows of
    /// no function there.
    pub fn scopes(&mut self, at: LinkAddress) -> Result<Vec<Scope>, TypesError> {
        let budget = Arc::clone(&self.budget);
        let purse = &mut budget.purse();
        let Some(function) = self.function_at(at.0, purse)? else { return Ok(Vec::new()) };
        let levels = self.walk(function, at.0, purse)?;
        let mut scopes = Vec::new();
        for level in levels.into_iter().rev() {
            let mut scope = Scope {
                function: self.units.text(level.entry, gimli::DW_AT_name, purse)?,
                variables: Vec::new(),
            };
            for Found { entry, kind, block } in level.variables {
                let Some(name) = self.units.text(entry, gimli::DW_AT_name, purse)? else { continue };
                let ty = self.units.reference(entry, gimli::DW_AT_type, purse)?;
                scope.variables.push(LocalVariable { name, kind, ty, block, entry, function });
            }
            scope.variables.sort_by_key(|variable| (variable.kind == VariableKind::Local, variable.block));
            scopes.push(scope);
        }
        Ok(scopes)
    }

    pub(super) fn function_at(&mut self, at: u64, purse: &mut Purse<'_>) -> Result<Option<TypeId>, Fault> {
        for number in self.units.at(at) {
            let unit = self.units.main(number, purse)?;
            if let Some(offset) = self.outline(unit, purse)?.function_at(at) {
                return Ok(Some(TypeId { unit, offset }));
            }
        }
        Ok(None)
    }

    fn walk(&mut self, function: TypeId, at: u64, purse: &mut Purse<'_>) -> Result<Vec<Level>, Fault> {
        let files = self.units.files();
        let Some(open) = self.units.get(function.unit) else { return Ok(Vec::new()) };
        let unit = open.unit_ref(&files);
        let mut levels = vec![Level { entry: function, variables: Vec::new() }];
        let mut inside = vec![Inside { depth: 0, block: 0, level: 0 }];
        let mut entries = unit.entries_raw(Some(UnitOffset(function.offset)))?;
        let mut entry = Entry::null();
        entries.read_entry(&mut entry)?;
        let mut count = 0;
        while !entries.is_empty() && entries.next_depth() > 0 {
            let (depth, offset) = (entries.next_depth(), entries.next_offset().0);
            let is_one = entries.read_entry(&mut entry)?;
            purse.work(1 + entry.attrs().len())?;
            if !is_one {
                continue;
            }
            while inside.len() > 1 && inside.pop_if(|block| block.depth >= depth).is_some() {}
            let Some(Inside { depth: outer, block, level }) = inside.last() else { break };
            if depth != outer + 1 {
                continue;
            }
            let (block, level) = (*block, *level);
            let this = TypeId { unit: function.unit, offset };
            let kind = match entry.tag() {
                gimli::DW_TAG_formal_parameter => VariableKind::Argument,
                gimli::DW_TAG_variable => VariableKind::Local,
                gimli::DW_TAG_lexical_block | gimli::DW_TAG_inlined_subroutine => {
                    let mut covers = false;
                    ranges(&unit, entry.attrs(), purse, |begin, end| covers |= (begin..end).contains(&at))?;
                    let inlined = entry.tag() == gimli::DW_TAG_inlined_subroutine;
                    if covers && inlined && levels.len() < MAX_INLINED {
                        levels.push(Level { entry: this, variables: Vec::new() });
                        inside.push(Inside { depth, block: 0, level: levels.len() - 1 });
                    } else if covers && !inlined {
                        inside.push(Inside { depth, block: block + 1, level });
                    }
                    continue;
                }
                _ => continue,
            };
            count += 1;
            if let Some(level) = levels.get_mut(level).filter(|_| count <= MAX_VARIABLES) {
                level.variables.push(Found { entry: this, kind, block });
            }
        }
        Ok(levels)
    }

    /// The types of the parameters of a function's type.
    pub(super) fn parameters(&mut self, id: TypeId, purse: &mut Purse<'_>) -> Result<Vec<TypeId>, Fault> {
        let Some(open) = self.units.get(id.unit) else { return Ok(Vec::new()) };
        let mut entries = open.unit.entries_raw(Some(UnitOffset(id.offset)))?;
        let mut entry = Entry::null();
        let mut found = Vec::new();
        if !entries.read_entry(&mut entry)? || !entry.has_children() {
            return Ok(found);
        }
        while !entries.is_empty() && entries.next_depth() > 0 && found.len() < 64 {
            let depth = entries.next_depth();
            let is_one = entries.read_entry(&mut entry)?;
            purse.work(1 + entry.attrs().len())?;
            if is_one && depth == 1 && entry.tag() == gimli::DW_TAG_formal_parameter {
                let ty = entry.attr_value(gimli::DW_AT_type);
                let ty = ty.map(|ty| self.units.resolve(id.unit, &ty, purse)).transpose()?.flatten();
                found.extend(ty);
            }
        }
        Ok(found)
    }
}
