//! What the heap is made of, by the blocks that the guest's probes sampled: by size, by who allocated, and what nobody points to any more.
//!
//! A sampled block stands for [`weight`](HeapEntry::weight) bytes, so that sums over blocks are estimates of what is allocated; the totals
//! beside them are counted, not estimated.

mod leaks;
mod sites;
mod sizes;

use serde::Serialize;
use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_wire::tables::{HeapEntry, VcpuStats};

pub use leaks::Leaks;
pub use sites::{Site, asked_by, asked_from};
pub use sizes::{SizeClass, stands_for};

use crate::subject::Subject;

/// What is done, and how much of it is told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Allocation stacks that are told.
    pub most_sites: usize,
    /// Whether to look for blocks that nobody points to: reads all memory.
    pub leaks: bool,
    /// Bytes of memory that are searched for pointers.
    pub most_scanned: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { most_sites: 20, leaks: true, most_scanned: 8 << 30 }
    }
}

/// Why nothing is known of the heap.
#[derive(Debug, thiserror::Error)]
pub enum HeapError {
    /// There is no region.
    #[error("{0}")]
    NoRegion(String),
    /// The guest does not tell of its heap.
    #[error(
        "the guest's probes do not watch its heap: its kernel has to tell of it (`allocated`, `freed`), and `heap_interval` be set"
    )]
    NotWatched,
    /// The table is not in the dump.
    #[error("the table of sampled blocks can't be read: {0}")]
    Table(String),
}

/// The heap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heap {
    /// Counted by the guest, since its probes were initialised.
    pub totals: Totals,
    /// The blocks that are told of by size and by stack.
    pub sampled: Sampled,
    /// By size, the smallest first.
    pub sizes: Vec<SizeClass>,
    /// By allocation stack, the most bytes first.
    pub sites: Vec<Site>,
    /// Stacks beyond those, and the estimated bytes of them.
    pub other_sites: u64,
    /// Estimated bytes of the stacks beyond those.
    pub other_bytes: u64,
    /// Blocks that nobody points to; `None` where that was not asked for.
    pub leaks: Option<Leaks>,
    /// What limits these answers, in sentences.
    pub remarks: Vec<String>,
}

/// Sums over all vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Bytes that were allocated.
    pub allocated_bytes: u64,
    /// Blocks that were allocated.
    pub allocated_blocks: u64,
    /// Bytes that were given back.
    pub freed_bytes: u64,
    /// Blocks that were given back.
    pub freed_blocks: u64,
    /// Bytes that are allocated.
    pub live_bytes: u64,
    /// Blocks that are allocated.
    pub live_blocks: u64,
}

/// The sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sampled {
    /// Blocks in the table.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that they stand for.
    pub estimated_bytes: u64,
    /// Mean bytes from one sample to the next.
    pub interval: u64,
    /// Entries that were being written.
    pub torn: u64,
    /// Sampled blocks that the table had no room for.
    pub dropped: u64,
}

/// Takes stock of the heap.
pub fn census(subject: &mut Subject, options: &Options) -> Result<Heap, HeapError> {
    let LiveBlocks { entries, torn } = blocks(subject)?;
    let (totals, mut sampled) = counters(vcpus(subject));
    if entries.is_empty() && sampled.interval == 0 {
        return Err(HeapError::NotWatched);
    }
    sampled.torn = torn;
    sampled.blocks = entries.len() as u64;
    sampled.bytes = sum(&entries, |entry| entry.bytes);
    sampled.estimated_bytes = sum(&entries, |entry| entry.weight);
    let remarks = sampled.remarks();
    let all = sites::of(subject, &entries);
    let told = all.len().min(options.most_sites);
    let leaks = options.leaks.then(|| leaks::of(subject, &entries, options));
    Ok(Heap {
        totals,
        sampled,
        sizes: sizes::of(&entries),
        other_sites: (all.len() - told) as u64,
        other_bytes: all[told..].iter().fold(0, |sum, site| sum.saturating_add(site.estimated_bytes)),
        sites: all.into_iter().take(told).collect(),
        leaks,
        remarks,
    })
}

fn sum(entries: &[HeapEntry], of: impl Fn(&HeapEntry) -> u64) -> u64 {
    entries.iter().fold(0, |sum, entry| sum.saturating_add(of(entry)))
}

impl Sampled {
    /// What limits the sample, in sentences.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let torn = (self.torn > 0)
            .then(|| format!("{} entries of the table were being written, and are left out", self.torn));
        let dropped = (self.dropped > 0).then(|| {
            format!(
                "the table had no room for {} sampled blocks, so that estimates are too low",
                self.dropped
            )
        });
        torn.into_iter().chain(dropped).collect()
    }
}

fn blocks(subject: &Subject) -> Result<LiveBlocks, HeapError> {
    let region = subject.region.as_ref().map_err(|why| HeapError::NoRegion(why.clone()))?;
    let found = &region.found;
    let blocks = LiveBlocks::read(&*subject.memory, found.at, found.header.geometry);
    blocks.map_err(|error| HeapError::Table(error.to_string()))?.ok_or(HeapError::NotWatched)
}

fn vcpus(subject: &Subject) -> &[VcpuStats] {
    subject.region.as_ref().map(|region| &region.tables.vcpus[..]).unwrap_or_default()
}

/// What a guest's vCPUs have counted, summed; of the sample, how often it was taken and what the table had no room for.
#[must_use]
pub fn counters(vcpus: &[VcpuStats]) -> (Totals, Sampled) {
    let (mut totals, mut sampled) = (Totals::default(), Sampled::default());
    for stats in vcpus.iter().map(|vcpu| vcpu.heap) {
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        add(&mut totals.allocated_bytes, stats.allocated_bytes);
        add(&mut totals.allocated_blocks, stats.allocated_blocks);
        add(&mut totals.freed_bytes, stats.freed_bytes);
        add(&mut totals.freed_blocks, stats.freed_blocks);
        add(&mut sampled.dropped, stats.dropped);
        sampled.interval = sampled.interval.max(stats.interval);
    }
    totals.live_bytes = totals.allocated_bytes.saturating_sub(totals.freed_bytes);
    totals.live_blocks = totals.allocated_blocks.saturating_sub(totals.freed_blocks);
    (totals, sampled)
}

#[cfg(test)]
mod tests;
