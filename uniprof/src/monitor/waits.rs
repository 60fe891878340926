//! Records of waits, locks and the heap, as many as there is room for: profiles of what is not on the CPU are made of them when they are to be
//! seen, by the same code as those of a recording.

use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_collector::tables::Tables;
use uniprof_events::waits::Window;
use uniprof_wire::record::{Class, Record};

use super::events::Tail;
use super::heap::Heap;

/// Words for each: 1 MiB.
const MOST_WORDS: usize = 1 << 17;

/// The last records of each kind.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) off_cpu: Waits,
    pub(super) locks: Waits,
    pub(super) heap: Heap,
    number: u64,
}

impl Default for Kept {
    fn default() -> Self {
        let room = |class| Waits::with_room(class, MOST_WORDS);
        Self { off_cpu: room(Class::OffCpu), locks: room(Class::Lock), heap: Heap::default(), number: 0 }
    }
}

impl Kept {
    /// Keeps a record, if it is of one of these.
    pub(super) fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        self.number += 1;
        match record.kind().class() {
            Class::OffCpu => self.off_cpu.push(self.number, vcpu, record),
            Class::Lock => self.locks.push(self.number, vcpu, record),
            Class::Heap => self.heap.record(self.number, vcpu, record),
            _ => {}
        }
    }

    /// About as many bytes as they take.
    pub(super) fn bytes(&self) -> usize {
        self.off_cpu.records.bytes() + self.locks.records.bytes() + self.heap.bytes()
    }

    /// Takes in the blocks that live now, which is the latest that is known of the guest's clock.
    pub(super) fn look(&mut self, now: u64, blocks: LiveBlocks) {
        self.heap.look(self.number, now, blocks);
    }

    /// Takes in what the guest records.
    pub(super) fn take_tables(&mut self, tables: &Tables) {
        let tsc = tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
        for waits in [&mut self.off_cpu, &mut self.locks] {
            let is_on = tables.vcpus.iter().any(|vcpu| vcpu.classes & waits.class.bit() != 0);
            waits.take_look(tsc, is_on);
        }
    }
}

/// The last records of a class, and from when on all of them are here.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    class: Class,
    records: Tail,
    /// When the guest was last seen not to record the class, before it did.
    off: u64,
    since: Option<u64>,
    /// Whether there were more, which had to make room.
    has_gone: bool,
}

impl Waits {
    fn with_room(class: Class, words: usize) -> Self {
        Self { class, records: Tail::with_room(words), off: 0, since: None, has_gone: false }
    }

    fn take_look(&mut self, tsc: u64, is_on: bool) {
        match self.since {
            Some(_) => {}
            None if is_on => self.since = Some(if self.off == 0 { tsc } else { self.off }),
            None => self.off = tsc,
        }
    }

    fn push(&mut self, number: u64, vcpu: u32, record: &Record<'_>) {
        let Self { records, since, has_gone, .. } = self;
        // What was there at the beginning may be older than what the tables said then.
        let known = since.unwrap_or(if self.off == 0 { record.tsc() } else { self.off });
        let mut from = if *has_gone { known } else { known.min(record.tsc()) };
        records.push_over(number, vcpu, record, |gone| {
            *has_gone = true;
            from = from.max(gone.record.tsc());
        });
        *since = Some(from);
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether there were more, which had to make room.
    pub(super) fn has_gone(&self) -> bool {
        self.has_gone
    }

    /// What of a window all is known of: figures of different threads and locks have to be of the same time. `None` where that is nothing.
    pub(super) fn known(&self, window: Window) -> Option<Window> {
        let begin = window.begin.max(self.since.unwrap_or(0));
        (begin <= window.end).then_some(Window { begin, ..window })
    }

    /// Hands out the records of a window.
    pub(super) fn each(&self, window: Window, mut each: impl FnMut(u32, &Record<'_>)) {
        self.records.oldest_first(|kept| {
            if (window.begin..=window.end).contains(&kept.record.tsc()) {
                each(kept.vcpu, &kept.record);
            }
        });
    }
}
