//! The heap by size of blocks.

use std::collections::BTreeMap;

use serde::Serialize;
use uniprof_wire::tables::HeapEntry;

/// Blocks of about the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeClass {
    /// The smallest size, a power of two; 0 for blocks without any bytes.
    pub from_bytes: u64,
    /// The largest.
    pub to_bytes: u64,
    /// Sampled blocks.
    pub sampled_blocks: u64,
    /// The blocks that they stand for.
    pub estimated_blocks: u64,
    /// The bytes that they stand for.
    pub estimated_bytes: u64,
}

/// For how many blocks one stands that stands for `weight` bytes, and has `bytes` itself.
#[must_use]
pub fn stands_for(weight: u64, bytes: u64) -> u64 {
    weight.checked_div(bytes).unwrap_or(1)
}

/// By powers of two, the smallest first; those without blocks are left out.
pub(super) fn of(entries: &[HeapEntry]) -> Vec<SizeClass> {
    let mut classes: BTreeMap<u64, SizeClass> = BTreeMap::new();
    for entry in entries {
        let from = entry.bytes.checked_ilog2().map_or(0, |log| 1_u64 << log);
        let to = from.saturating_mul(2).saturating_sub(1);
        let class = classes.entry(from).or_insert(SizeClass {
            from_bytes: from,
            to_bytes: to,
            sampled_blocks: 0,
            estimated_blocks: 0,
            estimated_bytes: 0,
        });
        class.sampled_blocks += 1;
        class.estimated_bytes = class.estimated_bytes.saturating_add(entry.weight);
        let blocks = stands_for(entry.weight, entry.bytes);
        class.estimated_blocks = class.estimated_blocks.saturating_add(blocks);
    }
    classes.into_values().collect()
}
