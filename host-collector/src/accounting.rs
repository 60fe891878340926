//! What became of every record: received, or lost, and by which cause.
//!
//! Nothing here is guessed from the other figures. The guest counts, per ring slot and class, what it
//! committed, and per class what it refused; the reader counts what it decoded. Each time a slot's counters are known
//! (at the end of a sub-buffer, or when the ring stood still), the two are compared:
//!
//! ```text
//!   committed since last time − decoded since last time = 0           nothing lost
//!                                                       > 0, words were skipped     overwritten
//!                                                         where the recording       unreadable
//!                                                         has a gap
//!                                                       > 0, words were damaged     discarded
//!                                                       > 0, neither, or < 0        guest inconsistent
//! ```
//!
//! The same calls in the same order make the same figures, live or from a recording: there is one path.

use uniprof_wire::record::{BadRecord, CLASSES, Class, Record, Records};
use uniprof_wire::ring::{Counters, RingGeometry};

/// What became of the records of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decoded by the reader.
    pub received: u64,
    /// Committed, and overwritten before the reader came.
    pub overwritten: u64,
    /// Refused by the guest, because they would have lapped an unfinished write.
    pub refused: u64,
    /// Damaged in the ring.
    pub discarded: u64,
    /// Begun and never finished.
    pub abandoned: u64,
    /// Read from the guest, or overwritten before: they belong where messages of the recording are missing.
    pub unreadable: u64,
    /// Differences that no honest guest makes: its counters and its records contradict each other.
    pub inconsistent: u64,
}

impl Tally {
    /// Records that the guest set out to write.
    #[must_use]
    pub const fn emitted(&self) -> u64 {
        self.received.saturating_add(self.lost())
    }

    /// Records that were emitted and not received.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.overwritten
            .saturating_add(self.refused)
            .saturating_add(self.discarded)
            .saturating_add(self.abandoned)
            .saturating_add(self.unreadable)
    }

    /// Every cause of loss with its name.
    #[must_use]
    pub const fn causes(&self) -> [(&'static str, u64); 5] {
        [
            ("overwritten", self.overwritten),
            ("refused", self.refused),
            ("discarded", self.discarded),
            ("abandoned", self.abandoned),
            ("unreadable", self.unreadable),
        ]
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        // A hostile recording can bring any number of hostile sums.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.received, other.received);
        add(&mut self.overwritten, other.overwritten);
        add(&mut self.refused, other.refused);
        add(&mut self.discarded, other.discarded);
        add(&mut self.abandoned, other.abandoned);
        add(&mut self.unreadable, other.unreadable);
        add(&mut self.inconsistent, other.inconsistent);
    }
}

/// A copied piece of a ring, from a live guest or a recording.
#[derive(Clone, Copy, Debug)]
pub struct RingBlock<'a> {
    /// Position of its first word.
    pub start: u64,
    /// Its words.
    pub words: &'a [u64],
    /// Counters of its slot, when it reaches to the end of its sub-buffer.
    pub sealed: Option<[u64; CLASSES]>,
}

/// What is known of one slot since its counters were last known.
#[derive(Clone, Debug)]
struct Slot {
    /// `None`: what the guest had counted when reading began is not known.
    counted: Option<[u64; CLASSES]>,
    decoded: [u64; CLASSES],
    skipped: bool,
    damaged: bool,
    unreadable: bool,
}

impl Slot {
    const fn since(counted: Option<[u64; CLASSES]>) -> Self {
        Self { counted, decoded: [0; CLASSES], skipped: false, damaged: false, unreadable: false }
    }
}

/// The account of one ring.
#[derive(Clone, Debug)]
pub struct RingAccount {
    geometry: RingGeometry,
    salt: u32,
    position: u64,
    slots: Vec<Slot>,
    refused_before: Option<[u64; CLASSES]>,
    /// Whether messages are missing since the last block.
    gap: bool,
    tallies: [Tally; CLASSES],
}

impl RingAccount {
    /// The account of a ring that is read from the guest's start on.
    #[must_use]
    pub fn from_boot(geometry: RingGeometry, salt: u32) -> Self {
        Self::starting(geometry, salt, Some([0; CLASSES]))
    }

