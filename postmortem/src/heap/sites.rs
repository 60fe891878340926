//! The heap by who allocated.

use std::collections::HashMap;

use serde::Serialize;
use uniprof_symbolizer::{AddressKind, FrameSource, UnwoundFrame};
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::HeapEntry;

use super::stands_for;
use crate::stacks::{StackFrame, frame};
use crate::subject::Subject;
use crate::verdict::{is_allocator, is_plumbing};

/// Blocks that were allocated by the same stack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Site {
    /// The innermost function that belongs to neither the allocator nor a library.
    pub function: String,
    /// The stack, the innermost function first.
    pub frames: Vec<StackFrame>,
    /// Sampled blocks.
    pub sampled_blocks: u64,
    /// Their bytes.
    pub sampled_bytes: u64,
    /// The blocks that they stand for.
    pub estimated_blocks: u64,
    /// The bytes that they stand for.
    pub estimated_bytes: u64,
    /// TSC at the first of these allocations.
    pub oldest_tsc: u64,
    /// TSC at the last of them.
    pub newest_tsc: u64,
    /// The threads that allocated, by number.
    pub threads: Vec<u32>,
    /// The sampled blocks, the largest first; the first few.
    pub examples: Vec<Block>,
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Its address.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

/// Blocks of a site that are told one by one.
const EXAMPLES: usize = 4;
/// How far from the innermost function the allocator is looked for.
const WRAPPERS: usize = 6;

/// Groups blocks by their stacks; most bytes first.
pub(super) fn of<'a>(subject: &mut Subject, entries: impl IntoIterator<Item = &'a HeapEntry>) -> Vec<Site> {
    let mut groups: HashMap<&[u64], Vec<&HeapEntry>> = HashMap::new();
    for entry in entries {
        groups.entry(entry.callers.addresses()).or_default().push(entry);
    }
    let mut sites: Vec<Site> =
        groups.into_iter().map(|(addresses, blocks)| site(subject, addresses, blocks)).collect();
    sites.sort_by(|one, other| {
        let address = |site: &Site| site.frames.first().map(|frame| frame.address);
        other.estimated_bytes.cmp(&one.estimated_bytes).then_with(|| address(one).cmp(&address(other)))
    });
    sites
}

/// Of the names of an allocation's stack, the innermost first, that of the innermost function that belongs to neither the allocator nor a
/// library; `None` where there is no stack.
#[must_use]
pub fn asked_by<'a>(names: &[&'a str]) -> Option<&'a str> {
    names.get(asked_from(names)).copied()
}

/// The place of that function: what is before it is the allocator's own.
#[must_use]
pub fn asked_from(names: &[&str]) -> usize {
    // What a kernel puts between its allocator and the probes has any name.
    let entrance = names.iter().take(WRAPPERS).position(|name| is_allocator(name)).unwrap_or(0);
    let own = names.iter().skip(entrance).position(|name| !is_plumbing(name));
    own.map_or(names.len().saturating_sub(1), |own| entrance + own)
}

fn site(subject: &mut Subject, addresses: &[u64], mut blocks: Vec<&HeapEntry>) -> Site {
    let mut frames = Vec::new();
    for (depth, address) in addresses.iter().enumerate() {
        let address = GuestVirtual(*address);
        let one = UnwoundFrame { address, kind: AddressKind::Return, found: FrameSource::FramePointer };
        frame::push(&mut subject.program, depth, &one, &mut frames);
    }
    let names: Vec<&str> = frames.iter().map(StackFrame::name).collect();
    let function = asked_by(&names).unwrap_or("[unknown: no stack]").to_owned();
    blocks.sort_by_key(|entry| (std::cmp::Reverse(entry.bytes), entry.address));
    let mut threads: Vec<u32> = blocks.iter().map(|entry| entry.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    let sum =
        |of: fn(&HeapEntry) -> u64| blocks.iter().fold(0_u64, |sum, entry| sum.saturating_add(of(entry)));
    Site {
        function,
        frames,
        sampled_blocks: blocks.len() as u64,
        sampled_bytes: sum(|entry| entry.bytes),
        estimated_blocks: sum(|entry| stands_for(entry.weight, entry.bytes)),
        estimated_bytes: sum(|entry| entry.weight),
        oldest_tsc: blocks.iter().map(|entry| entry.tsc).min().unwrap_or(0),
        newest_tsc: blocks.iter().map(|entry| entry.tsc).max().unwrap_or(0),
        threads,
        examples: blocks
            .iter()
            .take(EXAMPLES)
            .map(|entry| Block { address: entry.address.0, bytes: entry.bytes })
            .collect(),
    }
}
