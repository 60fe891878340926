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
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    session: u32,
    tables: Option<Tables>,
    first_tables: Option<Tables>,
    rings: BTreeMap<RingId, Open>,
    /// Accounts of boots that are over.
    closed: BTreeMap<RingId, [Tally; CLASSES]>,
    restarts: u32,
    /// Whether a block has been seen.
    begun: bool,
    gaps: Gaps,
    /// Messages that made no sense: a block before any region, say.
    unplaced: u64,
}

/// What is missing of this boot's messages.
#[derive(Clone, Debug, Default)]
struct Gaps {
    /// Anything at all.
    any: bool,
    /// Something since the last copy of the tables; the next boot may have begun there.
    recent: bool,
    /// Something before the first block, so perhaps the counters that reading began with.
    beginning: bool,
}

#[derive(Clone, Debug)]
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
            // The tables that tell the geometry and the salt of its boot are missing.
            Body::Block { .. } | Body::Counters(_) if message.session != self.session => self.unplaced += 1,
            Body::Block { ring, start, sealed, words } => {
                self.begun = true;
                match self.open(*ring) {
                    Some(open) => {
                        let block = RingBlock { start: *start, words, sealed: *sealed };
                        open.account.block(block, |record| each(*ring, record));
                    }
                    None => self.unplaced += 1,
                }
            }
            Body::Counters(counters) => self.counters(counters),
            Body::Clock(_)
            | Body::Console { .. }
            | Body::End(_)
            | Body::Histograms(_)
            | Body::Heap(_)
            | Body::Network(_) => {}
        }
    }

    /// Says that messages are missing between the last one and the next: what they held counts as unreadable, not as
    /// overwritten by the guest.
    pub fn gap(&mut self) {
        self.gaps = Gaps { any: true, recent: true, beginning: self.gaps.beginning || !self.begun };
        for open in self.rings.values_mut() {
            open.account.gap();
        }
    }

    /// How often the guest set up its region anew. What it lost just before is in no figure.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
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

    /// What a recording that begins here has to tell of each ring first, so that what came before does not count in it; and whether all of the ring up
    /// to here has come. Rings of which nothing has come are read from the guest's start.
    pub fn beginnings(&self) -> impl Iterator<Item = (RingCounters<'static>, bool)> {
        self.rings.iter().map(|(&ring, open)| {
            let (Counters { head, refused }, slots, is_whole) = open.account.here();
            (RingCounters { ring, head, last: false, refused, slots: slots.into() }, is_whole)
        })
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
                self.close(ring, &open);
            }
            self.first_tables = Some(tables.clone());
            if self.tables.is_some() {
                self.restarts = self.restarts.saturating_add(1);
                // Every boot but the first is read from its start.
                self.gaps = Gaps { any: self.gaps.recent, ..Gaps::default() };
            }
        }
        self.gaps.recent = false;
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
        } else if let Some(tables) = self.tables_of(counters.ring) {
            let account = RingAccount::from_here(
                tables.geometry().ring(),
                tables.header.salt(),
                &known,
                &counters.slots,
            );
            if let Some(before) = self.rings.insert(counters.ring, Open { account, settled: false }) {
                self.close(counters.ring, &before);
            }
        } else {
            self.unplaced += 1;
        }
    }

    fn close(&mut self, ring: RingId, open: &Open) {
        add(self.closed.entry(ring).or_default(), open.account.tallies());
    }

    /// The tables, if the guest has that ring.
    fn tables_of(&self, ring: RingId) -> Option<&Tables> {
        self.tables.as_ref().filter(|tables| u32::from(ring.vcpu) < tables.geometry().vcpus())
    }

    fn open(&mut self, ring: RingId) -> Option<&mut Open> {
        if !self.rings.contains_key(&ring) {
            let tables = self.tables_of(ring)?;
            let (geometry, salt) = (tables.geometry().ring(), tables.header.salt());
            let mut account = if self.gaps.beginning {
                RingAccount::from_unknown(geometry, salt)
            } else {
                RingAccount::from_boot(geometry, salt)
            };
            if self.gaps.any {
                account.gap();
            }
            self.rings.insert(ring, Open { account, settled: false });
        }
        self.rings.get_mut(&ring)
    }
}

fn add(sums: &mut [Tally; CLASSES], tallies: &[Tally; CLASSES]) {
    for (sum, tally) in sums.iter_mut().zip(tallies) {
        *sum += *tally;
    }
}
