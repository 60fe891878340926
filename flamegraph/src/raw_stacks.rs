//! Stacks of bare addresses, summed as they are read: the fast path before any address has a name.
//!
//! An open-addressing table of (tag, index) pairs over one arena of addresses. The hash multiplies two words at a time
//! into 128 bits and folds (the construction of wyhash, <https://github.com/wangyi-fudan/wyhash>), seeded per table
//! because the guest chooses the addresses and could otherwise make them collide.

use std::hash::{BuildHasher, RandomState};

use crate::profile::{Amount, Owner};

/// What a stack is counted under, besides its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawKey {
    /// The thread and vCPU.
    pub owner: Owner,
    /// The caller's own mark, for example how many frames were repaired; stacks with different marks are different.
    pub mark: u32,
}

/// What was sampled with one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawAmount {
    /// Samples and their weight.
    pub amount: Amount,
    /// Ticks that were missed before these samples.
    pub missed: u64,
}

impl RawAmount {
    fn add(&mut self, other: Self) {
        self.amount += other.amount;
        self.missed = self.missed.saturating_add(other.missed);
    }
}

/// One distinct stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStack<'a> {
    /// What it is counted under.
    pub key: RawKey,
    /// The addresses, in the order in which they were given.
    pub frames: &'a [u64],
    /// The sum of everything added for it.
    pub sum: RawAmount,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u64,
    len: u32,
    key: RawKey,
    sum: RawAmount,
}

/// A slot holds the index of its entry plus one (0: empty) below, and the upper half of the entry's hash above.
type Slot = u64;
const INDEX: u64 = 0xffff_ffff;

/// Sums samples by stack. Memory grows with the number of distinct stacks up to a limit, never with the number of
/// samples; what comes for new stacks after that is counted as refused.
#[derive(Debug)]
pub struct RawStacks {
    slots: Vec<Slot>,
    entries: Vec<Entry>,
    arena: Vec<u64>,
    seed: u64,
    limit: usize,
    refused: RawAmount,
}

impl Default for RawStacks {
    fn default() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }
}

impl RawStacks {
    /// The memory that [`RawStacks::default`] takes at most, in bytes: about 1.4 million stacks of 16 frames.
    pub const DEFAULT_LIMIT: usize = 256 << 20;

    /// An empty table that takes at most about `bytes` of memory.
    #[must_use]
    pub fn with_limit(bytes: usize) -> Self {
        Self {
            slots: vec![0; 1024],
            entries: Vec::new(),
            arena: Vec::new(),
            seed: RandomState::new().hash_one(0x756e_6970_726f_6600_u64),
            limit: bytes,
            refused: RawAmount::default(),
        }
    }

    /// Adds `sum` to the stack `frames` of `key`.
    #[inline]
    pub fn add(&mut self, key: RawKey, frames: &[u64], sum: RawAmount) {
        let hash = self.hash(key, frames);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return self.insert(at, hash, key, frames, sum);
            }
            if (slot ^ hash) & !INDEX == 0 {
                let entry = &mut self.entries[(slot & INDEX) as usize - 1];
                let start = entry.start as usize;
                if entry.key == key && self.arena[start..start + entry.len as usize] == *frames {
                    return entry.sum.add(sum);
                }
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, at: usize, hash: u64, key: RawKey, frames: &[u64], sum: RawAmount) {
        let more = size_of_val(frames) + size_of::<Entry>() + 2 * size_of::<Slot>();
        if self.used_bytes() + more > self.limit || self.entries.len() as u64 >= INDEX - 1 {
            return self.refused.add(sum);
        }
        let entry = Entry { start: self.arena.len() as u64, len: frames.len() as u32, key, sum };
        self.arena.extend_from_slice(frames);
        self.entries.push(entry);
        self.slots[at] = (hash & !INDEX) | self.entries.len() as u64;
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        let mask = slots.len() - 1;
        for (index, entry) in self.entries.iter().enumerate() {
            let start = entry.start as usize;
            let hash = self.hash(entry.key, &self.arena[start..start + entry.len as usize]);
            let mut at = hash as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = (hash & !INDEX) | (index as u64 + 1);
        }
        self.slots = slots;
    }

    #[inline]
    fn hash(&self, key: RawKey, frames: &[u64]) -> u64 {
        let owner = u64::from(key.owner.thread) << 32 | u64::from(key.owner.vcpu);
        let mut hash = fold(owner ^ self.seed, u64::from(key.mark) << 32 ^ frames.len() as u64 ^ SECRET[0]);
        let mut pairs = frames.chunks_exact(2);
        for pair in &mut pairs {
            hash = fold(pair[0] ^ SECRET[1] ^ self.seed, pair[1] ^ hash);
        }
        if let [last] = pairs.remainder() {
            hash = fold(last ^ SECRET[2] ^ self.seed, hash);
        }
        fold(hash ^ SECRET[0], SECRET[1])
    }

    fn used_bytes(&self) -> usize {
        size_of_val(&self.arena[..]) + size_of_val(&self.entries[..]) + size_of_val(&self.slots[..])
    }

    /// The number of distinct stacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was added for new stacks after the memory limit was reached.
    #[must_use]
    pub fn refused(&self) -> RawAmount {
        self.refused
    }

    /// The stacks, in the order in which each was first seen.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RawStack<'_>> {
        self.entries.iter().map(|entry| RawStack {
            key: entry.key,
            frames: &self.arena[entry.start as usize..entry.start as usize + entry.len as usize],
            sum: entry.sum,
        })
    }
}

/// Odd constants with balanced bits, from wyhash.
const SECRET: [u64; 3] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
