//! Emptying the rings of a guest: copies what is new, block by block, and disturbs nothing.
//!
//! Geometry is taken from a header that has been validated once and is never read again; the boot id is looked at after
//! every copy, because another one means that a new boot has formatted the region under the reader. What was copied then is
//! thrown away.

use std::{
    borrow::Cow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use uniprof_wire::{
    layout::{MAGIC, RingKind},
    record::CLASSES,
    ring::{self, Block, Counters, ReaderWords, Source},
    tables::{VCPU_WORDS, VcpuField},
};

use crate::{
    clock::HostTime,
    histograms::Histograms,
    live_blocks::LiveBlocks,
    memory::{FoundRegion, GuestMemory, MemoryError, Window},
    network::Network,
    recording::{Body, ClockPair, Message, RingCounters, RingId},
};

mod watch;

use watch::Clock;

/// Word of the header page that holds the boot id.
const BOOT_ID_WORD: usize = 2;
/// Tries to find a moment at which a running guest does not write.
const COUNTER_ATTEMPTS: usize = 1 << 14;
/// Times that one ring may overrun us in a round.
const MAX_OVERRUNS: u64 = 4;
/// How long the first sign of life is looked for at a time.
const FIRST_LOOKS: Duration = Duration::from_millis(2);
/// How often the network is told between the two ends of a recording.
const NETWORK_EVERY: Duration = Duration::from_secs(10);
/// Shortest and longest pause between two rounds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// The words of one ring in guest memory. Where the process that has them is gone they read as zeros: then the region has no magic either,
/// and whoever read them finds that out before using them.
#[derive(Clone, Copy)]
struct RingWords<'a> {
    window: &'a Window,
    first: usize,
}

impl ReaderWords for RingWords<'_> {
    fn load(&self, index: usize) -> u64 {
        // Rust allows only relaxed loads of read-only memory; the fence in it makes it an acquire load.
        self.window.load_acquire(self.first + index).unwrap_or(0)
    }

    fn copy(&self, index: usize, out: &mut [u64]) {
        if !self.window.copy(self.first + index, out) {
            out.fill(0);
        }
    }
}

/// What a round of reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Bytes that were copied.
    pub bytes: u64,
    /// How much of the fullest ring that was, in 1/256 of the ring.
    pub fill: u32,
    /// Blocks that had been overwritten before they were read.
    pub overruns: u64,
    /// The boot id has changed: attach anew.
    pub rebooted: bool,
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the guest's start: what has been overwritten since counts as lost.
    Boot,
    /// At what is new.
    Now,
}

/// A reader of all rings of one region.
pub struct Drainer {
    memory: Arc<dyn GuestMemory>,
    region: FoundRegion,
    window: Window,
    session: u32,
    rings: Vec<Ring>,
    block: Vec<u64>,
    clock: Clock,
    /// The histograms as they were told last.
    histograms: Option<Histograms>,
    /// When the network was told last.
    network: Option<Instant>,
}

struct Ring {
    id: RingId,
    /// First word of the ring in the window.
    first: usize,
    position: u64,
    /// A head that no honest guest has: the ring is not read any more.
    implausible: Option<u64>,
}

impl Drainer {
    /// Begins to read `region`, which [`crate::memory::find_region`] has found. Every message will carry `session`.
    pub fn attach(
        memory: Arc<dyn GuestMemory>,
        region: FoundRegion,
        session: u32,
    ) -> Result<Self, MemoryError> {
        let geometry = region.header.geometry;
        let window = memory.window(region.at, geometry.region_bytes() as u64)?;
        let rings = (0..geometry.vcpus())
            .flat_map(|vcpu| RingKind::ALL.map(|kind| (vcpu, kind)))
            .map(|(vcpu, kind)| Ring {
                id: RingId { vcpu: vcpu as u16, kind },
                first: geometry.ring_offset(vcpu, kind) / 8,
                position: 0,
                implausible: None,
            })
            .collect();
        let block = vec![0; geometry.ring().sub_buffer_words()];
        let clock = Clock::new(region.header.tsc_hz);
        Ok(Self { memory, region, window, session, rings, block, clock, histograms: None, network: None })
    }

    /// The region that is read.
    #[must_use]
    pub const fn region(&self) -> &FoundRegion {
        &self.region
    }

    /// Number of the guest's boot within the recording.
    #[must_use]
    pub const fn session(&self) -> u32 {
        self.session
    }

    /// Rings that are not read any more, and the head that they showed.
    pub fn implausible(&self) -> impl Iterator<Item = (RingId, u64)> {
        self.rings.iter().filter_map(|ring| Some((ring.id, ring.implausible?)))
    }

