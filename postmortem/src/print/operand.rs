//! A value in the making: its type, and where it is.

use uniprof_symbolizer::types::{Place, TypeId};

/// A value of a type, somewhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) ty: TypeId,
    pub(super) place: Place,
    /// Of a bit field: its first bit and how many.
    pub(super) bits: Option<(u64, u64)>,
}

impl Operand {
    pub(super) fn at(ty: TypeId, address: u64) -> Self {
        Self { ty, place: Place::Memory(address), bits: None }
    }

    pub(super) fn of_bytes(ty: TypeId, bytes: Vec<u8>) -> Self {
        Self { ty, place: Place::Bytes { bytes, missing: Vec::new() }, bits: None }
    }

    pub(super) fn address(&self) -> Option<u64> {
        match self.place {
            Place::Memory(address) => Some(address),
            Place::Bytes { .. } => None,
        }
    }

    /// The same seen as another type.
    pub(super) fn seen_as(&self, ty: TypeId) -> Self {
        Self { ty, ..self.clone() }
    }

    /// A part of it; `size` is that of the part, as far as it is known.
    pub(super) fn part(&self, offset: u64, ty: TypeId, size: Option<u64>) -> Option<Self> {
        let place = match &self.place {
            Place::Memory(address) => Place::Memory(address.wrapping_add(offset)),
            Place::Bytes { bytes, missing } => {
                let start = usize::try_from(offset).ok().filter(|start| *start <= bytes.len())?;
                let size = usize::try_from(size?).ok()?;
                let end = start.checked_add(size).filter(|end| *end <= bytes.len())?;
                let inside = missing.iter().filter(|(range, _)| range.start < end && range.end > start);
                let moved = inside.map(|(range, why)| {
                    (range.start.max(start) - start..range.end.min(end) - start, why.clone())
                });
                Place::Bytes { bytes: bytes.get(start..end)?.to_vec(), missing: moved.collect() }
            }
        };
        Some(Self { ty, place, bits: None })
    }
}
