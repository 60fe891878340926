//! Allocation and Free joined to blocks.

use uniprof_wire::record::{AllocationRecord, FreeRecord, Record};

use super::{MOST, StackId, Stacks};

/// A sampled block that was allocated while there were records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// When.
    pub tsc: u64,
    /// By which thread.
    pub thread: u32,
    /// On which vCPU.
    pub vcpu: u32,
    /// How long it is.
    pub bytes: u64,
    /// For how many allocated bytes it stands.
    pub weight: u64,
    /// By which call.
    pub stack: Option<StackId>,
    /// Whether it has not been given back.
    pub lives: bool,
}

/// Joins records of class heap, in whatever order they come.
#[derive(Debug, Default)]
pub struct Blocks {
    /// By address and time, and whether it is given back: an address is used again and again.
    allocated: Vec<(u64, Block)>,
    freed: Vec<(u64, u64)>,
    left_out: u64,
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
                self.allocated
                    .push((address.0, Block { tsc, thread, vcpu, bytes, weight, stack, lives: true }));
            }
            Record::Free(FreeRecord { tsc, address, .. }) => self.freed.push((address.0, tsc)),
            _ => {}
        }
    }

    /// Records that were left out to bound memory.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// All blocks that were allocated, in the order of time.
    #[must_use]
    pub fn finish(mut self) -> Vec<Block> {
        self.freed.sort_unstable();
        self.allocated.sort_by_key(|(address, block)| (*address, block.tsc));
        let mut blocks: Vec<Block> = Vec::with_capacity(self.allocated.len());
        for (index, (address, block)) in self.allocated.iter().enumerate() {
            let next = self.allocated.get(index + 1).filter(|(other, _)| other == address);
            let first = self.freed.partition_point(|free| *free < (*address, block.tsc));
            let free = self.freed.get(first).filter(|(other, _)| other == address);
            let is_freed = free.is_some_and(|(_, freed)| next.is_none_or(|(_, next)| *freed <= next.tsc));
            // What is there again has been given back, though that record was lost.
            blocks.push(Block { lives: !is_freed && next.is_none(), ..*block });
        }
        blocks.sort_by_key(|block| block.tsc);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::{
        address::GuestVirtual,
        record::{Callers, WalkEnd},
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
}
