//! All that is kept of a guest while somebody looks at it: aggregates, and the last minutes. Whatever the guest does, it takes no more than a
//! fixed amount of memory.

use uniprof_collector::allocator;
use uniprof_collector::clock::Looks;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_collector::recording::{Body, Message, SessionInfo};
use uniprof_collector::tables::Tables;
use uniprof_events::Guest;
use uniprof_wire::record::Record;
use uniprof_wire::tables::{CrashRecord, Slot};

use super::clock::Clock;
use super::events::Events;
use super::history::History;
use super::keep::Keep;
use super::stacks::StackSums;
use super::waits::Kept;
use crate::profile::images::Images;
use crate::profile::load::Puzzle;
use crate::sites::Sites;

/// Names of threads that are kept; more than a guest's table has.
const MOST_NAMES: usize = 4096;
/// Looks at the guest's clock that are kept: those of five minutes, and every other of before.
const MOST_PAIRS: usize = 8192;
/// Addresses whose names are kept: 5 MB. To look one up again costs a fraction of a microsecond.
const MOST_ADDRESSES: usize = 1 << 14;
/// More than tables, looks at the clock and names take.
const FIXED_BYTES: usize = 1 << 20;

/// What is kept.
pub(super) struct Model {
    pub(super) session: SessionInfo,
    pub(super) ledger: Ledger,
    pub(super) images: Images,
    pub(super) events: Events,
    pub(super) seen: Seen,
    /// The guest's clock against the host's.
    pub(super) looks: Looks,
    /// What came last, of a guest that runs.
    pub(super) keep: Option<Keep>,
    /// Whether it has ended, as far as is known: its last quarter of a second, too, is over then.
    pub(super) is_over: bool,
    puzzle: Puzzle,
}

/// What is kept of one boot of the guest.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) clock: Clock,
    pub(super) stacks: StackSums,
    pub(super) history: History,
    /// Its clock again, and names of threads, those that have ended among them.
    pub(super) guest: Guest,
    pub(super) crash: Option<CrashRecord>,
    pub(super) waits: Kept,
}

/// All that has come of messages up to one of them.
pub(super) struct State {
    ledger: Ledger,
    events: Events,
    seen: Seen,
    looks: Looks,
}

impl State {
    /// About as many bytes as it takes.
    pub(super) fn bytes(&self) -> usize {
        let Seen { stacks, waits, .. } = &self.seen;
        FIXED_BYTES + stacks.bytes() + waits.bytes() + self.events.bytes()
    }
}

impl Model {
    /// Of a guest of which nothing has come yet.
    pub(super) fn new(session: SessionInfo, mut images: Images) -> Self {
        // Pictures come and go.
        allocator::give_back_early();
        images.keep_at_most(MOST_ADDRESSES);
        let clock = Clock { tsc_hz: session.tsc_hz, ..Clock::default() };
        let sites = Sites::of(images.symbolizers().map(|(_, symbolizer)| &**symbolizer.image()));
        let events = Events::new(sites);
        let seen = Seen { clock, ..Seen::default() };
        let looks = Looks::new(session.guest_started_ns);
        Self {
            session,
            ledger: Ledger::new(),
            images,
            events,
            seen,
            looks,
            keep: None,
            is_over: false,
            puzzle: Puzzle::default(),
        }
    }

    /// Takes a message in.
    pub(super) fn feed(&mut self, message: &Message<'_>) {
        let Self { ledger, images, events, seen, looks, keep, puzzle, .. } = self;
        looks.feed(message);
        looks.bound(MOST_PAIRS);
        keep.iter_mut().for_each(|keep| keep.make_room(ledger));
        let restarts = ledger.restarts();
        match &message.body {
            Body::Clock(pair) => seen.clock.take_pair(pair),
            Body::Heap(words) => seen.waits.look(seen.clock.now, LiveBlocks::from_words(words)),
            Body::Region { .. } => {
                ledger.feed(message, |_, _| {});
                // The clock may have begun anew: what was, has no place any more.
                if ledger.restarts() != restarts {
                    *seen = Seen::default();
                    events.restart();
                    keep.iter_mut().for_each(|keep| *keep = Keep::default());
                }
                if let Some(tables) = ledger.tables() {
                    seen.clock.take_tables(tables);
                    seen.take_tables(tables, ledger);
                }
            }
            _ => ledger.feed(message, |ring, record| {
                seen.record(ring.vcpu.into(), &record, &mut Way { puzzle, images, events });
            }),
        }
        keep.iter_mut().for_each(|keep| keep.take(message, seen.clock.now));
    }

