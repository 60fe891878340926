//! Variables that are not a function's, and types, by their names.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::debug::{Fault, Purse};

use super::model::{Global, Kind, TypeId};
use super::names::{base_name, ends_with, last_part, means};
use super::outline::{self, TOP, What};
use super::{MAX_DEPTH, Types, TypesError};

/// Candidates that are looked at for one name.
const MAX_CANDIDATES: usize = 10_000;
/// Names of types that are kept.
const MAX_NAMES: usize = 10_000;

impl Types {
    /// The variables that a name means: those of exactly this path, or else those whose path ends with it.
    pub fn globals(&mut self, name: &str) -> Result<Vec<Global>, TypesError> {
        let budget = Arc::clone(&self.budget);
        let purse = &mut budget.purse();
        let wanted = outline::hash(last_part(name).as_bytes());
        let mut found = Vec::new();
        for entry in self.items(wanted, What::Variable, purse)? {
            let Some(path) = self.path(entry, purse)? else { continue };
            if ends_with(&path, name) {
                let ty = self.units.reference(entry, gimli::DW_AT_type, purse)?;
                found.push(Global { name: path.into(), ty, entry });
            }
        }
        if found.iter().any(|global| &*global.name == name) {
            found.retain(|global| &*global.name == name);
        }
        Ok(found)
    }

    /// The types that a name means; generic arguments may be left out where that leaves one. The first of several with the
    /// same full name stands for all.
    pub fn named(&mut self, name: &str) -> Result<Vec<(Arc<str>, TypeId)>, TypesError> {
        let budget = Arc::clone(&self.budget);
        let purse = &mut budget.purse();
        let wanted = outline::hash(last_part(name).as_bytes());
        let (mut found, mut loose) = (Vec::<(Arc<str>, TypeId)>::new(), Vec::new());
        for entry in self.items(wanted, What::Type, purse)? {
            let Some(path) = self.path(entry, purse)? else { continue };
            let list = if means(&path, name) {
                &mut found
            } else if !name.contains('<') && ends_with(base_name(&path), name) {
                &mut loose
            } else {
                continue;
            };
            if !list.iter().any(|(known, _)| **known == *path) {
                list.push((path.into(), entry));
            }
        }
        let exact = found.iter().find(|(path, _)| **path == *name).cloned();
        Ok(match exact {
            Some(exact) => vec![exact],
            None if found.is_empty() => loose,
            None => found,
        })
    }

    /// What a declaration declares: a type of the same full name that says more.
    pub fn definition(&mut self, declaration: TypeId) -> Result<Option<TypeId>, TypesError> {
        let Some(name) = self.name(declaration) else { return Ok(None) };
        let found = self.named(&name)?;
        Ok(found.into_iter().find(|(path, _)| **path == *name).map(|(_, id)| id))
    }

    /// The entries of a kind whose name has a hash, of all units.
    fn items(&mut self, wanted: u32, what: What, purse: &mut Purse<'_>) -> Result<Vec<TypeId>, Fault> {
        let mut found = Vec::new();
        for number in 0..self.units.count() {
            // One unit that is damaged does not hide the others.
            let unit = match self.units.main(number, purse) {
                Err(Fault::TooMuch) => return Err(Fault::TooMuch),
                Err(_) => continue,
                Ok(unit) => unit,
            };
            let outline = match self.outline(unit, purse) {
                Err(Fault::TooMuch) => return Err(Fault::TooMuch),
                Err(_) => continue,
                Ok(outline) => outline,
            };
            purse.work(outline.items.len() / 8)?;
            let same = outline.items.iter().filter(|item| {
                item.what == what && (item.hash == wanted || item.hash == 0 && what == What::Variable)
            });
            found.extend(same.map(|item| TypeId { unit, offset: item.offset }));
            if found.len() > MAX_CANDIDATES {
                return Err(Fault::TooMuch);
            }
        }
        Ok(found)
    }

    /// The name of an entry with those of what it lies in.
    fn path(&mut self, entry: TypeId, purse: &mut Purse<'_>) -> Result<Option<String>, Fault> {
        let Some(own) = self.units.text(entry, gimli::DW_AT_name, purse)? else { return Ok(None) };
        let outline = self.outline(entry.unit, purse)?;
        let mut scope = outline.scope_of(entry.offset).unwrap_or(TOP);
        let mut parts = vec![own];
        for _ in 0..MAX_DEPTH {
            let Some(found) = outline.scopes.get(scope as usize) else { break };
            let at = TypeId { unit: entry.unit, offset: found.offset };
            parts.extend(self.units.text(at, gimli::DW_AT_name, purse)?);
            scope = found.parent;
        }
        parts.reverse();
        Ok(Some(parts.join("::")))
    }

    /// A type's full name, as gdb has it: with its module, `*const T` as the language writes it.
    pub fn name(&mut self, id: TypeId) -> Option<Arc<str>> {
        if let Some(known) = self.names.get(&id) {
            return known.clone();
        }
        let budget = Arc::clone(&self.budget);
        let mut name = String::new();
        self.write_name(id, 0, &mut name, &mut budget.purse());
        let name = (!name.is_empty()).then(|| Arc::from(name));
        if self.names.len() < MAX_NAMES {
            self.names.insert(id, name.clone());
        }
        name
    }

