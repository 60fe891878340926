//! Allocation and Free, and looks at the table of sampled blocks, joined to blocks.

use std::collections::HashMap;

use uniprof_wire::record::{AllocationRecord, Callers, FreeRecord, Record, WalkEnd};
use uniprof_wire::tables::{HEAP_FRAMES, HeapEntry};

use super::{MOST, StackId, Stacks};

/// A sampled block of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// When it was allocated.
    pub tsc: u64,
    /// By which thread.
    pub thread: u32,
    /// On which vCPU; `None` where its allocation was not recorded.
    pub vcpu: Option<u32>,
    /// How long it is.
    pub bytes: u64,
    /// For how many allocated bytes it stands.
    pub weight: u64,
    /// By which call.
    pub stack: Option<StackId>,
    /// Whether it has not been given back.
    pub lives: bool,
}

/// An address is used again and again: a block is told by when it got it, too.
type Id = (u64, u64);

/// Joins records of class heap, in whatever order they come, and looks at the table of the blocks that live.
///
/// A look is the truth about all that was recorded before it: it makes good what records were lost, and has the blocks that are older than
/// the records.
#[derive(Debug, Default)]
pub struct Blocks {
    allocated: Vec<(Id, Block)>,
    /// Addresses and times.
    freed: Vec<Id>,
    look: Option<Look>,
    left_out: u64,
}

/// What the table held at one moment, and how many records had come by then.
#[derive(Debug)]
struct Look {
    blocks: HashMap<Id, Block>,
    allocated: usize,
    freed: usize,
}

impl Blocks {
    /// Takes in a record of `vcpu`.
    pub fn record(&mut self, vcpu: u32, record: &Record<'_>, stacks: &mut Stacks) {
        if self.allocated.len().max(self.freed.len()) >= MOST {
            self.left_out += 1;
            return;
        }
        match *record {
            Record::Allocation(AllocationRecord { tsc, thread, address, bytes, weight, ref callers }) => {
                let stack = stacks.keep(callers);
                let block = Block { tsc, thread, vcpu: Some(vcpu), bytes, weight, stack, lives: true };
                self.allocated.push(((address.0, tsc), block));
            }
            Record::Free(FreeRecord { tsc, address, .. }) => self.freed.push((address.0, tsc)),
            _ => {}
        }
    }

    /// Takes in a look at the table, after the records that had been written by then. The last one counts.
    pub fn look<'a>(&mut self, table: impl IntoIterator<Item = &'a HeapEntry>, stacks: &mut Stacks) {
        let block = |entry: &HeapEntry| {
            let &HeapEntry { tsc, thread, bytes, weight, .. } = entry;
            let stack = stacks.keep(&callers(entry));
            ((entry.address.0, tsc), Block { tsc, thread, vcpu: None, bytes, weight, stack, lives: true })
        };
        let blocks = table.into_iter().map(block).collect();
        self.look = Some(Look { blocks, allocated: self.allocated.len(), freed: self.freed.len() });
    }

    /// Whether there was a look at the table.
    #[must_use]
    pub const fn has_looked(&self) -> bool {
        self.look.is_some()
    }

    /// Records that were left out to bound memory.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// All blocks that are known of, in the order of time.
    #[must_use]
    pub fn finish(self) -> Vec<Block> {
        let Self { mut allocated, freed, look, .. } = self;
        let (mut table, recorded, freed) = match look {
            Some(look) => (look.blocks, look.allocated, freed.get(look.freed..).unwrap_or_default().to_vec()),
            None => (HashMap::new(), 0, freed),
        };
        for (index, (id, block)) in allocated.iter_mut().enumerate() {
            // The record says more than the table. What it had told by then, and the table had not, was given back.
            block.lives = table.remove(id).is_some() || index >= recorded;
        }
        allocated.extend(table);
        end(&mut allocated, freed);
        let mut blocks: Vec<Block> = allocated.into_iter().map(|(_, block)| block).collect();
        blocks.sort_by_key(|block| block.tsc);
        blocks
    }
}

/// Ends the blocks that were given back, and those whose address is another's.
fn end(blocks: &mut [(Id, Block)], mut freed: Vec<Id>) {
    freed.sort_unstable();
    blocks.sort_by_key(|(id, _)| *id);
    let mut next: Option<Id> = None;
    for (id, block) in blocks.iter_mut().rev() {
        let reused = next.filter(|(address, _)| *address == id.0);
        let free = freed.get(freed.partition_point(|free| free < id)).filter(|(address, _)| *address == id.0);
        let is_freed = free.is_some_and(|(_, freed)| reused.is_none_or(|(_, next)| *freed <= next));
        // What is there again has been given back, though that record was lost.
        block.lives &= !is_freed && reused.is_none();
        next = Some(*id);
    }
}

