//! Blocks of the heap that lived at a moment of the last minutes: what lived before the records that are kept, those records, and the last look
//! at the guest's table, which is the truth of its moment.
//!
//! ```text
//!   blocks that lived ── records that are kept ── look ── records ── now
//! ```

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_events::waits::{Blocks, Stacks};
use uniprof_postmortem::heap::stands_for;
use uniprof_wire::record::{AllocationRecord, Record};
use uniprof_wire::tables::{HEAP_FRAMES, HeapCallers, HeapEntry};

use super::events::Tail;

/// Words of the records that are kept: 1 MiB.
const MOST_WORDS: usize = 1 << 17;
/// Blocks that live and are older than those, besides what the guest's table had room for: 2 MB.
const MOST_BEFORE: usize = 7 << 10;
/// Frees whose allocation may come later, from another vCPU's ring.
const MOST_EARLY: usize = 256;

/// What is known of the heap.
#[derive(Clone, Debug)]
pub(super) struct Heap {
    records: Tail,
    /// By address, those that lived when the records begin, and when that is.
    before: Before,
    begin: u64,
    /// Addresses and times of frees that were older than the records, too, and whose allocation had not come.
    early: VecDeque<(u64, u64)>,
    look: Option<Look>,
}

/// Blocks by their address. A table has many places that are empty, and twice as many while it grows: those shall be small.
type Before = FxHashMap<u64, Box<HeapEntry>>;

/// What the table held after the record of a number.
#[derive(Clone, Debug)]
struct Look {
    number: u64,
    tsc: u64,
    blocks: LiveBlocks,
}

/// What happened, in the order in which it became known.
pub(super) enum Step<'a> {
    Look(&'a LiveBlocks),
    Record(u32, &'a Record<'a>),
}

/// Blocks that were allocated by the same call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// As many as the sampled ones stand for; bytes, too.
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl Default for Heap {
    fn default() -> Self {
        Self::with_room(MOST_WORDS)
    }
}

impl Heap {
    fn with_room(words: usize) -> Self {
        Self {
            records: Tail::with_room(words),
            before: FxHashMap::default(),
            begin: 0,
            early: VecDeque::new(),
            look: None,
        }
    }

    /// Takes a record in, under a number that is larger than all before.
    pub(super) fn record(&mut self, number: u64, vcpu: u32, record: &Record<'_>) {
        let Self { records, before, begin, early, look } = self;
        records.push_over(number, vcpu, record, |gone| {
            if let Some(look) = look.take_if(|look| look.number < gone.number) {
                (*before, *begin) = (by_address(look.blocks.entries), look.tsc.max(*begin));
            }
            *begin = gone.record.tsc().max(*begin);
            age(before, early, &gone.record);
        });
    }

    /// Takes in what the table holds after the record of a number; `now` is the latest that is known of the guest's clock.
    pub(super) fn look(&mut self, number: u64, now: u64, blocks: LiveBlocks) {
        let newest = blocks.entries.iter().map(|entry| entry.tsc).max().unwrap_or(0);
        let tsc = newest.max(now);
        if self.records.is_empty() {
            (self.before, self.begin, self.look) = (by_address(blocks.entries), tsc, None);
        } else {
            self.look = Some(Look { number, tsc, blocks });
        }
    }

    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        let look = self.look.as_ref().is_none_or(|look| look.blocks.entries.is_empty());
        look && self.records.is_empty() && self.before.is_empty()
    }

    /// About as many bytes as it takes.
    pub(super) fn bytes(&self) -> usize {
        let looked = self.look.as_ref().map_or(0, |look| look.blocks.entries.len());
        self.records.bytes() + (self.before.len() + looked) * size_of::<HeapEntry>()
    }

    /// The first moment of which all blocks that lived are known.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// Hands out all that happened up to a moment.
    pub(super) fn until(&self, end: u64, mut each: impl FnMut(Step<'_>)) {
        let known = |entries: &mut dyn Iterator<Item = &HeapEntry>| LiveBlocks {
            entries: entries.filter(|entry| entry.tsc <= end).copied().collect(),
            torn: 0,
        };
        if !self.before.is_empty() {
            each(Step::Look(&known(&mut self.before.values().map(|entry| &**entry))));
        }
        let mut look = self.look.as_ref().filter(|look| look.tsc <= end);
        self.records.oldest_first(|kept| {
            if let Some(look) = look.take_if(|look| look.number < kept.number) {
                each(Step::Look(&look.blocks));
            }
            if kept.record.tsc() <= end {
                each(Step::Record(kept.vcpu, &kept.record));
            }
        });
        if let Some(look) = look {
            each(Step::Look(&look.blocks));
        }
    }

    /// What lived at a moment, by who called, the innermost first; of a caller's callers no more than the table keeps.
    pub(super) fn live(&self, end: u64) -> FxHashMap<Box<[u64]>, Sum> {
        let (mut blocks, mut stacks) = (Blocks::default(), Stacks::default());
        self.until(end, |step| match step {
            Step::Look(look) => blocks.look(&look.entries, &mut stacks),
            Step::Record(vcpu, record) => blocks.record(vcpu, record, &mut stacks),
        });
        let mut sums: FxHashMap<Box<[u64]>, Sum> = FxHashMap::default();
        for block in blocks.finish().into_iter().filter(|block| block.lives) {
            let frames = block.stack.map_or(&[][..], |stack| stacks.get(stack).frames);
            let sum = sums.entry(frames[..frames.len().min(HEAP_FRAMES)].into()).or_default();
            sum.blocks = sum.blocks.saturating_add(stands_for(block.weight, block.bytes));
            sum.bytes = sum.bytes.saturating_add(block.weight);
        }
        sums
    }
}

