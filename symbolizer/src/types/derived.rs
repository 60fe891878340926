//! Types that no debug information has: pointers to its types, arrays of them, and the numbers of every language.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Types;
use super::model::{Base, Kind, Type, TypeId};

/// More than any sequence of questions makes.
const MAX_DERIVED: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Derived {
    types: Vec<Arc<Type>>,
    pointers: FxHashMap<TypeId, TypeId>,
    arrays: FxHashMap<(TypeId, Option<u64>), TypeId>,
    numbers: FxHashMap<&'static str, TypeId>,
}

impl Derived {
    pub(super) fn get(&self, id: TypeId) -> Option<Arc<Type>> {
        self.types.get(id.offset).cloned()
    }

    fn add(&mut self, ty: Type) -> TypeId {
        // The last one stands for all that are too many; they are as wrong as whoever asks for so many.
        if self.types.len() < MAX_DERIVED {
            self.types.push(Arc::new(ty));
        }
        TypeId { unit: TypeId::DERIVED, offset: self.types.len() - 1 }
    }
}

/// Names of numbers, how they are meant, and their sizes.
const NUMBERS: [(&str, Base, u64); 36] = [
    ("u8", Base::Unsigned, 1),
    ("u16", Base::Unsigned, 2),
    ("u32", Base::Unsigned, 4),
    ("u64", Base::Unsigned, 8),
    ("u128", Base::Unsigned, 16),
    ("usize", Base::Unsigned, 8),
    ("i8", Base::Signed, 1),
    ("i16", Base::Signed, 2),
    ("i32", Base::Signed, 4),
    ("i64", Base::Signed, 8),
    ("i128", Base::Signed, 16),
    ("isize", Base::Signed, 8),
    ("f32", Base::Float, 4),
    ("f64", Base::Float, 8),
    ("bool", Base::Bool, 1),
    ("()", Base::Nothing, 0),
    ("char", Base::Byte, 1),
    ("signed char", Base::Byte, 1),
    ("unsigned char", Base::Unsigned, 1),
    ("short", Base::Signed, 2),
    ("unsigned short", Base::Unsigned, 2),
    ("int", Base::Signed, 4),
    ("unsigned", Base::Unsigned, 4),
    ("unsigned int", Base::Unsigned, 4),
    ("long", Base::Signed, 8),
    ("unsigned long", Base::Unsigned, 8),
    ("float", Base::Float, 4),
    ("double", Base::Float, 8),
    ("uint8_t", Base::Unsigned, 1),
    ("uint16_t", Base::Unsigned, 2),
    ("uint32_t", Base::Unsigned, 4),
    ("uint64_t", Base::Unsigned, 8),
    ("int32_t", Base::Signed, 4),
    ("int64_t", Base::Signed, 8),
    ("size_t", Base::Unsigned, 8),
    ("uintptr_t", Base::Unsigned, 8),
];

impl Types {
    /// A pointer to a type; `None` to nothing known.
    pub fn pointer_to(&mut self, target: Option<TypeId>) -> TypeId {
        let key = target.unwrap_or(TypeId { unit: TypeId::DERIVED, offset: usize::MAX });
        if let Some(known) = self.derived.pointers.get(&key) {
            return *known;
        }
        let id = self.derive(Kind::Pointer(target), Some(8));
        self.derived.pointers.insert(key, id);
        id
    }

    /// Elements of a type side by side.
    pub fn array_of(&mut self, element: TypeId, count: Option<u64>) -> TypeId {
        if let Some(known) = self.derived.arrays.get(&(element, count)) {
            return *known;
        }
        let id = self.derive(Kind::Array(element, count), None);
        self.derived.arrays.insert((element, count), id);
        id
    }

    /// A number's type by the name that Rust or C has for it.
    pub fn number(&mut self, name: &str) -> Option<TypeId> {
        if let Some(known) = self.derived.numbers.get(name) {
            return Some(*known);
        }
        let (name, base, size) = NUMBERS.into_iter().find(|(known, ..)| *known == name)?;
        let id = self.derived.add(Type { name: Some(name.into()), size: Some(size), kind: Kind::Base(base) });
        self.derived.numbers.insert(name, id);
        Some(id)
    }

    /// A type of which nothing is known.
    pub fn opaque(&mut self) -> TypeId {
        self.derived.add(Type { name: None, size: None, kind: Kind::Opaque })
    }

    pub(super) fn derive(&mut self, kind: Kind, size: Option<u64>) -> TypeId {
        self.derived.add(Type { name: None, size, kind })
    }
}
