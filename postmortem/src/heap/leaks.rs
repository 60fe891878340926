//! Blocks that nobody points to.
//!
//! All memory is read once, word by word, and each word that could be an address inside of a sampled block counts as a pointer to it: to
//! its start or anywhere into it. Left out are the observation region, which is a record and no part of the program; page tables;
//! the block itself; and what lies below the stack pointers of threads, which functions that have returned left there.
//!
//! A pointer that is stale, or a number that only looks like one, hides a leak; so do two lost blocks that point to each other. Small
//! numbers look like addresses in a guest whose memory begins at 0: sizes that an allocator left in memory that was not written to since,
//! say. These rarely hit a block's start, so blocks that are only pointed into are told apart. What is found is a candidate,
//! because a kernel may keep pointers in another form: shifted, compressed, or in a device.

use std::ops::Range;

use serde::Serialize;
use uniprof_collector::paging::PAGE_BYTES;
use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::tables::{HeapEntry, ThreadState};

use super::Options;
use super::sites::{self, Site};
use crate::stacks;
use crate::subject::{Subject, of_crash_record};

/// How much is read at a time.
const BLOCK: u64 = 1 << 20;
/// Stacks and other ranges are followed page by page up to this length.
const MOST_FOLLOWED: u64 = 64 << 20;
/// Page tables that are known for what they are.
const MOST_TABLES: usize = 1 << 16;
/// The psABI lets leaf functions use so much below the stack pointer.
const RED_ZONE: u64 = 128;

/// Blocks to which no word in memory points.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Leaks {
    /// Sampled blocks that nobody points to.
    pub sampled_blocks: u64,
    /// The bytes that they stand for.
    pub estimated_bytes: u64,
    /// By allocation stack, the most bytes first.
    pub sites: Vec<Site>,
    /// Sampled blocks that are only pointed into: nobody points to their start.
    pub inside_blocks: u64,
    /// The bytes that those stand for.
    pub inside_bytes: u64,
    /// Those by allocation stack.
    pub inside_sites: Vec<Site>,
    /// Bytes of memory that were searched for pointers.
    pub scanned_bytes: u64,
    /// What was not searched and may hold pointers, in sentences.
    pub not_scanned: Vec<String>,
}

/// Looks for pointers to all blocks; `entries` rise by address.
pub(super) fn of(subject: &mut Subject, entries: &[HeapEntry], options: &Options) -> Leaks {
    let mut search = Search::new(subject, entries);
    search.registers(subject);
    let (scanned_bytes, not_scanned) = search.memory(subject, options.most_scanned);
    let of_kind = |kind: Pointed| -> Vec<&HeapEntry> {
        let found = entries.iter().zip(&search.blocks).filter(|(_, block)| block.pointed == kind);
        found.map(|(entry, _)| entry).collect()
    };
    let mut told = |lost: &[&HeapEntry]| {
        let mut sites = sites::of(subject, lost.iter().copied());
        sites.truncate(options.most_sites);
        let bytes = lost.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.weight));
        (lost.len() as u64, bytes, sites)
    };
    let (sampled_blocks, estimated_bytes, sites) = told(&of_kind(Pointed::Nowhere));
    let (inside_blocks, inside_bytes, inside_sites) = told(&of_kind(Pointed::Inside));
    Leaks {
        sampled_blocks,
        estimated_bytes,
        sites,
        inside_blocks,
        inside_bytes,
        inside_sites,
        scanned_bytes,
        not_scanned,
    }
}

/// Where anybody points to in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Pointed {
    Nowhere,
    Inside,
    Start,
}

struct Block {
    start: u64,
    end: u64,
    /// Where it begins in physical memory.
    physical: Option<u64>,
    pointed: Pointed,
}

struct Search {
    /// In rising order.
    blocks: Vec<Block>,
    /// Addresses of all blocks lie in here.
    span: Range<u64>,
    /// Physical memory that is no part of what the program knows, in rising order.
    excluded: Vec<Range<u64>>,
}

impl Search {
    fn new(subject: &Subject, entries: &[HeapEntry]) -> Self {
        let block = |entry: &HeapEntry| Block {
            start: entry.address.0,
            // A block without bytes has an address all the same.
            end: entry.address.0.saturating_add(entry.bytes.max(1)),
            physical: subject.space.translate(entry.address).ok().map(|found| found.physical.0),
            pointed: Pointed::Nowhere,
        };
        let blocks: Vec<Block> = entries.iter().map(block).collect();
        let start = blocks.first().map_or(0, |block| block.start);
        let end = blocks.iter().map(|block| block.end).max().unwrap_or(0);
        Self { blocks, span: start..end, excluded: excluded(subject) }
    }

