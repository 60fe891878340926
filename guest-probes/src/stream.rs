//! The region over a line, for guests whose memory no host can see: the other end of `uniprof_wire::stream`.
//!
//! The kernel has the device and the time; [`Streamer`] has the rest. It reads the kernel's own rings as a host would, so probes never
//! know of it and never wait for it: what is not sent in time is overwritten, and the account says how much.
//!
//! ```no_run
//! # struct Port;
//! # impl Port { fn read(&mut self, _: &mut [u8]) -> usize { 0 } }
//! # impl uniprof_probes::Sink for Port { fn write(&mut self, _: &[u8]) -> usize { 0 } }
//! # fn sleep_a_moment() {}
//! # fn time_is_up() -> bool { true }
//! use uniprof_probes::{Step, Streamer};
//!
//! fn drain(port: &mut Port, buffer: &mut [u64]) {
//!     let Some(mut streamer) = Streamer::new(buffer) else { return };
//!     loop {
//!         let mut bytes = [0; 256];
//!         let received = port.read(&mut bytes);
//!         streamer.receive(&bytes[..received]);
//!         while !time_is_up() && matches!(streamer.step(port), Step::Sent(_)) {}
//!         sleep_a_moment(); // 10 ms at most, or rings fill
//!     }
//! }
//! ```

mod pieces;
mod slot;

use uniprof_wire::layout::{Geometry, RingKind};
use uniprof_wire::record::CLASSES;
use uniprof_wire::ring::{self, Block, ReaderWords, Source, WriterWords};
use uniprof_wire::stream::{
    Account, BLOCK_HEAD, Begin, COUNTERS_HEAD, Decoded, Decoder, Frame, HEADER_BYTES, HEADER_WORDS, Kind,
    MAX_HOST_PAYLOAD, RingName, block_head, counters_head, frame_words, seal,
};
use uniprof_wire::tables::VcpuField;
use uniprof_wire::{OLDEST_VERSION, WIRE_VERSION};

use self::pieces::{Found, Pieces};
use self::slot::Slots;
use crate::platform::{self, Pinned};
use crate::region::{MAX_VCPUS, Region, Words, region};
use crate::vcpu::Vcpu;

/// Rings of the vCPUs that the probes serve: the bits of a `u128`.
const RINGS: usize = MAX_VCPUS * 2;
/// Looks for a moment at which another vCPU does not write.
const COUNTER_ATTEMPTS: usize = 1 << 14;
/// Times that one ring may overrun the streamer in a row.
const MAX_OVERRUNS: usize = 4;

/// Where frames go. It takes what it has room for, at once, and never waits.
pub trait Sink {
    /// Takes bytes from the front of `bytes`, and says how many.
    fn write(&mut self, bytes: &[u8]) -> usize;
}

/// What [`Streamer::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of a frame were taken, none where it only looked for what has changed; there may be more.
    Sent(usize),
    /// The sink has no room.
    Blocked,
    /// There is nothing to say.
    Idle,
}

/// Sends the region to a host that asks for it, and puts what it wants into the control page.
#[derive(Debug)]
pub struct Streamer<'a> {
    region: &'static Region,
    buffer: &'a mut [u64],
    /// What the pieces of each area were when they were sent last.
    sums: &'a mut [u64],
    /// Bytes of the frame in the buffer, and how many of them the sink has taken.
    frame: usize,
    taken: usize,
    decoder: Decoder<[u8; HEADER_BYTES + MAX_HOST_PAYLOAD * 8]>,
    /// The host's number for this conversation; `None`: nobody listens.
    epoch: Option<u32>,
    cursors: [u64; RINGS],
    due: Due,
    next_ring: usize,
    next_snapshot: u64,
    slots: Slots,
    pieces: Pieces,
}

/// What has to be said beside what is new in the rings.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    region: bool,
    /// Rings whose account is to be opened or closed, a bit each.
    opening: u128,
    closing: u128,
    /// Rings whose counters somebody wants besides.
    standing: u128,
    /// The tables once more, after the accounts.
    last_region: bool,
    pong: Option<u64>,
}

impl<'a> Streamer<'a> {
    /// Words that its buffer needs; 0 before `init` has succeeded.
    #[must_use]
    pub fn buffer_words() -> usize {
        region().map_or(0, |region| frame_words(region.geometry) + Pieces::sums(region.geometry))
    }