    /// The account of a ring of which the recording has lost where reading began: each slot counts from the first time that
    /// its counters are known.
    #[must_use]
    pub fn from_unknown(geometry: RingGeometry, salt: u32) -> Self {
        Self::starting(geometry, salt, None)
    }

    fn starting(geometry: RingGeometry, salt: u32, counted: Option<[u64; CLASSES]>) -> Self {
        Self {
            geometry,
            salt,
            position: 0,
            slots: vec![Slot::since(counted); geometry.slots()],
            refused_before: counted,
            gap: false,
            tallies: [Tally::default(); CLASSES],
        }
    }

    /// The account of a ring that is read from `counters.head` on: what came before does not count. `slots` are
    /// the slot counters of that moment, [`CLASSES`] words each.
    #[must_use]
    pub fn from_here(geometry: RingGeometry, salt: u32, counters: &Counters, slots: &[u64]) -> Self {
        let mut account = Self::from_boot(geometry, salt);
        account.position = counters.head;
        account.refused_before = Some(counters.refused);
        for (slot, counted) in account.slots.iter_mut().zip(slots.as_chunks().0) {
            slot.counted = Some(*counted);
        }
        account
    }

    /// What an account that goes on from here has to begin with, for [`RingAccount::from_here`]; and whether all of the ring up to here has come.
    ///
    /// What became of words that did not come is found out at the next comparison. For an account that takes place after this point to call that
    /// a loss, too, its beginning lies a lap before, so that they are skipped again.
    #[must_use]
    pub fn here(&self) -> (Counters, Vec<u64>, bool) {
        let is_whole = self
            .slots
            .iter()
            .all(|slot| slot.counted.is_some() && !(slot.skipped || slot.damaged || slot.unreadable));
        let head = match is_whole && !self.gap {
            true => self.position,
            false => self.position.saturating_sub(self.geometry.ring_words() as u64),
        };
        let mut refused = self.refused_before.unwrap_or_default();
        for (refused, tally) in refused.iter_mut().zip(&self.tallies) {
            *refused = refused.wrapping_add(tally.refused);
        }
        let counted = |slot: &Slot| {
            let mut counted = slot.counted.unwrap_or_default();
            counted.iter_mut().zip(slot.decoded).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
            counted
        };
        (Counters { head, refused }, self.slots.iter().flat_map(counted).collect(), is_whole && !self.gap)
    }

    /// Where the next block is expected to start.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// What became of the records of each class, in the order of [`Class::ALL`].
    #[must_use]
    pub const fn tallies(&self) -> &[Tally; CLASSES] {
        &self.tallies
    }

    /// Says that messages are missing here. Words between the last block and the next count as unreadable.
    pub fn gap(&mut self) {
        self.gap = true;
    }