fn by_address(entries: Vec<HeapEntry>) -> Before {
    entries.into_iter().map(|entry| (entry.address.0, Box::new(entry))).collect()
}

/// A block as the record of its allocation tells it.
pub(super) fn allocated(block: &AllocationRecord<'_>) -> HeapEntry {
    HeapEntry {
        address: block.address,
        bytes: block.bytes,
        weight: block.weight,
        tsc: block.tsc,
        thread: block.thread,
        callers: HeapCallers::new(block.callers.frames),
    }
}

/// What a record that is not kept any more changes in what lived before those that are.
fn age(before: &mut Before, early: &mut VecDeque<(u64, u64)>, gone: &Record<'_>) {
    match gone {
        Record::Allocation(block) => {
            let freed = |(address, tsc): &(u64, u64)| *address == block.address.0 && *tsc >= block.tsc;
            if let Some(at) = early.iter().position(freed) {
                early.remove(at);
            } else if before.len() < MOST_BEFORE || before.contains_key(&block.address.0) {
                let entry = allocated(block);
                before.insert(block.address.0, Box::new(entry));
            }
        }
        Record::Free(free) => {
            if before.get(&free.address.0).is_some_and(|entry| entry.tsc <= free.tsc) {
                before.remove(&free.address.0);
            } else {
                if early.len() >= MOST_EARLY {
                    early.pop_front();
                }
                early.push_back((free.address.0, free.tsc));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::address::GuestVirtual;
    use uniprof_wire::record::{Callers, FreeRecord, WalkEnd};

    use super::*;

    fn allocate(heap: &mut Heap, tsc: u64, address: u64, caller: u64) {
        let callers = Callers { end: WalkEnd::Root, frames: &[caller] };
        let address = GuestVirtual(address);
        let record = AllocationRecord { tsc, thread: 1, address, bytes: 10, weight: 100, callers };
        heap.record(tsc, 0, &Record::Allocation(record));
    }

    fn free(heap: &mut Heap, number: u64, tsc: u64, address: u64) {
        let address = GuestVirtual(address);
        heap.record(number, 1, &Record::Free(FreeRecord { tsc, thread: 1, address, bytes: 10, weight: 100 }));
    }

    fn table(blocks: &[(u64, u64, u64)]) -> LiveBlocks {
        let entry = |&(tsc, address, caller): &(u64, u64, u64)| {
            let callers = HeapCallers::new(&[caller]);
            HeapEntry { address: GuestVirtual(address), bytes: 10, weight: 100, tsc, thread: 1, callers }
        };
        LiveBlocks { entries: blocks.iter().map(entry).collect(), torn: 0 }
    }

    fn bytes(heap: &Heap, end: u64) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = heap.live(end).iter().map(|(callers, sum)| (callers[0], sum.bytes)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn every_moment_has_the_blocks_that_lived_then() {
        let mut heap = Heap::default();
        assert!(heap.is_empty());
        heap.look(0, 0, table(&[(3, 0x1000, 7), (5, 0x2000, 7)]));
        assert!(!heap.is_empty());
        assert_eq!(heap.begin(), 5);
        allocate(&mut heap, 10, 0x3000, 8);
        free(&mut heap, 11, 20, 0x1000);
        allocate(&mut heap, 30, 0x4000, 8);
        let wanted = [(9, vec![(7, 200)]), (10, vec![(7, 200), (8, 100)]), (20, vec![(7, 100), (8, 100)])];
        for (end, wanted) in wanted {
            assert_eq!(bytes(&heap, end), wanted, "at {end}");
        }
        // That 0x3000 was given back was lost; the table knows, from then on.
        heap.look(30, 40, table(&[(5, 0x2000, 7), (30, 0x4000, 8)]));
        assert_eq!(bytes(&heap, 39), [(7, 100), (8, 200)]);
        assert_eq!(bytes(&heap, 40), [(7, 100), (8, 100)]);
        allocate(&mut heap, 50, 0x5000, 9);
        assert_eq!(bytes(&heap, 50), [(7, 100), (8, 100), (9, 100)]);
    }

    #[test]
    fn a_block_lives_on_when_its_record_is_not_kept_any_more() {
        let mut heap = Heap::with_room(64);
        allocate(&mut heap, 1, 0x9000, 7);
        // This end comes before its begin, from another ring, and both make room.
        free(&mut heap, 3, 3, 0x8000);
        allocate(&mut heap, 2, 0x8000, 6);
        for tsc in 10..1000 {
            let address = 0x10_0000 + tsc * 16;
            allocate(&mut heap, tsc, address, 8);
            free(&mut heap, tsc, tsc, address);
        }
        assert_eq!(bytes(&heap, 1000), [(7, 100)]);
        assert!((900..1000).contains(&heap.begin()), "{}", heap.begin());
        // A look that the records have passed is what lived before them.
        heap.look(1000, 1000, table(&[(1, 0x9000, 7), (999, 0xa000, 9)]));
        for tsc in 1001..1100 {
            allocate(&mut heap, tsc, 0xb000, 8);
        }
        assert_eq!(bytes(&heap, 1100), [(7, 100), (8, 100), (9, 100)]);
        free(&mut heap, 1101, 1101, 0x9000);
        assert_eq!(bytes(&heap, 1101), [(8, 100), (9, 100)]);
    }

    #[test]
    fn what_lives_takes_a_bounded_amount_of_memory() {
        let mut heap = Heap::with_room(64);
        for tsc in 0..3 * MOST_BEFORE as u64 {
            allocate(&mut heap, tsc, tsc * 16, 8);
            free(&mut heap, tsc, tsc, u64::MAX - tsc);
        }
        assert_eq!((heap.before.len(), heap.early.len()), (MOST_BEFORE, MOST_EARLY));
    }
}
