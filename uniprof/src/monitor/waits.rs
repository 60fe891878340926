//! Records of waits, locks and the heap, as many as there is room for: profiles of what is not on the CPU are made of them when they are to be
//! seen, by the same code as those of a recording.

use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_wire::record::{Class, Record};

use super::events::Tail;
use super::heap::Heap;

/// Words for each: 1 MiB.
const MOST_WORDS: usize = 1 << 17;

/// The last records of each kind.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) off_cpu: Tail,
    pub(super) locks: Tail,
    pub(super) heap: Heap,
    number: u64,
}

impl Default for Kept {
    fn default() -> Self {
        let room = || Tail::with_room(MOST_WORDS);
        Self { off_cpu: room(), locks: room(), heap: Heap::default(), number: 0 }
    }
}

impl Kept {
    /// Keeps a record, if it is of one of these.
    pub(super) fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        self.number += 1;
        let tail = match record.kind().class() {
            Class::OffCpu | Class::Switch => &mut self.off_cpu,
            Class::Lock => &mut self.locks,
            Class::Heap => return self.heap.record(self.number, vcpu, record),
            _ => return,
        };
        tail.push(self.number, vcpu, record);
    }

    /// About as many bytes as they take.
    pub(super) fn bytes(&self) -> usize {
        self.off_cpu.bytes() + self.locks.bytes() + self.heap.bytes()
    }

    /// Takes in the blocks that live now, which is the latest that is known of the guest's clock.
    pub(super) fn look(&mut self, now: u64, blocks: LiveBlocks) {
        self.heap.look(self.number, now, blocks);
    }
}
