//! The host's side of `uniprof_wire::stream`, without I/O: bytes of the line go in, messages of the recording and bytes for the guest come out.
//!
//! What is new is taken only where it follows on what there is. A block that does not makes this side ask for the missing piece again, so what a
//! line loses, garbles or cuts in half costs nothing that the guest still has.

mod known;

use std::sync::Arc;

use uniprof_wire::{
    OLDEST_VERSION,
    address::GuestPhysical,
    layout::{LayoutError, RegionHeader},
    record::CLASSES,
    ring::{Counters, MAX_POSITION, RingGeometry},
    stream::{
        Account, Area, Begin, Decoded, Decoder, Frame, HEADER_BYTES, HEADER_WORDS, MAX_HOST_PAYLOAD,
        MAX_PAYLOAD, RingName, Words,
    },
    tables::ControlRequest,
};

use self::known::{Known, Over, Ring, is_plausible, name};
use super::areas::Piece;
use crate::{
    clock::HostTime,
    memory::{FoundRegion, header_words},
    recording::{Body, ClockPair, Message},
    tables::Tables,
};

const MS: u64 = 1_000_000;
/// How often who has not answered is asked again.
const ASK_EVERY: u64 = 300 * MS;
/// How often the guest's clock is asked for.
const PING_EVERY: u64 = 100 * MS;
/// How often requests are renewed. Their lease is several times as long.
const RENEW_EVERY: u64 = 250 * MS;
/// A guest that says nothing for so long does not know of this conversation any more.
const SILENCE: u64 = 1_500 * MS;
/// How often what has changed of the histograms is asked for.
const AREAS_EVERY: u64 = 1_000 * MS;
/// How often the network is told between the two ends of a recording.
const NETWORK_EVERY: u64 = 10_000 * MS;
/// How long a piece that was asked for again may take.
const SEEK_EVERY: u64 = 200 * MS;
/// Pings whose answers are waited for.
const PINGS: usize = 8;

/// How the line behaved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Bytes that belonged to no frame.
    pub garbage_bytes: u64,
    /// Pieces of rings that were asked for again.
    pub asked_again: u64,
    /// How often the line was connected anew.
    pub reconnected: u64,
}

/// What the guest is asked for in pieces.
#[derive(Debug, Default)]
struct Wanted {
    /// Heap, histograms and network are told, for a recording.
    recorded: bool,
    /// Of these what has come since the end was wanted.
    last: u8,
    /// Areas that somebody waits for.
    areas: u8,
    asked_ns: u64,
    /// When the network was asked for, for a recording.
    network_ns: u64,
}

/// The tables as they are after what has been said so far.
#[derive(Debug, Default)]
struct Look {
    /// The ping that was said last for it, and the latest that was answered.
    asked: u64,
    answered: u64,
    /// The latest answer that tables came after.
    seen: u64,
}

/// What one host and one guest have said to each other.
#[derive(Debug)]
pub(super) struct Conversation {
    begin: Begin,
    epoch: u32,
    session: u32,
    decoder: Decoder<Vec<u8>>,
    known: Option<Known>,
    refused: Option<LayoutError>,
    requests: Vec<ControlRequest>,
    has_withdrawn: bool,
    wanted: Wanted,
    look: Look,
    out: Vec<u8>,
    frame: Vec<u64>,
    pings: Vec<(u64, HostTime)>,
    tokens: u64,
    heard_ns: u64,
    asked_ns: u64,
    pinged_ns: u64,
    renewed_ns: u64,
    finishing: bool,
    /// The tables came after the last of the counters.
    last_tables: bool,
    pub(super) troubles: Troubles,
    /// Lines so far, and whether nothing was heard on the last.
    lines: u64,
    line_is_silent: bool,
}

impl Conversation {
    /// One that begins where `begin` says; `seed` keeps its epochs apart from those of others.
    pub(super) fn new(begin: Begin, seed: u32) -> Self {
        Self {
            begin,
            epoch: seed,
            session: 0,
            decoder: Decoder::new(vec![0; HEADER_BYTES + MAX_PAYLOAD * 8]),
            known: None,
            refused: None,
            requests: Vec::new(),
            has_withdrawn: false,
            // Who reads from the boot on records.
            wanted: Wanted { recorded: begin == Begin::Boot, ..Wanted::default() },
            look: Look::default(),
            out: Vec::new(),
            frame: vec![0; HEADER_WORDS + MAX_HOST_PAYLOAD],
            pings: Vec::new(),
            tokens: 0,
            heard_ns: 0,
            asked_ns: 0,
            pinged_ns: 0,
            renewed_ns: 0,
            finishing: false,
            last_tables: false,
            troubles: Troubles::default(),
            lines: 0,
            line_is_silent: true,
        }
    }