/// The table keeps the innermost callers, and not where the walk ended.
fn callers(entry: &HeapEntry) -> Callers<'_> {
    let frames = entry.callers.addresses();
    let end = if frames.len() < HEAP_FRAMES { WalkEnd::Root } else { WalkEnd::Depth };
    Callers { end, frames }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::{
        address::GuestVirtual,
        record::{Callers, WalkEnd},
        tables::HeapCallers,
    };

    use super::*;

    #[test]
    fn blocks_live_until_they_are_given_back_whatever_the_order_of_the_rings() {
        let callers = Callers { end: WalkEnd::Root, frames: &[1, 2] };
        let allocation = |tsc, at| {
            let address = GuestVirtual(at);
            Record::Allocation(AllocationRecord { tsc, thread: 1, address, bytes: 8, weight: 100, callers })
        };
        let free = |tsc, at| {
            Record::Free(FreeRecord { tsc, thread: 1, address: GuestVirtual(at), bytes: 8, weight: 100 })
        };
        let mut stacks = Stacks::default();
        let mut blocks = Blocks::default();
        // Given back on another vCPU, whose ring comes first; used again; used again though its end was lost.
        for record in [
            free(20, 7),
            allocation(10, 7),
            allocation(30, 7),
            allocation(5, 8),
            allocation(6, 8),
            free(40, 9),
        ] {
            blocks.record(0, &record, &mut stacks);
        }
        let lives: Vec<_> = blocks.finish().iter().map(|block| (block.tsc, block.lives)).collect();
        assert_eq!(lives, [(5, false), (6, true), (10, false), (30, true)]);
    }

    #[test]
    fn a_look_at_the_table_has_what_is_older_and_makes_good_what_was_lost() {
        let allocation = |tsc, at| {
            let (address, callers) = (GuestVirtual(at), Callers { end: WalkEnd::Root, frames: &[1, 2] });
            Record::Allocation(AllocationRecord { tsc, thread: 1, address, bytes: 8, weight: 100, callers })
        };
        let free = |tsc, at| {
            Record::Free(FreeRecord { tsc, thread: 1, address: GuestVirtual(at), bytes: 8, weight: 100 })
        };
        let entry = |tsc, at| {
            let (address, callers) = (GuestVirtual(at), HeapCallers::new(&[1, 2]));
            HeapEntry { address, bytes: 8, weight: 100, tsc, thread: 1, callers }
        };
        let mut stacks = Stacks::default();
        let mut blocks = Blocks::default();
        let mut take = |blocks: &mut Blocks, records: &[Record<'_>]| {
            records.iter().for_each(|record| blocks.record(3, record, &mut stacks));
        };
        // An early look, which the later one replaces.
        blocks.look(&[entry(1, 7), entry(2, 8)], &mut Stacks::default());
        // Block 8 goes, and that is lost; 9 lives, 10 comes and goes, 11 is lost altogether.
        take(&mut blocks, &[free(20, 7), allocation(30, 9), allocation(31, 10)]);
        let mut more = Stacks::default();
        blocks.look(&[entry(30, 9), entry(32, 11), entry(33, 12)], &mut more);
        // After the look one more comes, and one goes.
        take(&mut blocks, &[allocation(40, 13), free(41, 12)]);
        assert!(blocks.has_looked());
        let all = blocks.finish();
        let lives: Vec<_> = all.iter().map(|block| (block.tsc, block.vcpu, block.lives)).collect();
        let wanted = [
            (30, Some(3), true),
            (31, Some(3), false),
            (32, None, true),
            (33, None, false),
            (40, Some(3), true),
        ];
        assert_eq!(lives, wanted);
    }

    #[test]
    fn a_stack_that_fills_the_tables_entry_was_cut_short() {
        let full = HeapEntry { callers: HeapCallers::new(&[1; HEAP_FRAMES]), ..HeapEntry::default() };
        assert_eq!(callers(&full).end, WalkEnd::Depth);
        assert_eq!(callers(&HeapEntry::default()).end, WalkEnd::Root);
    }
}