    /// The latest sign of life of that vCPU which has shown none for the longest.
    pub(super) fn life(&self) -> u64 {
        let vcpus = self.ledger.tables().into_iter().flat_map(|tables| &tables.vcpus);
        let beats = vcpus.filter(|vcpu| vcpu.online != 0).map(|vcpu| vcpu.heartbeat);
        beats.min().unwrap_or(self.seen.clock.life)
    }

    /// Takes a record in that a ring held.
    #[cfg(test)]
    pub(super) fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        let Self { images, events, seen, puzzle, .. } = self;
        seen.record(vcpu, record, &mut Way { puzzle, images, events });
    }

    /// Everything is to come again from the beginning.
    pub(super) fn restart(&mut self) {
        self.ledger = Ledger::new();
        self.looks = Looks::new(self.session.guest_started_ns);
        self.events.restart();
        self.seen =
            Seen { clock: Clock { tsc_hz: self.session.tsc_hz, ..Clock::default() }, ..Seen::default() };
    }

    /// What has come so far.
    pub(super) fn state(&self) -> State {
        State {
            ledger: self.ledger.clone(),
            events: self.events.copy(),
            seen: self.seen.clone(),
            looks: self.looks.clone(),
        }
    }

    /// No more has come than then.
    pub(super) fn restore(&mut self, state: &State) {
        (self.ledger, self.seen, self.looks) =
            (state.ledger.clone(), state.seen.clone(), state.looks.clone());
        self.events.restore(&state.events, &self.seen.guest);
    }

    /// Messages are missing between the last and the next.
    pub(super) fn gap(&mut self) {
        self.ledger.gap();
    }
}

/// What a record goes through on its way.
struct Way<'a> {
    puzzle: &'a mut Puzzle,
    images: &'a mut Images,
    events: &'a mut Events,
}

impl Seen {
    fn record(&mut self, vcpu: u32, record: &Record<'_>, way: &mut Way<'_>) {
        let tsc = self.clock.take_record(record.tsc());
        let quarter = self.clock.quarter(tsc);
        if let Some(sample) = way.puzzle.piece_together(record, way.images) {
            self.history.count(quarter, true);
            self.stacks.add(quarter, sample.key(vcpu), sample.frames, sample.amount());
            return;
        }
        self.history.count(quarter, false);
        if let Record::Thread(thread) = record {
            self.name(thread.thread, thread.name.bytes());
        }
        self.waits.record(vcpu, record);
        way.events.record(quarter, vcpu, record, &self.guest);
    }

    fn take_tables(&mut self, tables: &Tables, ledger: &Ledger) {
        (self.guest.boot_tsc, self.guest.tsc_hz) = (self.clock.boot_tsc, self.clock.tsc_hz);
        for entry in tables.threads.iter().filter_map(|slot| slot.entry()) {
            self.name(entry.id, entry.name.bytes().iter().copied());
        }
        let crashes = tables.crashes.iter().filter_map(|slot| match slot {
            Slot::Whole(crash) => Some(*crash),
            _ => None,
        });
        self.crash = self.crash.or(crashes.min_by_key(|crash| crash.tsc));
        self.waits.take_tables(tables);
        self.history.take(tables, self.clock.quarter(self.clock.now), ledger);
    }

    fn name(&mut self, thread: u32, name: impl Iterator<Item = u8>) {
        let name: Vec<u8> = name.collect();
        let threads = &mut self.guest.threads;
        if !name.is_empty() && (threads.len() < MOST_NAMES || threads.contains_key(&thread)) {
            threads.insert(thread, String::from_utf8_lossy(&name).into_owned());
        }
    }
}
