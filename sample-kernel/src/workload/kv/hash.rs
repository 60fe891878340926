//! FNV-1a with a final mix, over anything that gives bytes.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A hash that spreads over all its bits.
#[inline(never)]
pub(in crate::workload) fn hash(bytes: &[u8]) -> u64 {
    finish(bytes.iter().fold(OFFSET, |state, &byte| absorb(state, byte)))
}

#[inline(always)]
fn absorb(state: u64, byte: u8) -> u64 {
    (state ^ u64::from(byte)).wrapping_mul(PRIME)
}

#[inline(always)]
fn finish(state: u64) -> u64 {
    let state = (state ^ (state >> 32)).wrapping_mul(0x9fb2_1c65_1e98_df25);
    state ^ (state >> 29)
}
