//! What can be indexed: arrays, slices, `Vec`, `VecDeque`, `String`, pointers.

use std::sync::Arc;

use uniprof_symbolizer::types::{Kind, TypeId, base_name};

use super::PrintError;
use super::inspect::Inspector;
use super::operand::Operand;

/// Longer ones are damaged: no guest has so much memory.
const MAX_BYTES: u64 = 1 << 46;

/// Elements in a row.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) element: TypeId,
    /// `None` of a pointer's.
    pub(super) len: Option<u64>,
    stride: u64,
    place: Where,
}

#[derive(Clone, Debug)]
enum Where {
    Memory(u64),
    Within(Operand),
    /// They begin at `head` of a buffer and go on at its start.
    Ring {
        base: u64,
        head: u64,
        capacity: u64,
    },
}

/// Types of Rust's libraries that are shown for what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    Text,
    Vector,
    Deque,
    /// One of shared owners.
    Shared,
    /// Holds but one value and adds nothing to see.
    Wrapper,
    BTreeMap,
    BTreeSet,
    HashMap,
    HashSet,
}

fn damaged(what: &str, why: &str) -> PrintError {
    PrintError::Type(format!("damaged {what}: {why}"))
}

impl Inspector<'_> {
    /// Which type of Rust's libraries it is.
    pub(super) fn library(&mut self, id: TypeId) -> Option<Library> {
        let name = self.types.name(id)?;
        let path = base_name(&name);
        let (first, last) = (path.split("::").next()?, path.rsplit("::").next()?);
        if !matches!(first, "core" | "alloc" | "std" | "hashbrown") || first == path {
            return None;
        }
        Some(match last {
            "String" => Library::Text,
            "Vec" => Library::Vector,
            "VecDeque" => Library::Deque,
            "Rc" | "Arc" => Library::Shared,
            "BTreeMap" => Library::BTreeMap,
            "BTreeSet" => Library::BTreeSet,
            "HashMap" => Library::HashMap,
            "HashSet" => Library::HashSet,
            "Cell" | "UnsafeCell" | "SyncUnsafeCell" | "ManuallyDrop" | "MaybeUninit" | "MaybeDangling"
            | "NonNull" | "Unique" | "NonZero" | "Pin" | "Wrapping" | "Saturating" | "Reverse" => {
                Library::Wrapper
            }
            _ if path.starts_with("core::sync::atomic::") || path.starts_with("core::num::niche_types::") => {
                Library::Wrapper
            }
            _ => return None,
        })
    }

    /// What a box, a shared pointer or a wrapper holds.
    pub(super) fn see_through(&mut self, value: &Operand) -> Option<Operand> {
        let (id, ty) = self.bare(value.ty).ok()?;
        match &ty.kind {
            Kind::Pointer(Some(target)) if is_box(ty.name.as_ref()) => {
                let address = self.bits(value).ok()? as u64;
                Some(Operand::at(*target, address))
            }
            Kind::Struct(found) => match self.library(id)? {
                Library::Shared => {
                    let (address, target) = self.pointer(value)?;
                    let shared = Operand::at(target?, address);
                    self.field(&shared, "value").or_else(|| self.field(&shared, "data"))
                }
                Library::Wrapper => self.only_member(value, found),
                _ => None,
            },
            _ => None,
        }
    }

    /// The elements of a value that has such.
    pub(super) fn sequence(&mut self, of: &Operand) -> Result<Sequence, PrintError> {
        let mut at = of.clone();
        for _ in 0..8 {
            let (id, ty) = self.bare(at.ty)?;
            match &ty.kind {
                Kind::Array(element, len) => {
                    let stride = self.size(*element)?;
                    let place = at.address().map_or_else(|| Where::Within(at.clone()), Where::Memory);
                    return Ok(Sequence { element: *element, len: *len, stride, place });
                }
                Kind::Struct(_) if self.is_slice(&at) => return self.slice(&at),
                Kind::Struct(_) => match self.library(id) {
                    Some(Library::Vector | Library::Text) => return self.vector(&at, id),
                    Some(Library::Deque) => return self.deque(&at),
                    _ => at = self.see_through(&at).ok_or_else(|| self.no_sequence(&at))?,
                },
                Kind::Pointer(Some(target)) => {
                    let address = self.bits(&at)? as u64;
                    let inner = Operand::at(*target, address);
                    if self.has_elements(*target) {
                        at = inner;
                        continue;
                    }
                    let stride = self.size(*target)?;
                    return Ok(Sequence {
                        element: *target,
                        len: None,
                        stride,
                        place: Where::Memory(address),
                    });
                }
                _ => return Err(self.no_sequence(&at)),
            }
        }
        Err(self.no_sequence(of))
    }

    fn has_elements(&mut self, id: TypeId) -> bool {
        let Ok((id, ty)) = self.bare(id) else { return false };
        match &ty.kind {
            Kind::Array(..) => true,
            Kind::Struct(found) => {
                let slice = found.members.iter().any(|member| member.name.as_deref() == Some("data_ptr"));
                slice || matches!(self.library(id), Some(Library::Vector | Library::Text | Library::Deque))
            }
            _ => false,
        }
    }

    fn no_sequence(&mut self, of: &Operand) -> PrintError {
        let name = self.types.name(of.ty);
        PrintError::Type(format!("{} can't be indexed", name.as_deref().unwrap_or("it")))
    }

    /// Whether it is a pointer to elements and their number, as compilers of Rust describe `&[T]` and `&str`.
    pub(super) fn is_slice(&mut self, value: &Operand) -> bool {
        let Ok((_, ty)) = self.bare(value.ty) else { return false };
        let Kind::Struct(found) = &ty.kind else { return false };
        let names: Vec<_> = found.members.iter().filter_map(|member| member.name.as_deref()).collect();
        matches!(names.as_slice(), ["data_ptr", "length"] | ["length", "data_ptr"])
    }

    fn slice(&mut self, of: &Operand) -> Result<Sequence, PrintError> {
        let data = self.field(of, "data_ptr").ok_or_else(|| self.no_sequence(of))?;
        let length = self.field(of, "length").ok_or_else(|| self.no_sequence(of))?;
        let len = self.bits(&length)? as u64;
        let base = self.bits(&data)? as u64;
        let (_, ty) = self.bare(data.ty)?;
        let Kind::Pointer(Some(element)) = ty.kind else { return Err(self.no_sequence(of)) };
        self.in_memory("slice", element, base, len)
    }

    fn vector(&mut self, of: &Operand, id: TypeId) -> Result<Sequence, PrintError> {
        if self.library(id) == Some(Library::Text) {
            let vector = self.field(of, "vec").ok_or_else(|| self.no_sequence(of))?;
            let (id, _) = self.bare(vector.ty)?;
            if self.library(id) != Some(Library::Vector) {
                return Err(self.no_sequence(of));
            }
            return self.vector(&vector, id);
        }
        let element = self.parameter(id, "T").ok_or_else(|| self.no_sequence(of))?;
        let length = self.field(of, "len").ok_or_else(|| self.no_sequence(of))?;
        let len = self.integer(&length)? as u64;
        let buffer = self.field(of, "buf").ok_or_else(|| self.no_sequence(of))?;
        let (base, _) = self.pointer(&buffer).ok_or_else(|| damaged("Vec", "its pointer can't be read"))?;
        let capacity = self.capacity(&buffer);
        if self.types.size(element) != Some(0) && capacity.is_some_and(|capacity| len > capacity) {
            let capacity = capacity.unwrap_or(0);
            return Err(damaged("Vec", &format!("its length {len} exceeds its capacity {capacity}")));
        }
        self.in_memory("Vec", element, base, len)
    }

    fn deque(&mut self, of: &Operand) -> Result<Sequence, PrintError> {
        let (id, _) = self.bare(of.ty)?;
        let element = self.parameter(id, "T").ok_or_else(|| self.no_sequence(of))?;
        let (head, len) = (self.number(of, &["head"]), self.number(of, &["len"]));
        let buffer = self.field(of, "buf");
        let parts = head.zip(len).zip(buffer).ok_or_else(|| damaged("VecDeque", "it can't be read"))?;
        let ((head, len), buffer) = parts;
        let (base, _) =
            self.pointer(&buffer).ok_or_else(|| damaged("VecDeque", "its pointer can't be read"))?;
        let capacity = self.capacity(&buffer).unwrap_or(0);
        let whole = self.in_memory("VecDeque", element, base, len)?;
        if whole.stride == 0 {
            return Ok(whole);
        }
        if len > capacity || head > capacity {
            let why = format!("its length {len} or head {head} exceeds its capacity {capacity}");
            return Err(damaged("VecDeque", &why));
        }
        Ok(Sequence { place: Where::Ring { base, head, capacity }, ..whole })
    }

    /// What a raw vector has room for.
    fn capacity(&mut self, buffer: &Operand) -> Option<u64> {
        let inner = self.field(buffer, "inner").unwrap_or_else(|| buffer.clone());
        let capacity = self.field(&inner, "cap")?;
        u64::try_from(self.integer(&capacity).ok()?).ok()
    }

    fn in_memory(
        &mut self,
        what: &str,
        element: TypeId,
        base: u64,
        len: u64,
    ) -> Result<Sequence, PrintError> {
        let stride = self.size(element)?;
        let bytes =
            stride.checked_mul(len).filter(|bytes| *bytes <= MAX_BYTES && base.checked_add(*bytes).is_some());
        let Some(bytes) = bytes else {
            return Err(damaged(what, &format!("{len} elements at {base:#x} are more than there can be")));
        };
        if bytes > 0 && !(self.is_readable(base) && self.is_readable(base + bytes - 1)) {
            let why = format!("its {len} elements at {base:#x} are not all in memory");
            return Err(damaged(what, &why));
        }
        Ok(Sequence { element, len: Some(len), stride, place: Where::Memory(base) })
    }

    pub(super) fn parameter(&mut self, id: TypeId, name: &str) -> Option<TypeId> {
        let ty = self.types.get(id).ok()?;
        let Kind::Struct(found) = &ty.kind else { return None };
        found.parameters.iter().find(|(own, _)| **own == *name).map(|(_, ty)| *ty)
    }

    pub(super) fn element(&mut self, sequence: &Sequence, index: u64) -> Result<Operand, PrintError> {
        let offset = index.wrapping_mul(sequence.stride);
        let missing = || PrintError::Type(format!("element {index} is not there"));
        match &sequence.place {
            Where::Memory(base) => Ok(Operand::at(sequence.element, base.wrapping_add(offset))),
            Where::Within(whole) => {
                whole.part(offset, sequence.element, Some(sequence.stride)).ok_or_else(missing)
            }
            Where::Ring { base, head, capacity } => {
                let slot = head.wrapping_add(index);
                let slot = if slot >= *capacity { slot.wrapping_sub(*capacity) } else { slot };
                let offset = slot.wrapping_mul(sequence.stride);
                Ok(Operand::at(sequence.element, base.wrapping_add(offset)))
            }
        }
    }
}

/// Whether a pointer's type is that of a box, which compilers describe as a plain pointer.
pub(super) fn is_box(name: Option<&Arc<str>>) -> bool {
    name.is_some_and(|name| base_name(name) == "alloc::boxed::Box")
}