    /// The region, once the guest has told of it, or why it can't be read.
    pub(super) fn found(&self) -> Option<Result<(FoundRegion, Tables), LayoutError>> {
        let found = self.known.as_ref().map(|known| Ok((known.region, known.tables.clone())));
        found.or(self.refused.map(Err))
    }

    /// Wants the heap and the histograms among the messages.
    pub(super) fn record_areas(&mut self) {
        self.wanted.recorded = true;
        self.wanted.asked_ns = 0;
    }

    /// Wants an area as it is now.
    pub(super) fn want(&mut self, area: Area) {
        if let Some(known) = &mut self.known {
            known.areas.forget(area);
        }
        self.wanted.areas |= area.bit();
        self.wanted.asked_ns = 0;
    }

    /// The area that was wanted, once all of it has come.
    pub(super) fn area(&self, area: Area) -> Option<Vec<u64>> {
        self.known.as_ref()?.areas.get(area).map(<[u64]>::to_vec)
    }

    /// Wants the tables as they are after all that has been said so far. What to ask [`Self::seen`] with.
    pub(super) fn look(&mut self, now: HostTime) -> u64 {
        self.ping(now);
        self.look.asked = self.tokens;
        self.say(&Frame::Want { region: true, counters: false, areas: 0, all: false });
        self.tokens
    }

    /// The tables that came after that look, or a later one.
    pub(super) fn seen(&self, look: u64) -> Option<Arc<[u8]>> {
        let known = self.known.as_ref().filter(|_| self.look.seen >= look);
        known.map(|known| Arc::clone(&known.bytes))
    }

    /// What has to be sent; whoever sends it takes it out from the front.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The line to come takes the place of one that another collector passed on: that is nothing strange.
    pub(super) fn handed_over(&mut self) {
        self.lines = 0;
    }

    /// vCPUs of the guest; 0 before it has told of itself.
    pub(super) fn vcpus(&self) -> u32 {
        self.known.as_ref().map_or(0, |known| known.region.header.geometry.vcpus())
    }

    /// Puts a cursor back for somebody else who reads along, and lacks what this side has.
    pub(super) fn seek_for_other(&mut self, ring: RingName, position: u64) {
        let expected = self.ring(ring).and_then(|(ring, _)| ring.expected);
        if expected.is_some_and(|expected| position < expected) {
            self.say(&Frame::Seek { ring, position });
        }
    }

    /// A line to the guest, the first or another one.
    pub(super) fn connected(&mut self, now: HostTime) {
        self.decoder.clear();
        self.out.clear();
        self.lines += 1;
        self.line_is_silent = true;
        self.epoch = self.epoch.wrapping_add(1);
        self.wanted.asked_ns = 0;
        if let Some(known) = &mut self.known {
            known.areas.disconnected();
        }
        self.attach(now);
    }

    /// Asks for something, or for something else with the same owner.
    pub(super) fn request(&mut self, request: ControlRequest) {
        self.requests.retain(|held| held.owner != request.owner);
        self.requests.push(request);
        self.say(&Frame::Request(request));
    }

    /// Asks for something that nobody renews.
    pub(super) fn leave(&mut self, request: ControlRequest) {
        self.say(&Frame::Request(request));
    }

    /// Asks no longer.
    pub(super) fn withdraw(&mut self, owner: u64) {
        if let Some(index) = self.requests.iter().position(|held| held.owner == owner) {
            let request = self.requests.remove(index);
            self.say(&Frame::Request(ControlRequest { lease_ms: 0, ..request }));
            self.has_withdrawn = true;
        }
    }

    /// Whether something was withdrawn that the guest may not know of yet.
    pub(super) fn has_withdrawn(&self) -> bool {
        self.has_withdrawn
    }

