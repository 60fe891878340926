//! How many independent samples a profile is worth, for each thing that is counted in it.
//!
//! Samples that follow one another are not independent: a program stays in a phase, a request, a loop. The profile is cut
//! into blocks along time. If samples were independent, the share of a function in a block would vary from block to block
//! as the binomial distribution says; it varies more, and by that factor (the design effect of survey statistics) its
//! samples count less: Korn and Graubard, Survey Methodology 24 (1998). Blocks of several lengths are tried, and the
//! largest factor counts, because short blocks do not see long phases and of long ones there are few.

use crate::profile::{Profile, TimedSample};

/// Into how many blocks time is cut, the finest first.
pub(super) const BLOCKS: [usize; 3] = [64, 32, 16];

/// A block with fewer samples than this says nothing.
const LEAST_PER_BLOCK: usize = 4;

/// The degrees of freedom of a variance found with [`BLOCKS`].
pub(super) const FREEDOM: u32 = 31;

/// What the blocks are equal in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Equal {
    /// In samples: shares of what was sampled.
    Samples,
    /// In time: shares of time, sampled or idle.
    Time,
}

/// Which things each stack counts for. Things are numbered from 0.
pub(super) trait Counted {
    /// The number of things.
    fn things(&self) -> usize;
    /// The things that a stack counts for, by its place in the profile's own numbering.
    fn of(&self, stack: u32) -> &[u32];
}

/// What the samples of a profile are shares of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) equal: Equal,
    /// Whether samples count by their weight, or each as one.
    pub(super) weighted: bool,
    /// What a share of 1 would be, in samples or nanoseconds.
    pub(super) value: f64,
    /// The number of samples that would make a share of 1.
    pub(super) samples: f64,
}

/// By what factor samples vary more than independent ones; at least 1.
pub(super) struct Effects {
    pub(super) things: Vec<f64>,
    /// The mean over all things, those counting most of which most is known (as in Rao and Scott, J. Am. Stat. Assoc. 76,
    /// 1981): of a rare thing, alone, next to nothing is known.
    pub(super) mean: f64,
}

/// The design effects of a profile; `None` where it has too few samples with times.
pub(super) fn design_effects(profile: &Profile, whole: Whole, counted: &impl Counted) -> Option<Effects> {
    let timeline = profile.timeline();
    let mut effects = Effects { things: vec![1.0; counted.things()], mean: 1.0 };
    let mut has_blocks = false;
    for blocks in BLOCKS.into_iter().filter(|blocks| timeline.len() >= blocks * LEAST_PER_BLOCK) {
        has_blocks = true;
        let mut sums = Sums::new(profile.nodes.len(), counted.things());
        for block in cut(timeline, blocks, whole.equal) {
            sums.add(block, whole, counted);
        }
        let (mut variance, mut independent) = (0.0, 0.0);
        for (thing, most) in effects.things.iter_mut().enumerate() {
            let share = (sums.things[thing][0] / whole.value).min(1.0);
            let effect = sums.effect(thing, whole);
            *most = most.max(effect);
            variance += effect * share * (1.0 - share);
            independent += share * (1.0 - share);
        }
        if independent > 0.0 {
            effects.mean = effects.mean.max(variance / independent);
        }
    }
    has_blocks.then_some(effects)
}

fn cut(timeline: &[TimedSample], blocks: usize, equal: Equal) -> impl Iterator<Item = &[TimedSample]> {
    let (first, last) =
        (timeline.first().map_or(0, |sample| sample.at), timeline.last().map_or(0, |sample| sample.at));
    let end = move |block: usize| match equal {
        Equal::Samples => timeline.len() * block / blocks,
        Equal::Time if block == blocks => timeline.len(),
        Equal::Time => {
            let until = (u128::from(last - first) * block as u128 / blocks as u128) as u64;
            timeline.partition_point(|sample| sample.at - first < until)
        }
    };
    (0..blocks).map(move |block| &timeline[end(block)..end(block + 1)])
}

/// Sums over the blocks, from which the variance of a ratio follows.
struct Sums {
    blocks: f64,
    /// Of the blocks' sizes: their sum and the sum of their squares.
    size: f64,
    size_squared: f64,
    /// For each thing: its sum, that of its squares, that of its products with the block's size.
    things: Vec<[f64; 3]>,
    stacks_of_block: Tally,
    things_of_block: Tally,
}

impl Sums {
    fn new(stacks: usize, things: usize) -> Self {
        Self {
            blocks: 0.0,
            size: 0.0,
            size_squared: 0.0,
            things: vec![[0.0; 3]; things],
            stacks_of_block: Tally::new(stacks),
            things_of_block: Tally::new(things),
        }
    }

    fn add(&mut self, block: &[TimedSample], whole: Whole, counted: &impl Counted) {
        let mut size = 0.0;
        for sample in block {
            let weight = if whole.weighted { sample.weight as f64 } else { 1.0 };
            size += weight;
            self.stacks_of_block.add(sample.stack.0, weight);
        }
        let things_of_block = &mut self.things_of_block;
        self.stacks_of_block.drain(|stack, weight| {
            for thing in counted.of(stack) {
                things_of_block.add(*thing, weight);
            }
        });
        if whole.equal == Equal::Time {
            size = 1.0;
        }
        self.blocks += 1.0;
        self.size += size;
        self.size_squared += size * size;
        let things = &mut self.things;
        self.things_of_block.drain(|thing, value| {
            let [sum, squares, products] = &mut things[thing as usize];
            *sum += value;
            *squares += value * value;
            *products += value * size;
        });
    }

    /// The variance of a share over the one that it would have if samples were independent, both relative to the share.
    fn effect(&self, thing: usize, whole: Whole) -> f64 {
        let [sum, squares, products] = self.things[thing];
        let share = sum / whole.value;
        if sum <= 0.0 || share >= 1.0 {
            return 0.0;
        }
        let ratio = sum / self.size;
        let spread = squares - 2.0 * ratio * products + ratio * ratio * self.size_squared;
        let variance = self.blocks / (self.blocks - 1.0) * spread / (sum * sum);
        variance * share * whole.samples / (1.0 - share)
    }
}

/// Values by number, of which few are set at a time.
struct Tally {
    values: Vec<f64>,
    set: Vec<u32>,
}

impl Tally {
    fn new(count: usize) -> Self {
        Self { values: vec![0.0; count], set: Vec::new() }
    }

    fn add(&mut self, index: u32, value: f64) {
        let sum = &mut self.values[index as usize];
        if *sum == 0.0 && value > 0.0 {
            self.set.push(index);
        }
        *sum += value;
    }

    fn drain(&mut self, mut visit: impl FnMut(u32, f64)) {
        for index in self.set.drain(..) {
            visit(index, std::mem::take(&mut self.values[index as usize]));
        }
    }
}
