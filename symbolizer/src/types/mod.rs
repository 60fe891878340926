//! Types and variables: what debug information (DWARF 4 and 5) says of the data of an image.
//!
//! Only units in which something is looked for are read, each once ([`outline`]). Nothing in the file is believed: work and
//! memory are bounded by its size, references may lead in circles, and each type is read by itself, so that one which contains
//! itself costs nothing.

mod call;
mod derived;
mod error;
mod global;
mod locate;
mod model;
mod names;
mod outline;
mod read;
mod scope;
mod units;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use uniprof_wire::address::LinkAddress;

use crate::debug::{Budget, Fault, Files, Purse};
use crate::image::Image;

pub use error::{TypesError, Unavailable};
pub use locate::{Machine, Place};
pub use model::{
    Base, Enumeration, Global, Kind, LocalVariable, Member, Scope, Struct, Type, TypeId, VariableKind,
    Variant, Variants,
};
pub use names::{base_name, simplified};

use outline::Outline;
use units::Units;

/// How deep types are followed for their size or name.
const MAX_DEPTH: u32 = 64;

/// Types and variables of one image.
pub struct Types {
    units: Units,
    budget: Arc<Budget>,
    bytes: usize,
    outlines: FxHashMap<u32, Result<Arc<Outline>, Fault>>,
    types: FxHashMap<TypeId, Result<Arc<Type>, Fault>>,
    names: FxHashMap<TypeId, Option<Arc<str>>>,
    derived: derived::Derived,
    vtables: Option<FxHashMap<u64, TypeId>>,
}

impl Types {
    /// Finds the units of an image's debug information.
    pub fn open(image: &Image) -> Result<Self, TypesError> {
        if !image.debug_info().dwarf {
            return Err(TypesError::NoDebugInfo);
        }
        let files = Files::open_all(image).map_err(TypesError::Unreadable)?;
        let bytes = files.size;
        let budget = Arc::new(Budget::new(bytes));
        Ok(Self {
            units: Units::new(files, &budget),
            budget,
            bytes,
            outlines: FxHashMap::default(),
            types: FxHashMap::default(),
            names: FxHashMap::default(),
            derived: derived::Derived::default(),
            vtables: None,
        })
    }

    /// Before a new question: how much work damaged debug information may cause is counted by question.
    pub fn begin(&mut self) {
        self.budget = Arc::new(Budget::new(self.bytes));
    }

    /// A type.
    pub fn get(&mut self, id: TypeId) -> Result<Arc<Type>, TypesError> {
        let budget = Arc::clone(&self.budget);
        Ok(self.read_type(id, &mut budget.purse())?)
    }

    fn read_type(&mut self, id: TypeId, purse: &mut Purse<'_>) -> Result<Arc<Type>, Fault> {
        if id.unit == TypeId::DERIVED {
            return self.derived.get(id).ok_or(Fault::Dwarf(gimli::Error::MissingUnitDie));
        }
        if let Some(known) = self.types.get(&id) {
            return known.clone();
        }
        purse.items(1)?;
        let read = self.read(id, purse).map(Arc::new);
        // A type that could not be read for want of budget may be with the next question.
        if !matches!(read, Err(Fault::TooMuch)) {
            self.types.insert(id, read.clone());
        }
        read
    }

    /// A type without its qualifiers and other names, and its id. `None` where that is nothing, as C's `void`.
    pub fn bare(&mut self, id: TypeId) -> Result<Option<(TypeId, Arc<Type>)>, TypesError> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let ty = self.get(id)?;
            match ty.kind {
                Kind::Alias(Some(target), _) => id = target,
                Kind::Alias(None, _) => return Ok(None),
                _ => return Ok(Some((id, ty))),
            }
        }
        Err(TypesError::Damaged("a type is another name of itself".into()))
    }

    /// How many bytes values of a type take.
    pub fn size(&mut self, id: TypeId) -> Option<u64> {
        let budget = Arc::clone(&self.budget);
        self.size_within(id, 0, &mut budget.purse())
    }

    fn size_within(&mut self, id: TypeId, depth: u32, purse: &mut Purse<'_>) -> Option<u64> {
        if depth > MAX_DEPTH {
            return None;
        }
        let ty = self.read_type(id, purse).ok()?;
        match (&ty.kind, ty.size) {
            (_, Some(size)) => Some(size),
            (Kind::Array(element, count), None) => {
                self.size_within(*element, depth + 1, purse)?.checked_mul((*count)?)
            }
            (Kind::Alias(Some(target), _), None) => self.size_within(*target, depth + 1, purse),
            (Kind::Enumeration(found), None) => self.size_within(found.underlying?, depth + 1, purse),
            (Kind::Base(Base::Nothing), None) => Some(0),
            _ => None,
        }
    }

    /// What a unit contains.
    fn outline(&mut self, unit: u32, purse: &mut Purse<'_>) -> Result<Arc<Outline>, Fault> {
        if let Some(known) = self.outlines.get(&unit) {
            return known.clone();
        }
        let files = self.units.files();
        let open = self.units.get(unit).ok_or(gimli::Error::MissingUnitDie)?;
        let outline = Outline::read(&open, &files, purse).map(Arc::new);
        if !matches!(outline, Err(Fault::TooMuch)) {
            self.outlines.insert(unit, outline.clone());
        }
        outline
    }

    /// The concrete type whose table of methods lies at an address.
    pub fn of_vtable(&mut self, at: LinkAddress) -> Option<TypeId> {
        let budget = Arc::clone(&self.budget);
        let purse = &mut budget.purse();
        if self.vtables.is_none() {
            self.vtables = Some(self.read_vtables(purse));
        }
        self.vtables.as_ref()?.get(&at.0).copied()
    }
}