    /// Wants the account of each ring closed.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        self.wanted.last = 0;
        (self.asked_ns, self.wanted.asked_ns) = (0, 0);
    }

    /// Whether all accounts are closed, as far as they can be, and the tables have come after that.
    pub(super) fn is_finished(&self) -> bool {
        let areas = self.recorded_areas() & !self.wanted.last == 0;
        self.finishing && self.last_tables && self.rings_are_over() && areas
    }

    /// Whether there is nothing more to come: all is closed, or the end is wanted and the line stays broken.
    pub(super) fn is_done(&self, has_line: bool, is_broken_for_long: bool) -> bool {
        self.is_finished() || (self.finishing && !has_line && is_broken_for_long)
    }

    /// The areas that belong into a recording of this guest.
    fn recorded_areas(&self) -> u8 {
        let Some(known) = self.known.as_ref().filter(|_| self.wanted.recorded) else { return 0 };
        let geometry = known.region.header.geometry;
        let bit = |area: Area, there: bool| if there { area.bit() } else { 0 };
        bit(Area::Heap, geometry.heap_slots() > 0)
            | bit(Area::Histograms, geometry.histograms() > 0)
            | bit(Area::Net, geometry.connections() > 0)
    }

    fn rings_are_over(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.rings.iter().all(|ring| ring.over != Over::No))
    }

    /// Does what is due. While nobody `listens`, silence says nothing about the guest.
    pub(super) fn tick(&mut self, now: HostTime, listens: bool) {
        let ns = now.monotonic_ns;
        if !listens {
            self.heard_ns = ns;
        }
        let since = |then: u64| ns.saturating_sub(then);
        let unopened =
            self.known.as_ref().is_some_and(|known| known.rings.iter().any(|r| r.expected.is_none()));
        let silent = since(self.heard_ns) >= SILENCE;
        if (self.known.is_none() || (unopened && listens) || silent) && since(self.asked_ns) >= ASK_EVERY {
            self.attach(now);
        }
        if self.known.is_none() {
            return;
        }
        if since(self.pinged_ns) >= PING_EVERY {
            self.pinged_ns = ns;
            self.ping(now);
        }
        self.ask_for_areas(ns);
        if since(self.renewed_ns) >= RENEW_EVERY {
            self.renewed_ns = ns;
            for index in 0..self.requests.len() {
                self.requests[index].renewals += 1;
                self.requests[index].asked_ns = now.realtime_ns;
                let request = self.requests[index];
                self.say(&Frame::Request(request));
            }
        }
        if self.finishing && !self.is_finished() && since(self.asked_ns) >= ASK_EVERY {
            self.asked_ns = ns;
            self.say(&Frame::Finish);
        }
    }

    fn ping(&mut self, now: HostTime) {
        self.tokens += 1;
        if self.pings.len() == PINGS {
            self.pings.remove(0);
        }
        self.pings.push((self.tokens, now));
        self.say(&Frame::Ping { token: self.tokens });
    }

    fn ask_for_areas(&mut self, ns: u64) {
        // The heap is told at both ends, the network now and then, too, histograms all the time.
        let mut recorded = self.recorded_areas();
        for area in [Area::Heap, Area::Net] {
            let has_it = self.known.as_ref().is_some_and(|known| known.areas.get(area).is_some());
            if has_it && (!self.finishing || self.wanted.last & area.bit() != 0) {
                recorded &= !area.bit();
            }
        }
        let network_is_due = ns.saturating_sub(self.wanted.network_ns) >= NETWORK_EVERY;
        if network_is_due {
            recorded |= self.recorded_areas() & Area::Net.bit();
        }
        let areas = self.wanted.areas | recorded;
        if areas == 0 || (self.wanted.asked_ns > 0 && ns.saturating_sub(self.wanted.asked_ns) < AREAS_EVERY) {
            return;
        }
        self.wanted.asked_ns = ns.max(1);
        if network_is_due {
            self.wanted.network_ns = ns;
        }
        for area in Area::ALL.into_iter().filter(|area| areas & area.bit() != 0) {
            let all = self.known.as_ref().is_none_or(|known| known.areas.get(area).is_none());
            self.say(&Frame::Want { region: false, counters: false, areas: area.bit(), all });
        }
    }

    /// Begins, or goes on where it was.
    fn attach(&mut self, now: HostTime) {
        self.asked_ns = now.monotonic_ns;
        self.pings.clear();
        let known = self.known.as_ref();
        let going_on = known.is_some_and(|known| known.rings.iter().all(|ring| ring.expected.is_some()));
        let begin = if going_on { Begin::Resume } else { self.begin };
        self.say(&Frame::Attach { wire_version: OLDEST_VERSION, begin });
        let positions: Vec<_> =
            self.known.iter().flat_map(|known| &known.rings).map(|r| (r.id, r.expected)).collect();
        for (id, position) in positions {
            if let Some(position) = position {
                self.say(&Frame::Seek { ring: name(id), position });
            }
        }
        for index in 0..self.requests.len() {
            let request = self.requests[index];
            self.say(&Frame::Request(request));
        }
        if self.wanted.recorded {
            // At once: a guest that has little to do may end before it has been asked for anything else.
            self.wanted.asked_ns = now.monotonic_ns.max(1);
            self.wanted.network_ns = now.monotonic_ns;
            let areas = Area::Heap.bit() | Area::Histograms.bit() | Area::Net.bit();
            self.say(&Frame::Want { region: false, counters: false, areas, all: true });
        }
    }

    /// Puts a frame among what has to be sent.
    pub(super) fn say(&mut self, frame: &Frame<'_>) {
        // A guest that does not listen must not make this grow; what is missing is said again.
        if self.out.len() > 64 << 10 {
            return;
        }
        if let Some(words) = frame.encode(self.epoch, &mut self.frame) {
            self.out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
    }

    /// Takes in bytes of the line; each of the guest's frames is handed to `pass`, too.
    pub(super) fn hear(
        &mut self,
        mut bytes: &[u8],
        now: HostTime,
        emit: &mut impl FnMut(Message<'static>),
        pass: &mut impl FnMut(&Frame<'_>),
    ) {
        // The decoder's buffer stays where it is while a frame in it is looked at.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Vec::new()));
        while !bytes.is_empty() {
            let taken = decoder.push(bytes);
            bytes = &bytes[taken..];
            loop {
                match decoder.next() {
                    Decoded::NeedMore => break,
                    Decoded::Malformed { bytes } => self.troubles.garbage_bytes += bytes as u64,
                    Decoded::Frame { epoch, frame } if epoch == self.epoch => {
                        self.heard_ns = now.monotonic_ns;
                        if std::mem::take(&mut self.line_is_silent) && self.lines > 1 {
                            self.troubles.reconnected += 1;
                        }
                        self.on_frame(&frame, now, emit);
                        pass(&frame);
                    }
                    // Said to whoever was here before.
                    Decoded::Frame { .. } => {}
                }
            }
        }
        self.decoder = decoder;
    }

    fn on_frame(&mut self, frame: &Frame<'_>, now: HostTime, emit: &mut impl FnMut(Message<'static>)) {
        match frame {
            Frame::Region { at, words } => self.on_region(GuestPhysical(*at), *words, now, emit),
            Frame::Block { ring, from, start, sealed, words } => {
                self.on_block(*ring, (*from, *start), *sealed, *words, now, emit);
            }
            Frame::Counters { ring, from, account, counted } => {
                self.on_counters(*ring, *from, *account, *counted, now, emit);
            }
            Frame::Piece { area, all, number, first, total, words } => {
                let (area, all, number, first, total, words) = (*area, *all, *number, *first, *total, *words);
                self.on_piece(Piece { area, all, number, first, total, words }, now, emit);
            }
            Frame::Pong { token, tsc } => {
                if *token <= self.look.asked {
                    self.look.answered = self.look.answered.max(*token);
                }
                if let Some(index) = self.pings.iter().position(|(sent, _)| sent == token) {
                    let (_, sent) = self.pings.swap_remove(index);
                    let uncertainty_ns = now.monotonic_ns.saturating_sub(sent.monotonic_ns);
                    let pair = ClockPair { tsc: *tsc, uncertainty_ns };
                    emit(Message { at: now, session: self.session, body: Body::Clock(pair) });
                }
            }
            // A host's own: a loop somewhere in the line.
            Frame::Attach { .. }
            | Frame::Seek { .. }
            | Frame::Ping { .. }
            | Frame::Finish
            | Frame::Want { .. }
            | Frame::Request(_) => {}
        }
    }

    fn on_piece(&mut self, piece: Piece<'_>, now: HostTime, emit: &mut impl FnMut(Message<'static>)) {
        let Some(known) = &mut self.known else { return };
        if !known.areas.take(piece, known.region.header.geometry) {
            return;
        }
        self.wanted.areas &= !piece.area.bit();
        if self.wanted.recorded {
            known.tell_area(piece.area, self.session, now, emit);
            self.wanted.last |= piece.area.bit();
        }
    }

    fn on_region(
        &mut self,
        at: GuestPhysical,
        words: Words<'_>,
        now: HostTime,
        emit: &mut impl FnMut(Message<'static>),
    ) {
        let bytes: Vec<u8> = words.iter().flat_map(u64::to_le_bytes).collect();
        let header = header_words(&bytes).ok_or(LayoutError::NotARegion);
        let header = header.and_then(|words| RegionHeader::from_words(&words, u64::MAX));
        let tables = header.and_then(|header| Tables::parse(&bytes).map(|tables| (header, tables)));
        let (header, tables) = match tables {
            Ok(found) => found,
            Err(why) => {
                self.refused = Some(why);
                return;
            }
        };
        let same = self.known.as_ref().map(|known| known.region.header.boot_id == header.boot_id);
        match (same, &mut self.known) {
            (Some(true), Some(known)) => (known.tables, known.bytes) = (tables, bytes.as_slice().into()),
            (before, _) => {
                let begin = if before.is_some() { Begin::Boot } else { self.begin };
                self.known = Some(Known::new(FoundRegion { at, header }, tables, &bytes, begin));
                self.wanted.asked_ns = 0;
                if before.is_some() {
                    // Another boot is read from its beginning.
                    (self.session, self.begin) = (self.session + 1, Begin::Boot);
                    self.epoch = self.epoch.wrapping_add(1);
                    self.attach(now);
                }
            }
        }
        self.look.seen = self.look.answered;
        self.last_tables = self.rings_are_over() || self.known.as_ref().is_some_and(Known::is_counted);
        emit(Message { at: now, session: self.session, body: Body::Region { at, bytes: bytes.into() } });
    }

    fn on_block(
        &mut self,
        name: RingName,
        (from, start): (u64, u64),
        sealed: Option<[u64; CLASSES]>,
        words: Words<'_>,
        now: HostTime,
        emit: &mut impl FnMut(Message<'static>),
    ) {
        let session = self.session;
        let Some((ring, geometry)) = self.ring(name) else { return };
        let Some(expected) = ring.expected.filter(|_| ring.over != Over::Closed) else { return };
        if from > expected {
            return self.seek_again(name, now);
        }
        if !is_plausible(geometry, start, words.len(), sealed.is_some()) || start < from {
            return;
        }
        let end = start + words.len() as u64;
        // Sent again, perhaps with more behind it than the first time.
        let known = expected.saturating_sub(start);
        if from < expected && (start > expected || end <= expected) {
            return;
        }
        let start = start.max(expected);
        // A head that was seen is where a record begins, so a block may end there.
        let limit = ring.last.as_ref().map_or(u64::MAX, |(last, _)| last.head);
        let sealed = sealed.filter(|_| end <= limit);
        ring.expected = Some(end);
        if start < limit {
            let words: Vec<u64> = words.iter().skip(known as usize).take((limit - start) as usize).collect();
            let body = Body::Block { ring: ring.id, start, sealed, words: words.into() };
            emit(Message { at: now, session, body });
        }
        ring.close_if_read(session, now, emit);
    }

    fn on_counters(
        &mut self,
        name: RingName,
        from: u64,
        account: Account,
        counted: Option<(u64, [u64; CLASSES], Words<'_>)>,
        now: HostTime,
        emit: &mut impl FnMut(Message<'static>),
    ) {
        let session = self.session;
        let Some((ring, geometry)) = self.ring(name) else { return };
        let counted = counted
            .map(|(head, refused, slots)| (Counters { head, refused }, slots.iter().collect::<Vec<_>>()));
        if counted.as_ref().is_some_and(|(counters, slots)| {
            counters.head > MAX_POSITION || slots.len() != geometry.slots() * CLASSES
        }) {
            return;
        }
        match (account, ring.expected, counted) {
            (Account::Opens, None, None) => ring.expected = Some(0),
            (Account::Opens, None, Some((counters, slots))) => {
                ring.expected = Some(counters.head);
                emit(ring.counters(&counters, slots, false, session, now));
            }
            (Account::Opens, Some(expected), _) if from > expected => self.seek_again(name, now),
            (Account::Closes, Some(expected), Some((counters, slots)))
                if counters.head >= expected && ring.over != Over::Closed =>
            {
                (ring.last, ring.over) = (Some((counters, slots)), Over::No);
                ring.close_if_read(session, now, emit);
                if ring.over == Over::No && from > expected {
                    self.seek_again(name, now);
                }
            }
            (Account::Closes, _, None) if ring.over == Over::No && ring.last.is_none() => {
                ring.over = Over::Uncounted
            }
            _ => {}
        }
    }

    fn ring(&mut self, name: RingName) -> Option<(&mut Ring, RingGeometry)> {
        let known = self.known.as_mut()?;
        let geometry = known.region.header.geometry.ring();
        let index = usize::from(name.vcpu) * 2 + name.kind as usize;
        known.rings.get_mut(index).map(|ring| (ring, geometry))
    }

    /// Asks for what follows on what there is, unless that has just been asked for.
    fn seek_again(&mut self, name: RingName, now: HostTime) {
        let Some((ring, _)) = self.ring(name) else { return };
        if now.monotonic_ns.saturating_sub(ring.sought_ns) < SEEK_EVERY {
            return;
        }
        ring.sought_ns = now.monotonic_ns;
        let Some(position) = ring.expected else { return };
        self.troubles.asked_again += 1;
        self.say(&Frame::Seek { ring: name, position });
    }
}

#[cfg(test)]
mod tests;