    /// A word that lies at `at` in physical memory, or in a register.
    fn word(&mut self, word: u64, at: Option<u64>) {
        if !self.span.contains(&word) {
            return;
        }
        let next = self.blocks.partition_point(|block| block.start <= word);
        let Some(block) = next.checked_sub(1).and_then(|index| self.blocks.get_mut(index)) else { return };
        let is_own = || {
            let offset = at.zip(block.physical).and_then(|(at, start)| at.checked_sub(start));
            offset.is_some_and(|offset| offset < block.end - block.start)
        };
        let pointed = if word == block.start { Pointed::Start } else { Pointed::Inside };
        if word < block.end && block.pointed < pointed && !is_own() {
            block.pointed = pointed;
        }
    }

    fn registers(&mut self, subject: &Subject) {
        let tables = subject.region.as_ref().ok().map(|region| &region.tables);
        let records = tables.into_iter().flat_map(|tables| &tables.crashes).filter_map(|slot| slot.entry());
        let crashed = records.map(|record| of_crash_record(0, &record));
        for cpu in subject.cpus.iter().cloned().chain(crashed) {
            cpu.general.into_iter().flatten().for_each(|word| self.word(word, None));
        }
    }

    /// Searches all memory; how much that was, and what was left out.
    fn memory(&mut self, subject: &Subject, most: u64) -> (u64, Vec<String>) {
        let resident = match subject.memory.resident() {
            Ok(resident) => resident,
            Err(error) => return (0, vec![format!("no memory: {error}")]),
        };
        let (mut scanned, mut unreadable, mut beyond) = (0, 0, 0);
        let mut buffer = vec![0; BLOCK as usize];
        for range in resident {
            let mut at = range.start.0.next_multiple_of(8);
            while at < range.end.0 {
                let end = range.end.0.min(at.saturating_add(BLOCK));
                let bytes = &mut buffer[..(end - at) as usize];
                if scanned >= most {
                    beyond += range.end.0 - at;
                    break;
                }
                if subject.memory.read(GuestPhysical(at), bytes).is_ok() {
                    scanned += end - at;
                    self.block(at, bytes);
                } else {
                    unreadable += end - at;
                }
                at = end;
            }
        }
        let mut left = Vec::new();
        if beyond > 0 {
            left.push(format!("{beyond} bytes beyond the first {most} were not searched for pointers"));
        }
        if unreadable > 0 {
            left.push(format!("{unreadable} bytes could not be read"));
        }
        (scanned, left)
    }

    fn block(&mut self, start: u64, bytes: &[u8]) {
        let mut next = self.excluded.partition_point(|range| range.end <= start);
        for (at, word) in (start..).step_by(8).zip(bytes.as_chunks::<8>().0) {
            let word = u64::from_le_bytes(*word);
            if word.wrapping_sub(self.span.start) >= self.span.end - self.span.start {
                continue;
            }
            while self.excluded.get(next).is_some_and(|range| range.end <= at) {
                next += 1;
            }
            if self.excluded.get(next).is_none_or(|range| range.start > at) {
                self.word(word, Some(at));
            }
        }
    }
}

/// The region, page tables, and the parts of stacks that are not in use.
fn excluded(subject: &Subject) -> Vec<Range<u64>> {
    let Ok(region) = &subject.region else { return Vec::new() };
    let start = region.found.at.0;
    let tables = subject.space.table_pages(MOST_TABLES).into_iter();
    let mut excluded: Vec<Range<u64>> =
        tables.map(|page| page.0..page.0.saturating_add(PAGE_BYTES)).collect();
    excluded.push(start..start.saturating_add(region.found.header.geometry.region_bytes() as u64));
    for thread in stacks::threads(subject) {
        // The stack of a thread that has ended may be anybody's by now.
        if thread.state == ThreadState::Exited {
            continue;
        }
        let running = || subject.cpus.iter().filter_map(|cpu| cpu.rsp());
        let on_stack = |rsp: &u64| (thread.stack.0.0..thread.stack.1.0).contains(rsp);
        let in_use = running().filter(on_stack).min().or(Some(thread.saved[1]).filter(on_stack));
        if let Some(rsp) = in_use {
            physical(subject, thread.stack.0.0..rsp.saturating_sub(RED_ZONE), &mut excluded);
        }
    }
    excluded.sort_by_key(|range| range.start);
    excluded.dedup_by(|later, earlier| {
        let overlap = later.start <= earlier.end;
        if overlap {
            earlier.end = earlier.end.max(later.end);
        }
        overlap
    });
    excluded
}

/// Where virtual memory lies, page by page.
fn physical(subject: &Subject, range: Range<u64>, into: &mut Vec<Range<u64>>) {
    if range.start >= range.end || range.end - range.start > MOST_FOLLOWED {
        return;
    }
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min((at - at % PAGE_BYTES).saturating_add(PAGE_BYTES));
        if let Ok(found) = subject.space.translate(GuestVirtual(at)) {
            let start = found.physical.0;
            match into.last_mut() {
                Some(last) if last.end == start => last.end += end - at,
                _ => into.push(start..start.saturating_add(end - at)),
            }
        }
        if end == at {
            return;
        }
        at = end;
    }
}