    /// Takes in the next block and hands its records to `each`. A block that does not start where the last
    /// one ended tells of words that were missed; one that lies behind is ignored.
    pub fn block(&mut self, block: RingBlock<'_>, mut each: impl FnMut(Record<'_>)) {
        if block.start < self.position {
            return;
        }
        self.skip_to(block.start);
        let slot = self.geometry.slot_of(block.start);
        for found in Records::new(block.words, block.start, self.salt) {
            match found.record {
                Ok(record) => {
                    let class = record.kind().class() as usize;
                    self.slots[slot].decoded[class] += 1;
                    self.tallies[class].received += 1;
                    each(record);
                }
                Err(BadRecord::Abandoned(class)) => self.tallies[class as usize].abandoned += 1,
                Err(_) => self.slots[slot].damaged = true,
            }
        }
        self.position = block.start.saturating_add(block.words.len() as u64);
        if let Some(counters) = block.sealed {
            self.compare(slot, counters);
        }
    }

    /// Takes in all counters of the ring at a moment when nobody was writing: at the end, after every block
    /// below `counters.head`. Words between the last block and the head count as overwritten.
    pub fn settle(&mut self, counters: &Counters, slots: &[u64]) {
        self.skip_to(counters.head);
        for (slot, counted) in slots.as_chunks().0.iter().enumerate().take(self.slots.len()) {
            self.compare(slot, *counted);
        }
        for class in Class::ALL.map(|class| class as usize) {
            let Some(before) = self.refused_before else { continue };
            match counters.refused[class].wrapping_sub(before[class]) {
                refused if refused <= MOST_PER_COMPARISON => self.tallies[class].refused = refused,
                _ => self.tallies[class].inconsistent += 1,
            }
        }
    }

    fn skip_to(&mut self, position: u64) {
        let sub_buffer = self.geometry.sub_buffer_words() as u64;
        let missed = position.saturating_sub(self.position);
        let gap = std::mem::take(&mut self.gap);
        if missed == 0 {
            return;
        }
        let first = self.geometry.sub_buffer_start(self.position);
        let slots = (position - first).div_ceil(sub_buffer).min(self.slots.len() as u64);
        for i in 0..slots {
            let slot = self.geometry.slot_of(first + i * sub_buffer);
            self.slots[slot].skipped |= !gap;
            self.slots[slot].unreadable |= gap;
        }
        self.position = position;
    }

    /// Compares what the guest counted for a slot with what was decoded from it, and starts anew.
    fn compare(&mut self, slot: usize, counted: [u64; CLASSES]) {
        let known = std::mem::replace(&mut self.slots[slot], Slot::since(Some(counted)));
        let Some(before) = known.counted else { return };
        for (class, tally) in self.tallies.iter_mut().enumerate() {
            let committed = counted[class].wrapping_sub(before[class]);
            let mut sum = Tally::default();
            match committed.checked_sub(known.decoded[class]) {
                Some(0) => continue,
                // Several causes may have met in one lap. What nobody saw is told before what was seen to be damaged.
                Some(lost) if lost <= MOST_PER_COMPARISON && known.unreadable => sum.unreadable = lost,
                Some(lost) if lost <= MOST_PER_COMPARISON && known.skipped => sum.overwritten = lost,
                Some(lost) if lost <= MOST_PER_COMPARISON && known.damaged => sum.discarded = lost,
                Some(_) => sum.inconsistent = 1,
                None => sum.inconsistent = known.decoded[class] - committed,
            }
            *tally += sum;
        }
    }
}

