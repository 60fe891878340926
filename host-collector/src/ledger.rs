//! The account of a whole session: which records came, which were lost and why, and what the profiling cost.
//!
//! A [`Ledger`] is fed with messages. It does not know whether they come from a guest that runs or from a recording.

use std::collections::BTreeMap;

use uniprof_wire::{
    record::{CLASSES, Class, Record},
    ring::Counters,
};

use crate::{
    accounting::{RingAccount, RingBlock, Tally},
    recording::{Body, Message, RingCounters, RingId},
    tables::Tables,
};

/// Accounts of all rings, over all boots of the guest that were seen.
#[derive(Debug, Default)]
pub struct Ledger {
    session: u32,
    tables: Option<Tables>,
    first_tables: Option<Tables>,
    rings: BTreeMap<RingId, Open>,
    /// Accounts of boots that are over.
    closed: BTreeMap<RingId, [Tally; CLASSES]>,
    /// Messages that made no sense: a block before any region, say.
    unplaced: u64,
}

#[derive(Debug)]
struct Open {
    account: RingAccount,
    settled: bool,
}

impl Ledger {
    /// An account of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next message; its records are handed to `each`.
    pub fn feed(&mut self, message: &Message<'_>, mut each: impl FnMut(RingId, Record<'_>)) {
        match &message.body {
            Body::Region { bytes, .. } => self.region(message.session, bytes),
            Body::Block { ring, start, sealed, words } => match self.open(*ring) {
                Some(open) => {
                    let block = RingBlock { start: *start, words, sealed: *sealed };
                    open.account.block(block, |record| each(*ring, record));
                }
                None => self.unplaced += 1,
            },
            Body::Counters(counters) => self.counters(counters),
            Body::Clock(_) | Body::Console { .. } | Body::End(_) => {}
        }
    }

    /// The latest copy of the region's tables.
    #[must_use]
    pub const fn tables(&self) -> Option<&Tables> {
        self.tables.as_ref()
    }

    /// The first copy of the region's tables, of the same boot: what is counted since the guest's start is counted from here.
    #[must_use]
    pub const fn first_tables(&self) -> Option<&Tables> {
        self.first_tables.as_ref()
    }

    /// What became of each ring's records, by class in the order of [`Class::ALL`].
    #[must_use]
    pub fn rings(&self) -> BTreeMap<RingId, [Tally; CLASSES]> {
        let mut sums = self.closed.clone();
        for (ring, open) in &self.rings {
            add(sums.entry(*ring).or_default(), open.account.tallies());
        }
        sums
    }

    /// What became of the records of one class, over all rings.
    #[must_use]
    pub fn class(&self, class: Class) -> Tally {
        let mut sum = Tally::default();
        for tallies in self.rings().values() {
            sum += tallies[class as usize];
        }
        sum
    }

    /// What became of all records.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.rings().values().flatten() {
            sum += *tally;
        }
        sum
    }

    /// Rings whose account has not been closed: records that were lost at the very end are not counted in them.
    pub fn unsettled(&self) -> impl Iterator<Item = RingId> {
        self.rings.iter().filter(|(_, open)| !open.settled).map(|(ring, _)| *ring)
    }

    /// Messages that could not be placed, because the one that introduces their ring is missing.
    #[must_use]
    pub const fn unplaced(&self) -> u64 {
        self.unplaced
    }

    fn region(&mut self, session: u32, bytes: &[u8]) {
        let Ok(tables) = Tables::parse(bytes) else {
            self.unplaced += 1;
            return;
        };
        let same = self.tables.as_ref().is_some_and(|known| known.header.boot_id == tables.header.boot_id);
        if session != self.session || !same {
            for (ring, open) in std::mem::take(&mut self.rings) {
                add(self.closed.entry(ring).or_default(), open.account.tallies());
            }
            self.first_tables = Some(tables.clone());
        }
        self.session = session;
        self.tables = Some(tables);
    }

    fn counters(&mut self, counters: &RingCounters<'_>) {
        let known = Counters { head: counters.head, refused: counters.refused };
        if counters.last {
            match self.open(counters.ring) {
                Some(open) => {
                    open.account.settle(&known, &counters.slots);
                    open.settled = true;
                }
                None => self.unplaced += 1,
            }
        } else if let Some(tables) = &self.tables {
            let account = RingAccount::from_here(
                tables.geometry().ring(),
                tables.header.salt(),
                &known,
                &counters.slots,
            );
            self.rings.insert(counters.ring, Open { account, settled: false });
        } else {
            self.unplaced += 1;
        }
    }

    fn open(&mut self, ring: RingId) -> Option<&mut Open> {
        let tables = self.tables.as_ref()?;
        if u32::from(ring.vcpu) >= tables.geometry().vcpus() {
            return None;
        }
        Some(self.rings.entry(ring).or_insert_with(|| Open {
            account: RingAccount::from_boot(tables.geometry().ring(), tables.header.salt()),
            settled: false,
        }))
    }
}

fn add(sums: &mut [Tally; CLASSES], tallies: &[Tally; CLASSES]) {
    for (sum, tally) in sums.iter_mut().zip(tallies) {
        *sum += *tally;
    }
}