    /// One for the region that `init` has made. `None`: there is no region, or the buffer is too small for it.
    #[must_use]
    pub fn new(buffer: &'a mut [u64]) -> Option<Self> {
        let region = region()?;
        let (buffer, sums) = buffer.split_at_mut_checked(frame_words(region.geometry))?;
        let sums = sums.get_mut(..Pieces::sums(region.geometry))?;
        sums.fill(0);
        Some(Self {
            region,
            buffer,
            sums,
            frame: 0,
            taken: 0,
            decoder: Decoder::new([0; HEADER_BYTES + MAX_HOST_PAYLOAD * 8]),
            epoch: None,
            cursors: [0; RINGS],
            due: Due::default(),
            next_ring: 0,
            next_snapshot: 0,
            slots: Slots::default(),
            pieces: Pieces::default(),
        })
    }

    /// Whether a host listens.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.epoch.is_some()
    }

    /// The host has gone: nothing is said until another comes. What it asked for stands until its lease is over.
    pub fn disconnected(&mut self) {
        self.epoch = None;
        self.due = Due::default();
        self.pieces.clear();
        (self.frame, self.taken) = (0, 0);
        self.decoder.clear();
    }

    /// Takes in what the host sent, in any pieces.
    pub fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.decoder.push(bytes);
            bytes = &bytes[taken..];
            loop {
                // What a frame wants is copied out, because it lies in the decoder.
                let wish = match self.decoder.next() {
                    Decoded::NeedMore => break,
                    Decoded::Malformed { .. } => continue,
                    Decoded::Frame { epoch, frame } => (epoch, Wish::from_frame(&frame)),
                };
                self.fulfil(wish.0, wish.1);
            }
        }
    }

    fn fulfil(&mut self, epoch: u32, wish: Wish) {
        if let Wish::Attach(begin) = wish {
            self.attach(epoch, begin);
            return;
        }
        if self.epoch != Some(epoch) {
            return;
        }
        match wish {
            Wish::Seek(ring, position) => self.seek(ring, position),
            Wish::Ping(token) => self.due.pong = Some(token),
            Wish::Finish => self.finish(),
            Wish::Request(request) => {
                // A flush brings the tables, too; the rings are being sent anyway.
                self.due.region |= self.slots.put(self.region, &request, platform::now());
            }
            Wish::Want { region, counters, areas, all } => {
                self.due.region |= region;
                if counters {
                    self.due.standing = all_rings(self.region.geometry);
                }
                self.pieces.want(areas, all);
            }
            Wish::Attach(_) | Wish::Nothing => {}
        }
    }

    fn attach(&mut self, epoch: u32, begin: Begin) {
        // A host that has heard nothing yet asks again, under the same number: what it is owed is said again, and nothing begins anew.
        let is_new = self.epoch.replace(epoch) != Some(epoch);
        if is_new {
            self.due = Due::default();
            self.pieces.clear();
        }
        self.due.region = true;
        match begin {
            Begin::Boot if is_new => self.cursors = [0; RINGS],
            Begin::Now => self.due.opening = all_rings(self.region.geometry),
            Begin::Boot | Begin::Resume => {}
        }
    }

    fn seek(&mut self, ring: RingName, position: u64) {
        let Some((index, words)) = self.ring(ring) else { return };
        // Beyond the head there is nothing that could ever be read.
        if position <= WriterWords::load(&words, ring::HEAD) {
            self.cursors[index] = position;
        }
    }

    /// Says that the account of each ring shall be closed: with a kernel that is about to end, or because the host wants to go. It is done when
    /// [`step`](Self::step) finds itself idle.
    pub fn finish(&mut self) {
        if self.is_attached() {
            self.due.closing = all_rings(self.region.geometry);
            self.due.last_region = true;
            self.pieces.want_again();
        }
    }

    /// Hands the sink the next frame, or what it has not taken of the last one. Not longer than it takes to copy a sub-buffer or the
    /// tables. The time that a frame takes counts as the probes' own.
    pub fn step(&mut self, sink: &mut impl Sink) -> Step {
        let begin = platform::now();
        let step = self.send(sink, begin);
        let _pinned = Pinned::new();
        let sent = matches!(step, Step::Sent(_));
        if let Some(vcpu) = Vcpu::current().filter(|_| sent) {
            vcpu.add(VcpuField::ProbeTime, platform::now().saturating_sub(begin));
        }
        step
    }

    fn send(&mut self, sink: &mut impl Sink, now: u64) -> Step {
        if self.taken == self.frame {
            self.taken = 0;
            let composed = self.compose(now);
            self.frame = composed.unwrap_or(0) * 8;
            match composed {
                None => return Step::Idle,
                Some(0) => return Step::Sent(0),
                Some(_) => {}
            }
        }
        let rest = &bytes_of(self.buffer)[self.taken..self.frame];
        let taken = sink.write(rest).min(rest.len());
        self.taken += taken;
        if taken == 0 { Step::Blocked } else { Step::Sent(taken) }
    }

    /// Makes the next frame, and says how many words it has; none yet where it is 0.
    fn compose(&mut self, now: u64) -> Option<usize> {
        let epoch = self.epoch?;
        if let Some(token) = self.due.pong.take() {
            return self.encode(epoch, &Frame::Pong { token, tsc: now });
        }
        if self.due.region || now >= self.next_snapshot {
            self.due.region = false;
            self.next_snapshot = now.saturating_add(self.region.tsc_hz);
            return self.tables(epoch);
        }
        if let Some(index) = take_lowest(&mut self.due.opening) {
            return self.counters(epoch, index, Account::Opens);
        }
        if let Some(index) = take_lowest(&mut self.due.closing) {
            return self.counters(epoch, index, Account::Closes);
        }
        if let Some(index) = take_lowest(&mut self.due.standing) {
            return self.counters(epoch, index, Account::Stands);
        }
        if self.pieces.have_waited()
            && let Some(words) = self.piece(epoch)
        {
            return Some(words);
        }
        let rings = self.region.geometry.vcpus() as usize * 2;
        for _ in 0..rings {
            let index = self.next_ring % rings;
            self.next_ring = index + 1;
            if let Some(words) = self.block(epoch, index) {
                return Some(words);
            }
        }
        if let Some(words) = self.piece(epoch) {
            return Some(words);
        }
        core::mem::take(&mut self.due.last_region).then(|| self.tables(epoch))?
    }

    /// What has changed in an area that the host wants; 0 words where there is more to look at.
    fn piece(&mut self, epoch: u32) -> Option<usize> {
        match self.pieces.compose(self.region, self.buffer, self.sums) {
            Found::Piece(payload) => seal(self.buffer, Kind::Piece, epoch, payload).map(<[u64]>::len),
            Found::Looking => Some(0),
            Found::Nothing => None,
        }
    }

    fn encode(&mut self, epoch: u32, frame: &Frame<'_>) -> Option<usize> {
        frame.encode(epoch, self.buffer).map(<[u64]>::len)
    }

    /// Header page, control page and tables.
    fn tables(&mut self, epoch: u32) -> Option<usize> {
        let words = self.region.geometry.tables_bytes() / 8;
        let payload = self.buffer.get_mut(HEADER_WORDS..HEADER_WORDS + 1 + words)?;
        payload[0] = self.region.physical;
        ReaderWords::copy(&self.region.words, 0, &mut payload[1..]);
        seal(self.buffer, Kind::Region, epoch, 1 + words).map(<[u64]>::len)
    }

    fn counters(&mut self, epoch: u32, index: usize, account: Account) -> Option<usize> {
        let (name, words) = self.at(index)?;
        let geometry = self.region.geometry.ring();
        let slots = self.buffer.get_mut(HEADER_WORDS + COUNTERS_HEAD..)?;
        let Some(counters) = ring::read_counters(&words, geometry, Source::Live, COUNTER_ATTEMPTS, slots)
        else {
            if account == Account::Opens {
                self.cursors[index] = 0;
            }
            let from = self.cursors[index];
            return self.encode(epoch, &Frame::Counters { ring: name, from, account, counted: None });
        };
        if account == Account::Opens {
            self.cursors[index] = counters.head;
        }
        let head = counters_head(name, self.cursors[index], account, &counters);
        self.buffer.get_mut(HEADER_WORDS..HEADER_WORDS + COUNTERS_HEAD)?.copy_from_slice(&head);
        let payload = COUNTERS_HEAD + geometry.slots() * CLASSES;
        seal(self.buffer, Kind::Counters, epoch, payload).map(<[u64]>::len)
    }

    /// What is new in a ring.
    fn block(&mut self, epoch: u32, index: usize) -> Option<usize> {
        let (name, words) = self.at(index)?;
        let geometry = self.region.geometry.ring();
        let from = self.cursors[index];
        let mut position = from;
        for _ in 0..MAX_OVERRUNS {
            let payload = self.buffer.get_mut(HEADER_WORDS + BLOCK_HEAD..)?;
            match ring::read_block(&words, geometry, Source::Live, position, payload) {
                Block::Empty | Block::ImplausibleHead { .. } => return None,
                Block::Overrun { resume } => position = resume.max(position),
                Block::Copied { start, end, sealed } => {
                    self.cursors[index] = end;
                    let mut len = (end - start) as usize;
                    if let Some(sealed) = sealed {
                        payload.get_mut(len..len + CLASSES)?.copy_from_slice(&sealed);
                        len += CLASSES;
                    }
                    let head = block_head(name, from, start, sealed.is_some());
                    self.buffer.get_mut(HEADER_WORDS..HEADER_WORDS + BLOCK_HEAD)?.copy_from_slice(&head);
                    return seal(self.buffer, Kind::Block, epoch, BLOCK_HEAD + len).map(<[u64]>::len);
                }
            }
        }
        None
    }

    fn ring(&self, name: RingName) -> Option<(usize, Words)> {
        let index = usize::from(name.vcpu) * 2 + name.kind as usize;
        self.at(index).map(|(_, words)| (index, words))
    }

    fn at(&self, index: usize) -> Option<(RingName, Words)> {
        let geometry = self.region.geometry;
        let vcpu = (index / 2) as u16;
        let kind = RingKind::ALL[index % 2];
        (u32::from(vcpu) < geometry.vcpus()).then(|| {
            let offset = geometry.ring_offset(vcpu.into(), kind);
            (RingName { vcpu, kind }, self.region.words.at_byte(offset))
        })
    }
}