    fn write_name(&mut self, id: TypeId, depth: u32, out: &mut String, purse: &mut Purse<'_>) {
        /// Longer names say no more.
        const MAX_NAME: usize = 4096;
        let Ok(ty) = self.read_type(id, purse) else { return };
        if depth > MAX_DEPTH || out.len() > MAX_NAME {
            return out.push('…');
        }
        let mut inner = |types: &mut Self, id: Option<TypeId>, out: &mut String| match id {
            Some(id) => types.write_name(id, depth + 1, out, purse),
            None => out.push_str("void"),
        };
        match (&ty.kind, &ty.name) {
            (Kind::Base(_) | Kind::Pointer(_), Some(name)) => out.push_str(name),
            (_, Some(name)) if id.unit == TypeId::DERIVED => out.push_str(name),
            (_, Some(name)) => match self.path(id, purse) {
                Ok(Some(path)) => out.push_str(&path),
                _ => out.push_str(name),
            },
            (Kind::Pointer(target), None) => {
                inner(self, *target, out);
                // C writes the star of a pointer to a function in its middle.
                match out.find(" (") {
                    Some(at) if out.ends_with(')') => out.insert_str(at + 1, "(*)"),
                    _ => out.push_str(if out.ends_with('*') { "*" } else { " *" }),
                }
            }
            (Kind::Array(element, count), None) => {
                let rust = self.is_rust(*element);
                out.push_str(if rust { "[" } else { "" });
                inner(self, Some(*element), out);
                let count = count.map(|count| count.to_string()).unwrap_or_default();
                out.push_str(&if rust { format!("; {count}]") } else { format!(" [{count}]") });
            }
            (Kind::Alias(target, qualifier), None) => {
                out.push_str(qualifier);
                out.push(' ');
                inner(self, *target, out);
            }
            (Kind::Function, None) => self.write_function(id, depth, out, purse),
            (Kind::Struct(found), None) => {
                out.push_str(if found.union { "union {…}" } else { "struct {…}" })
            }
            (Kind::Enumeration(_), None) => out.push_str("enum {…}"),
            (Kind::Base(_) | Kind::Opaque, None) => out.push('?'),
        }
    }

    fn write_function(&mut self, id: TypeId, depth: u32, out: &mut String, purse: &mut Purse<'_>) {
        let result = self.units.reference(id, gimli::DW_AT_type, purse).ok().flatten();
        match result {
            Some(result) => self.write_name(result, depth + 1, out, purse),
            None => out.push_str("void"),
        }
        out.push_str(" (");
        for (number, parameter) in self.parameters(id, purse).unwrap_or_default().into_iter().enumerate() {
            out.push_str(if number == 0 { "" } else { ", " });
            self.write_name(parameter, depth + 1, out, purse);
        }
        out.push(')');
    }

    /// Whether a type is one of a program in Rust.
    pub fn is_rust(&mut self, id: TypeId) -> bool {
        let budget = Arc::clone(&self.budget);
        self.is_rust_within(id, 0, &mut budget.purse())
    }

    fn is_rust_within(&mut self, id: TypeId, depth: u32, purse: &mut Purse<'_>) -> bool {
        if id.unit == TypeId::DERIVED {
            let Some(ty) = self.derived.get(id) else { return false };
            let inner = match ty.kind {
                Kind::Pointer(Some(inner)) | Kind::Array(inner, _) | Kind::Alias(Some(inner), _) => inner,
                _ => return false,
            };
            return depth < MAX_DEPTH && self.is_rust_within(inner, depth + 1, purse);
        }
        let Some(open) = self.units.get(id.unit) else { return false };
        let root = TypeId { unit: id.unit, offset: open.unit.header.root_offset().0 };
        let language = self.units.attribute(root, &[gimli::DW_AT_language], purse);
        matches!(language, Ok(Some((_, gimli::AttributeValue::Language(gimli::DW_LANG_Rust)))))
    }

    /// The addresses of tables of methods, and the types that they are of.
    pub(super) fn read_vtables(&mut self, purse: &mut Purse<'_>) -> FxHashMap<u64, TypeId> {
        let mut found = FxHashMap::default();
        for number in 0..self.units.count() {
            let Ok(unit) = self.units.main(number, purse) else { continue };
            let Ok(outline) = self.outline(unit, purse) else { continue };
            for item in outline.items.iter().filter(|item| item.what == What::Vtable) {
                let entry = TypeId { unit, offset: item.offset };
                let table = self.units.reference(entry, gimli::DW_AT_type, purse).ok().flatten();
                let Some(table) = table else { continue };
                let of = self.units.reference(table, gimli::DW_AT_containing_type, purse).ok().flatten();
                if let (Some(of), Some(at)) = (of, self.fixed_address(entry, purse)) {
                    found.insert(at, of);
                }
            }
        }
        found
    }
}
