//! The rules of the addresses that were met last.

use crate::cfi::Rule;

#[derive(Clone, Copy)]
struct Slot {
    address: u64,
    rule: Rule,
}

const BITS: u32 = 12;

/// A cache in which an address can be in one slot only: 4096 of 16 bytes, about what a second level of
/// processor caches keeps at hand.
pub(crate) struct RuleCache {
    slots: Box<[Slot; 1 << BITS]>,
}

impl Default for RuleCache {
    fn default() -> Self {
        Self::new()
    }
}

impl RuleCache {
    pub(crate) fn new() -> Self {
        // No instruction starts at the last byte of the address space, so this is never found by mistake.
        Self { slots: Box::new([Slot { address: u64::MAX, rule: Rule::Unknown }; 1 << BITS]) }
    }

    #[inline]
    fn slot(address: u64) -> usize {
        // The multiplier of Fibonacci hashing: 2^64 divided by the golden ratio.
        (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize
    }

    #[inline]
    pub(crate) fn get(&self, address: u64) -> Option<Rule> {
        let slot = &self.slots[Self::slot(address)];
        (slot.address == address).then_some(slot.rule)
    }

    #[inline]
    pub(crate) fn put(&mut self, address: u64, rule: Rule) {
        self.slots[Self::slot(address)] = Slot { address, rule };
    }
}