/// What a host's frame asks for.
#[allow(clippy::large_enum_variant, reason = "without an allocator there is no box; one is alive at once")]
enum Wish {
    Attach(Begin),
    Seek(RingName, u64),
    Ping(u64),
    Finish,
    Request(uniprof_wire::tables::ControlRequest),
    Want { region: bool, counters: bool, areas: u8, all: bool },
    Nothing,
}

impl Wish {
    fn from_frame(frame: &Frame<'_>) -> Self {
        match *frame {
            // A host of another version sees ours in the header page, and says so; it must get that far.
            Frame::Attach { wire_version, begin }
                if (OLDEST_VERSION..=WIRE_VERSION).contains(&wire_version) =>
            {
                Self::Attach(begin)
            }
            Frame::Attach { .. } => Self::Attach(Begin::Boot),
            Frame::Seek { ring, position } => Self::Seek(ring, position),
            Frame::Ping { token } => Self::Ping(token),
            Frame::Finish => Self::Finish,
            Frame::Request(request) => Self::Request(request),
            Frame::Want { region, counters, areas, all } => Self::Want { region, counters, areas, all },
            Frame::Region { .. }
            | Frame::Block { .. }
            | Frame::Counters { .. }
            | Frame::Pong { .. }
            | Frame::Piece { .. } => Self::Nothing,
        }
    }
}

impl ReaderWords for Words {
    fn load(&self, index: usize) -> u64 {
        self.atomic(index).load(core::sync::atomic::Ordering::Acquire)
    }
}

fn all_rings(geometry: Geometry) -> u128 {
    let rings = geometry.vcpus() * 2;
    if rings >= u128::BITS { u128::MAX } else { (1 << rings) - 1 }
}

fn take_lowest(bits: &mut u128) -> Option<usize> {
    let lowest = bits.trailing_zeros();
    (*bits != 0).then(|| {
        *bits &= *bits - 1;
        lowest as usize
    })
}

/// Words as they lie in memory, which is how they go over the line.
fn bytes_of(words: &[u64]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little")) };
    // SAFETY: any eight bytes of a word are bytes, and the slice covers the same memory for as long.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}