    /// Tells where reading begins: the snapshot of the tables, and the counters that the account starts from. Rings that are
    /// written to without pause can't be counted; they are read from the boot on.
    pub fn begin(&mut self, begin: Begin, emit: &mut impl FnMut(Message<'_>)) -> Result<(), MemoryError> {
        self.snapshot(emit)?;
        if begin == Begin::Boot {
            return Ok(());
        }
        let geometry = self.region.header.geometry.ring();
        let mut slots = vec![0; geometry.slots() * CLASSES];
        for index in 0..self.rings.len() {
            let words = self.ring_words(index);
            if let Some(counters) =
                ring::read_counters(&words, geometry, Source::Live, COUNTER_ATTEMPTS, &mut slots)
            {
                self.rings[index].position = counters.head;
                emit(self.counters(index, &counters, &slots, false));
            }
        }
        // After the rings: what is allocated from here on has a record, or is in here.
        self.blocks(emit);
        Ok(())
    }

    /// Copies the sampled blocks of the heap that are allocated now. What lacks them says less, and is a good recording.
    fn blocks(&self, emit: &mut impl FnMut(Message<'_>)) {
        let FoundRegion { at, header } = &self.region;
        if let Ok(Some(blocks)) = LiveBlocks::read(&*self.memory, *at, header.geometry)
            && self.is_same_boot()
        {
            emit(self.message(Body::Heap(blocks.to_words().into())));
        }
    }

    /// Copies interfaces and connections. What lacks them says less, and is a good recording.
    fn network(&mut self, is_last: bool, emit: &mut impl FnMut(Message<'_>)) {
        let is_first = self.network.is_none();
        self.network = Some(Instant::now());
        let FoundRegion { at, header } = &self.region;
        if let Ok(Some(network)) = Network::read(&*self.memory, *at, header.geometry)
            && self.is_same_boot()
        {
            let network = if is_first || is_last { network } else { network.without_ended() };
            emit(self.message(Body::Network(network.to_words().into())));
        }
    }

    /// Copies the header page and the tables, the histograms where they have changed, and the network now and then.
    pub fn snapshot(&mut self, emit: &mut impl FnMut(Message<'_>)) -> Result<(), MemoryError> {
        let geometry = self.region.header.geometry;
        let mut bytes = vec![0; geometry.tables_bytes()];
        self.memory.read(self.region.at, &mut bytes)?;
        let histograms = Histograms::read(&self.window, geometry);
        if !self.is_same_boot() {
            return Ok(());
        }
        emit(self.message(Body::Region { at: self.region.at, bytes: Cow::Owned(bytes) }));
        // The first look is told even if there was no value yet: it is what later ones are compared with.
        if geometry.histograms() > 0 && self.histograms.as_ref() != Some(&histograms) {
            emit(self.message(Body::Histograms(histograms.to_words().into())));
            self.histograms = Some(histograms);
        }
        if self.network.is_none_or(|told| told.elapsed() >= NETWORK_EVERY) {
            self.network(false, emit);
        }
        Ok(())
    }

    /// Reads what is new in all rings, at most one ringful of each.
    pub fn round(&mut self, source: Source, emit: &mut impl FnMut(Message<'_>)) -> Round {
        let mut round = Round::default();
        for index in 0..self.rings.len() {
            let words = self.drain(index, source, u64::MAX, &mut round, emit);
            let ring_words = self.region.header.geometry.ring().ring_words() as u64;
            round.fill = round.fill.max(u32::try_from(words * 256 / ring_words).unwrap_or(u32::MAX));
            round.bytes += words * 8;
            if round.rebooted {
                return round;
            }
        }
        self.look_at_clock(emit);
        round
    }

    /// Looks at nothing but the clock until the guest gives a sign of life, `limit` long at most.
    pub fn first_pair(&mut self, limit: Duration) -> Option<(HostTime, ClockPair)> {
        let until = Instant::now() + limit;
        let mut pair = None;
        let mut take = |message: Message<'_>| {
            if let Body::Clock(first) = message.body {
                pair = Some((message.at, first));
            }
        };
        self.look_at_clock(&mut take);
        while self.clock.wants_look(HostTime::now()).is_some() && Instant::now() < until {
            self.pause(FIRST_LOOKS, &mut take);
        }
        pair
    }

    /// Spends the time until the next round. Where a clock pair is due it is spent looking for one: how well the guest's clock is known
    /// is how closely a sign of life was seen coming.
    pub fn pause(&mut self, pause: Duration, emit: &mut impl FnMut(Message<'_>)) {
        let until = Instant::now() + pause;
        while let Some(wait) = self.clock.wants_look(HostTime::now())
            && Instant::now() + wait < until
        {
            thread::sleep(wait);
            self.look_at_clock(emit);
        }
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    /// Reads everything that is left and closes the account of each ring. Rings of a running guest are read up to a moment at
    /// which it did not write; whether one was found for all of them is returned. (Use [`Source::Dead`] for a guest that is
    /// dead or paused.)
    pub fn finish(
        &mut self,
        source: Source,
        emit: &mut impl FnMut(Message<'_>),
    ) -> Result<(Round, bool), MemoryError> {
        let geometry = self.region.header.geometry.ring();
        let mut slots = vec![0; geometry.slots() * CLASSES];
        let mut total = Round::default();
        let mut settled = true;
        for index in 0..self.rings.len() {
            // Nearly everything first, so that little is overwritten between the count and the last copy.
            total.bytes += self.drain(index, source, u64::MAX, &mut total, emit) * 8;
            let words = self.ring_words(index);
            let counters = ring::read_counters(&words, geometry, source, COUNTER_ATTEMPTS, &mut slots);
            let Some(counters) = counters.filter(|counters| counters.head <= ring::MAX_POSITION) else {
                settled = false;
                continue;
            };
            total.bytes += self.drain(index, source, counters.head, &mut total, emit) * 8;
            if total.rebooted {
                let is_gone = self.window.load(0).is_none();
                return if is_gone { Err(MemoryError::Ended) } else { Ok((total, false)) };
            }
            emit(self.counters(index, &counters, &slots, true));
        }
        self.look_at_clock(emit);
        self.tell_pairs(Clock::last, emit);
        self.blocks(emit);
        self.network(true, emit);
        self.snapshot(emit)?;
        Ok((total, settled))
    }

    /// Reads one ring up to `limit`, at most one ringful. Returns how many words.
    fn drain(
        &mut self,
        index: usize,
        source: Source,
        limit: u64,
        round: &mut Round,
        emit: &mut impl FnMut(Message<'_>),
    ) -> u64 {
        let geometry = self.region.header.geometry.ring();
        let mut copied = 0;
        let mut overruns = 0;
        // A guest that always overruns us must not keep us from its other rings.
        while copied < geometry.ring_words() as u64
            && overruns < MAX_OVERRUNS
            && self.rings[index].implausible.is_none()
        {
            let position = self.rings[index].position;
            if position >= limit {
                break;
            }
            let words = RingWords { window: &self.window, first: self.rings[index].first };
            let block = ring::read_block(&words, geometry, source, position, &mut self.block);
            if !self.is_same_boot() {
                round.rebooted = true;
                break;
            }
            match block {
                Block::Empty => break,
                Block::Overrun { resume } => {
                    overruns += 1;
                    self.rings[index].position = resume.max(position).min(limit);
                }
                Block::ImplausibleHead { head } => self.rings[index].implausible = Some(head),
                Block::Copied { start, end, sealed } => {
                    // A limit is a head that was seen, so a record begins there.
                    let (end, sealed) = if end > limit { (limit, None) } else { (end, sealed) };
                    self.rings[index].position = end;
                    copied += end - start;
                    let words = Cow::Borrowed(&self.block[..(end - start) as usize]);
                    emit(self.message(Body::Block { ring: self.rings[index].id, start, sealed, words }));
                }
            }
        }
        round.overruns += overruns;
        copied
    }

    fn counters<'a>(&self, index: usize, counters: &Counters, slots: &'a [u64], last: bool) -> Message<'a> {
        self.message(Body::Counters(RingCounters {
            ring: self.rings[index].id,
            head: counters.head,
            last,
            refused: counters.refused,
            slots: slots.into(),
        }))
    }

    fn message<'a>(&self, body: Body<'a>) -> Message<'a> {
        Message { at: HostTime::now(), session: self.session, body }
    }

    fn ring_words(&self, index: usize) -> RingWords<'_> {
        RingWords { window: &self.window, first: self.rings[index].first }
    }

    /// Whether the region is still that of the boot that was attached to.
    fn is_same_boot(&self) -> bool {
        self.window.load_acquire(0) == Some(MAGIC)
            && self.window.load_acquire(BOOT_ID_WORD) == Some(self.region.header.boot_id)
    }

    /// Looks at the vCPUs' signs of life; one that is new says that the guest's TSC was that, after the last look.
    fn look_at_clock(&mut self, emit: &mut impl FnMut(Message<'_>)) {
        let geometry = self.region.header.geometry;
        let table = geometry.vcpu_table() / 8 + VcpuField::Heartbeat as usize;
        let begin = HostTime::now();
        let heartbeats =
            (0..geometry.vcpus() as usize).filter_map(|vcpu| self.window.load(table + vcpu * VCPU_WORDS));
        let tsc = heartbeats.max().unwrap_or(0);
        let end = HostTime::now();
        self.tell_pairs(|clock| clock.look(tsc, begin, end), emit);
    }

    fn tell_pairs(
        &mut self,
        ask: impl FnOnce(&mut Clock) -> watch::Pairs,
        emit: &mut impl FnMut(Message<'_>),
    ) {
        for (at, pair) in ask(&mut self.clock).into_iter().flatten() {
            emit(Message { at, session: self.session, body: Body::Clock(pair) });
        }
    }
}

/// How long to wait before the next round: short while rings fill, long while they don't.
#[derive(Clone, Copy, Debug)]
pub struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(PAUSES.0)
    }
}

impl Pace {
    /// The pause after this round. None at all where a ring was a quarter full or more.
    pub fn after(&mut self, round: &Round) -> Duration {
        if round.fill >= 64 || round.overruns > 0 {
            self.0 = PAUSES.0;
            return Duration::ZERO;
        }
        self.0 = if round.fill >= 16 { self.0 / 2 } else { self.0 * 5 / 4 }.clamp(PAUSES.0, PAUSES.1);
        self.0
    }
}

#[cfg(test)]
mod tests;