/// More records than this between two looks at a slot is not counted but called inconsistent: a guest that writes one
/// each nanosecond needs 35 years. Keeps the sums of a hostile guest from overflowing.
const MOST_PER_COMPARISON: u64 = 1 << 60 >> 12;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use uniprof_wire::record::EventRecord;
    use uniprof_wire::ring::{Block, Source, Writer, WriterWords, read_block, read_counters};

    use super::*;

    const SALT: u32 = 77;

    /// A ring, its writer's own count, and a reader that keeps the account.
    struct Bench {
        geometry: RingGeometry,
        memory: Vec<Cell<u64>>,
        written: u64,
        account: RingAccount,
        seen: u64,
    }

    impl Bench {
        fn new() -> Self {
            let geometry = RingGeometry::new(256, 32);
            let memory = vec![Cell::new(0); geometry.total_words()];
            Writer::new(&memory[..], geometry, SALT).format();
            let account = RingAccount::from_boot(geometry, SALT);
            Self { geometry, memory, written: 0, account, seen: 0 }
        }

        fn write(&mut self, records: usize, args: usize) {
            let writer = Writer::new(&self.memory[..], self.geometry, SALT);
            let args = &[5; 8][..args];
            for _ in 0..records {
                let event = EventRecord { tsc: self.written, site: 0, thread: 0, args };
                writer.write_record(&Record::Event(event)).unwrap();
                self.written += 1;
            }
        }

        fn read(&mut self, blocks: usize) {
            let mut out = vec![0; self.geometry.sub_buffer_words()];
            let mut position = self.account.position();
            for _ in 0..blocks {
                match read_block(&&self.memory[..], self.geometry, Source::Live, position, &mut out) {
                    Block::Copied { start, end, sealed } => {
                        let words = &out[..(end - start) as usize];
                        self.account.block(RingBlock { start, words, sealed }, |_| self.seen += 1);
                        position = end;
                    }
                    Block::Overrun { resume } => position = resume,
                    Block::Empty => return,
                    Block::ImplausibleHead { head } => panic!("{head}"),
                }
            }
        }

        fn settle(&mut self) -> Tally {
            self.read(100);
            let mut slots = vec![0; self.geometry.slots() * CLASSES];
            let counters =
                read_counters(&&self.memory[..], self.geometry, Source::Live, 1, &mut slots).unwrap();
            self.account.settle(&counters, &slots);
            self.account.tallies()[Class::Event as usize]
        }
    }

    proptest! {
        #[test]
        fn every_record_is_accounted_for(
            steps in proptest::collection::vec((0usize..60, 0usize..8, 0usize..12), 1..40),
        ) {
            let mut bench = Bench::new();
            for (records, args, blocks) in steps {
                bench.write(records, args);
                bench.read(blocks);
            }
            let tally = bench.settle();
            prop_assert_eq!(tally.emitted(), bench.written);
            prop_assert_eq!(tally.received, bench.seen);
            prop_assert_eq!(tally.overwritten, bench.written - bench.seen);
            prop_assert_eq!((tally.discarded, tally.abandoned, tally.inconsistent), (0, 0, 0));
        }
    }

    #[test]
    fn a_late_reader_counts_from_where_it_came() {
        let mut bench = Bench::new();
        bench.write(100, 2);
        let mut slots = vec![0; bench.geometry.slots() * CLASSES];
        let counters =
            read_counters(&&bench.memory[..], bench.geometry, Source::Live, 1, &mut slots).unwrap();
        bench.account = RingAccount::from_here(bench.geometry, SALT, &counters, &slots);
        bench.write(10, 2);
        let tally = bench.settle();
        assert_eq!((tally.emitted(), tally.received), (10, 10));
    }

    #[test]
    fn damage_is_discarded_not_overwritten() {
        let mut bench = Bench::new();
        bench.write(20, 2);
        bench.memory[bench.geometry.word_of(5)].set(0xbad);
        let tally = bench.settle();
        assert_eq!(tally.emitted(), 20);
        assert_eq!((tally.discarded, tally.overwritten, tally.inconsistent), (1, 0, 0), "{tally:?}");
    }

    #[test]
    fn counters_that_lie_are_called_inconsistent() {
        let mut bench = Bench::new();
        bench.write(4, 2);
        let slot = bench.geometry.counters_of(0) + Class::Event as usize;
        bench.memory[..].store(slot, 3);
        assert!(bench.settle().inconsistent > 0);
        let mut bench = Bench::new();
        bench.write(4, 2);
        bench.memory[..].store(slot, u64::MAX / 2);
        let tally = bench.settle();
        assert!(tally.inconsistent > 0 && tally.received == 4 && tally.overwritten == 0);
    }

    #[test]
    fn refused_counters_that_lie_do_not_overflow_the_sums() {
        let mut bench = Bench::new();
        bench.write(4, 2);
        bench.read(100);
        let counters = Counters { head: bench.account.position(), refused: [u64::MAX; CLASSES] };
        bench.account.settle(&counters, &[]);
        let tally = bench.account.tallies()[Class::Event as usize];
        assert_eq!((tally.refused, tally.inconsistent, tally.emitted()), (0, 1, 4));
    }

    #[test]
    fn what_lies_in_a_gap_of_the_recording_is_unreadable_not_overwritten() {
        let mut bench = Bench::new();
        bench.write(10, 2);
        bench.read(100);
        bench.write(10, 2);
        let mut live = bench.account.clone();
        std::mem::swap(&mut live, &mut bench.account);
        bench.read(100);
        // The blocks of the second ten are lost; the account goes on after them.
        bench.account = live;
        bench.account.gap();
        bench.account.skip_to(bench.account.position() + 50);
        let tally = bench.settle();
        assert_eq!((tally.emitted(), tally.unreadable, tally.overwritten), (20, 10, 0), "{tally:?}");
    }

    #[test]
    fn an_account_without_a_beginning_counts_from_the_first_known_counters() {
        let mut bench = Bench::new();
        bench.write(1000, 2);
        bench.read(100);
        bench.account = RingAccount::from_unknown(bench.geometry, SALT);
        bench.write(1, 2);
        bench.settle();
        let tally = bench.account.tallies()[Class::Event as usize];
        assert_eq!((tally.lost(), tally.inconsistent), (0, 0), "{tally:?}");
    }
}
