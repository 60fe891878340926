//! Blocks of the heap: those that the sampler picked (see [`HeapEntry`](crate::tables::HeapEntry)).

use super::{BadRecord, Callers, high, pair};
use crate::address::GuestVirtual;

/// A sampled block was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationRecord<'a> {
    /// When.
    pub tsc: u64,
    /// By which thread.
    pub thread: u32,
    /// The block.
    pub address: GuestVirtual,
    /// How long it is.
    pub bytes: u64,
    /// For how many allocated bytes it stands.
    pub weight: u64,
    /// By which call.
    pub callers: Callers<'a>,
}

/// A sampled block was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeRecord {
    /// When.
    pub tsc: u64,
    /// By which thread.
    pub thread: u32,
    /// The block.
    pub address: GuestVirtual,
    /// How long it was.
    pub bytes: u64,
    /// For how many bytes it stood.
    pub weight: u64,
}

impl<'a> AllocationRecord<'a> {
    pub(super) const fn head(&self) -> [u64; 4] {
        [self.callers.shape(self.thread, 0), self.address.0, self.bytes, self.weight]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &'a [u64]) -> Result<Self, BadRecord> {
        let (small, &[address, bytes, weight], callers) = Callers::split(shape, rest)?;
        if small != 0 {
            return Err(BadRecord::Payload);
        }
        Ok(Self { tsc, thread: shape as u32, address: GuestVirtual(address), bytes, weight, callers })
    }
}

impl FreeRecord {
    pub(super) const fn head(&self) -> [u64; 4] {
        [pair(self.thread, 0), self.address.0, self.bytes, self.weight]
    }

    pub(super) fn decode(tsc: u64, shape: u64, rest: &[u64]) -> Result<Self, BadRecord> {
        let &[address, bytes, weight] = rest else { return Err(BadRecord::Length) };
        if high(shape) != 0 {
            return Err(BadRecord::Payload);
        }
        Ok(Self { tsc, thread: shape as u32, address: GuestVirtual(address), bytes, weight })
    }
}
