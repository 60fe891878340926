//! Stacks of bare addresses, summed as they are read: the fast path before any address has a name.
//!
//! An open-addressing table of (tag, place) pairs over one arena of stacks. The hash multiplies two words at a time
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

/// Which stack of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RawPlace(u32);

/// One distinct stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStack<'a> {
    /// Which it is.
    pub place: RawPlace,
    /// What it is counted under.
    pub key: RawKey,
    /// The addresses, in the order in which they were given.
    pub frames: &'a [u64],
    /// The sum of everything added for it.
    pub sum: RawAmount,
}

/// A slot holds the place of its stack in the arena plus one (0: empty) below, and the upper half of the hash above.
type Slot = u64;
const PLACE: u64 = 0xffff_ffff;

/// The words before the addresses of a stack in the arena: samples, weight, missed, thread and vCPU, mark and length.
/// Lying together, they need no table of their own.
const HEAD: usize = 5;

/// Sums samples by stack. Memory grows with the number of distinct stacks up to a limit, never with the number of
/// samples; what comes for new stacks after that is counted as refused.
#[derive(Debug, Clone)]
pub struct RawStacks {
    slots: Vec<Slot>,
    arena: Vec<u64>,
    stacks: usize,
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
            arena: Vec::new(),
            stacks: 0,
            seed: RandomState::new().hash_one(0x756e_6970_726f_6600_u64),
            limit: bytes,
            refused: RawAmount::default(),
        }
    }

    /// Has the address space for all of it at once, so that it grows without being copied: for tables that are known to get full.
    #[must_use]
    pub fn reserved(mut self) -> Self {
        self.arena.reserve_exact(self.limit / size_of::<u64>());
        self
    }

    /// Adds `sum` to the stack `frames` of `key`; `None` where it was refused.
    #[inline]
    pub fn add(&mut self, key: RawKey, frames: &[u64], sum: RawAmount) -> Option<RawPlace> {
        let words = key_words(key, frames.len());
        let hash = self.hash(words, frames);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return self.insert(at, hash, words, frames, sum);
            }
            if (slot ^ hash) & !PLACE == 0 {
                let stack = &mut self.arena[(slot & PLACE) as usize - 1..];
                if stack[HEAD - 2..HEAD] == words && stack[HEAD..].starts_with(frames) {
                    let mut total = read_sum(stack);
                    total.add(sum);
                    stack[..HEAD - 2].copy_from_slice(&sum_words(total));
                    return Some(RawPlace((slot & PLACE) as u32 - 1));
                }
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn insert(
        &mut self,
        at: usize,
        hash: u64,
        words: [u64; 2],
        frames: &[u64],
        sum: RawAmount,
    ) -> Option<RawPlace> {
        let more = (HEAD + frames.len()) * size_of::<u64>() + 2 * size_of::<Slot>();
        if self.used_bytes() + more > self.limit || self.arena.len() as u64 >= PLACE {
            self.refused.add(sum);
            return None;
        }
        let place = RawPlace(self.arena.len() as u32);
        self.slots[at] = (hash & !PLACE) | (self.arena.len() as u64 + 1);
        self.arena.extend_from_slice(&sum_words(sum));
        self.arena.extend_from_slice(&words);
        self.arena.extend_from_slice(frames);
        self.stacks += 1;
        if self.stacks * 2 > self.slots.len() {
            self.grow();
        }
        Some(place)
    }

    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        self.fill(&mut slots);
        self.slots = slots;
    }

    /// Enters all stacks into slots of which none is taken.
    fn fill(&self, slots: &mut [Slot]) {
        let mask = slots.len() - 1;
        for stack in self.iter() {
            let hash = self.hash(key_words(stack.key, stack.frames.len()), stack.frames);
            let mut at = hash as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = (hash & !PLACE) | (u64::from(stack.place.0) + 1);
        }
    }

    /// Forgets the stacks that `keep` does not want, and takes no memory for that. The others move together: `keep` gets each stack in the
    /// order in which it was first seen, with the place that it has from now on if it stays.
    pub fn retain(&mut self, mut keep: impl FnMut(RawStack<'_>, RawPlace) -> bool) {
        let (mut read, mut write) = (0, 0);
        self.stacks = 0;
        while let Some(stack) = self.get(RawPlace(read as u32)) {
            let length = HEAD + stack.frames.len();
            if keep(stack, RawPlace(write as u32)) {
                self.arena.copy_within(read..read + length, write);
                write += length;
                self.stacks += 1;
            }
            read += length;
        }
        self.arena.truncate(write);
        let mut slots = std::mem::take(&mut self.slots);
        slots.fill(0);
        self.fill(&mut slots);
        self.slots = slots;
    }

    #[inline]
    fn hash(&self, words: [u64; 2], frames: &[u64]) -> u64 {
        let mut hash = fold(words[0] ^ self.seed, words[1] ^ SECRET[0]);
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
        size_of_val(&self.arena[..]) + size_of_val(&self.slots[..])
    }

    /// The number of distinct stacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stacks
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks == 0
    }

    /// What was added for new stacks after the memory limit was reached.
    #[must_use]
    pub fn refused(&self) -> RawAmount {
        self.refused
    }

    /// A stack of this table. `None` where the place is that of another table.
    #[must_use]
    pub fn get(&self, place: RawPlace) -> Option<RawStack<'_>> {
        let (head, after) = self.arena.get(place.0 as usize..)?.split_first_chunk::<HEAD>()?;
        let frames = after.get(..head[4] as u32 as usize)?;
        Some(read_stack(place, head, frames))
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.used_bytes()
    }

    /// The stacks, in the order in which each was first seen.
    pub fn iter(&self) -> impl Iterator<Item = RawStack<'_>> {
        let mut rest = &self.arena[..];
        let mut next_place = 0;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_first_chunk::<HEAD>()?;
            let (frames, next) = after.split_at(head[4] as u32 as usize);
            rest = next;
            let place = RawPlace(next_place);
            next_place += (HEAD + frames.len()) as u32;
            Some(read_stack(place, head, frames))
        })
    }
}

fn read_stack<'a>(place: RawPlace, head: &[u64; HEAD], frames: &'a [u64]) -> RawStack<'a> {
    let owner = Owner { thread: (head[3] >> 32) as u32, vcpu: head[3] as u32 };
    let key = RawKey { owner, mark: (head[4] >> 32) as u32 };
    RawStack { place, key, frames, sum: read_sum(head) }
}

fn key_words(key: RawKey, len: usize) -> [u64; 2] {
    let owner = u64::from(key.owner.thread) << 32 | u64::from(key.owner.vcpu);
    [owner, u64::from(key.mark) << 32 | u64::from(len as u32)]
}

fn sum_words(sum: RawAmount) -> [u64; HEAD - 2] {
    [sum.amount.samples, sum.amount.weight, sum.missed]
}

fn read_sum(words: &[u64]) -> RawAmount {
    RawAmount { amount: Amount { samples: words[0], weight: words[1] }, missed: words[2] }
}

/// Odd constants with balanced bits, from wyhash.
const SECRET: [u64; 3] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
