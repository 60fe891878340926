//! Several collectors on one port. Whoever has the port listens on a socket beside it, and passes on what the others ask of the guest, and to
//! them what the guest says. They speak to it as they would to the guest, so each keeps its own account; when the one that has the port
//! ends, another takes its place, and goes on where it was.
//!
//! ```text
//!   guest ── QEMU ── port ──► holder's conversation ──► its recording
//!                                 │ ▲
//!                   frames of     ▼ │  requests, wants, pings
//!                   the guest    hub ── socket ──► conversations of others
//! ```
//!
//! Frames pass as they are but for their epoch. Three things can't, because they would move what the holder reads: a collector that comes
//! *now* or wants to *finish* gets counters that the guest takes besides ([`Account::Stands`]), and a cursor is only ever put back.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
};

use rustix::event::{PollFd, PollFlags};
use uniprof_wire::{
    layout::RingKind,
    stream::{
        Account, Begin, Decoded, Decoder, Frame, HEADER_BYTES, HEADER_WORDS, MAX_HOST_PAYLOAD, MAX_PAYLOAD,
        RingName,
    },
};

use super::{conversation::Conversation, holder::beside};
use crate::clock::HostTime;

/// Collectors that are served besides the holder.
const MOST: usize = 16;
/// Bytes that may wait for one of them: what it does not take is overwritten for it, as it would be for a slow holder.
const MOST_WAITING: usize = 8 << 20;
/// Bytes that are read of one at once.
const READ: usize = 4 << 10;
/// How often counters that did not come are asked for again.
const ASK_EVERY: u64 = 300_000_000;
/// How often a ring that is written to all the time is asked for its counters before it is read without.
const ATTEMPTS: u32 = 4;
/// Bits of a ping's token that are the collector's own; above them is its number.
const TOKEN_BITS: u32 = 40;

/// The others.
#[derive(Debug)]
pub(super) struct Hub {
    path: PathBuf,
    listener: UnixListener,
    others: Vec<Other>,
    numbers: u64,
    /// A frame, encoded anew.
    frame: Vec<u64>,
}

#[derive(Debug)]
struct Other {
    number: u64,
    line: UnixStream,
    decoder: Decoder<Vec<u8>>,
    epoch: Option<u32>,
    out: Vec<u8>,
    /// Rings whose account it wants opened or closed.
    opening: Rings,
    closing: Rings,
    asked_ns: u64,
    attempts: u32,
    is_gone: bool,
}

/// A set of rings.
#[derive(Clone, Debug, Default)]
struct Rings(Vec<RingName>);

impl Rings {
    fn all(vcpus: u32) -> Self {
        let vcpus = 0..vcpus as u16;
        Self(vcpus.flat_map(|vcpu| RingKind::ALL.map(|kind| RingName { vcpu, kind })).collect())
    }

    fn has(&self, ring: RingName) -> bool {
        self.0.contains(&ring)
    }

    fn take(&mut self, ring: RingName) {
        self.0.retain(|one| *one != ring);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Hub {
    /// Where the others find it.
    pub(super) fn path(port: &Path) -> PathBuf {
        beside(port, "hub")
    }

    /// Listens beside the port. Only for who holds the port's lock. `None`: nobody else can be served.
    pub(super) fn listen(port: &Path) -> Option<Self> {
        let path = Self::path(port);
        // Of a holder that was killed.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).ok()?;
        listener.set_nonblocking(true).ok()?;
        let frame = vec![0; HEADER_WORDS + MAX_PAYLOAD];
        Some(Self { path, listener, others: Vec::new(), numbers: 0, frame })
    }

    /// What to wait for.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let others = self.others.iter().map(|other| {
            let flags = if other.out.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            PollFd::new(&other.line, flags)
        });
        std::iter::once(PollFd::new(&self.listener, PollFlags::IN)).chain(others)
    }

    /// Hears the others, and hands them what waits for them.
    pub(super) fn serve(&mut self, conversation: &mut Conversation, now: HostTime) {
        while let Ok((line, _)) = self.listener.accept() {
            if self.others.len() < MOST && line.set_nonblocking(true).is_ok() {
                self.numbers += 1;
                self.others.push(Other::new(self.numbers, line));
            }
        }
        for other in &mut self.others {
            other.hear(conversation, now);
            other.ask_again(conversation, now);
            other.write();
        }
        self.others.retain(|other| !other.is_gone);
    }

    /// Passes on what the guest said.
    pub(super) fn pass_on(&mut self, frame: &Frame<'_>) {
        for other in &mut self.others {
            other.pass_on(frame, &mut self.frame);
        }
    }
}

impl Other {
    fn new(number: u64, line: UnixStream) -> Self {
        Self {
            number,
            line,
            decoder: Decoder::new(vec![0; HEADER_BYTES + MAX_HOST_PAYLOAD * 8]),
            epoch: None,
            out: Vec::new(),
            opening: Rings::default(),
            closing: Rings::default(),
            asked_ns: 0,
            attempts: 0,
            is_gone: false,
        }
    }

    fn hear(&mut self, conversation: &mut Conversation, now: HostTime) {
        let mut bytes = [0; READ];
        loop {
            match self.line.read(&mut bytes) {
                Ok(0) => self.is_gone = true,
                Ok(count) => {
                    self.take_in(&bytes[..count], conversation, now);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.is_gone = true,
            }
            return;
        }
    }

    fn take_in(&mut self, mut bytes: &[u8], conversation: &mut Conversation, now: HostTime) {
        // The decoder's buffer stays where it is while a frame in it is looked at.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Vec::new()));
        while !bytes.is_empty() {
            let taken = decoder.push(bytes);
            bytes = &bytes[taken..];
            loop {
                match decoder.next() {
                    Decoded::NeedMore => break,
                    Decoded::Malformed { .. } => {}
                    Decoded::Frame { epoch, frame } => self.on_frame(epoch, &frame, conversation, now),
                }
            }
        }
        self.decoder = decoder;
    }

    fn on_frame(&mut self, epoch: u32, frame: &Frame<'_>, conversation: &mut Conversation, now: HostTime) {
        if let Frame::Attach { begin, .. } = frame {
            return self.attach(epoch, *begin, conversation, now);
        }
        if self.epoch != Some(epoch) {
            return;
        }
        match *frame {
            Frame::Seek { ring, position } => conversation.seek_for_other(ring, position),
            Frame::Ping { token } => {
                let token = token & ((1 << TOKEN_BITS) - 1) | self.number << TOKEN_BITS;
                conversation.say(&Frame::Ping { token });
            }
            Frame::Finish => {
                self.closing = Rings::all(conversation.vcpus());
                self.ask(conversation, now);
            }
            Frame::Request(_) | Frame::Want { .. } => conversation.say(frame),
            // A guest's.
            _ => {}
        }
    }

    fn attach(&mut self, epoch: u32, begin: Begin, conversation: &mut Conversation, now: HostTime) {
        let is_new = self.epoch.replace(epoch) != Some(epoch);
        conversation.say(&Frame::Want { region: true, counters: false, areas: 0, all: false });
        match begin {
            Begin::Now if is_new || self.opening.is_empty() => {
                self.opening = Rings::all(conversation.vcpus());
                self.attempts = 0;
                self.ask(conversation, now);
            }
            Begin::Boot if is_new => {
                for ring in Rings::all(conversation.vcpus()).0 {
                    conversation.seek_for_other(ring, 0);
                }
            }
            Begin::Now | Begin::Boot | Begin::Resume => {}
        }
    }

    fn ask(&mut self, conversation: &mut Conversation, now: HostTime) {
        self.asked_ns = now.monotonic_ns;
        conversation.say(&Frame::Want { region: false, counters: true, areas: 0, all: false });
    }

    fn ask_again(&mut self, conversation: &mut Conversation, now: HostTime) {
        let waits = !self.opening.is_empty() || !self.closing.is_empty();
        if waits && now.monotonic_ns.saturating_sub(self.asked_ns) >= ASK_EVERY {
            self.attempts += 1;
            self.ask(conversation, now);
        }
    }

    fn pass_on(&mut self, frame: &Frame<'_>, words: &mut [u64]) {
        if self.epoch.is_none() {
            return;
        }
        match *frame {
            Frame::Region { .. } | Frame::Block { .. } | Frame::Piece { .. } => self.say(frame, words),
            Frame::Pong { token, tsc } if token >> TOKEN_BITS == self.number => {
                self.say(&Frame::Pong { token: token & ((1 << TOKEN_BITS) - 1), tsc }, words);
            }
            // The guest ends: for all of them.
            Frame::Counters { account: Account::Closes, .. } => self.say(frame, words),
            Frame::Counters { ring, from, account: Account::Stands, counted } => {
                let is_sure = counted.is_some() || self.attempts >= ATTEMPTS;
                if self.opening.has(ring) && is_sure {
                    self.opening.take(ring);
                    self.say(&Frame::Counters { ring, from, account: Account::Opens, counted }, words);
                }
                if self.closing.has(ring) && is_sure {
                    self.closing.take(ring);
                    self.say(&Frame::Counters { ring, from, account: Account::Closes, counted }, words);
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, frame: &Frame<'_>, words: &mut [u64]) {
        let Some(epoch) = self.epoch.filter(|_| self.out.len() < MOST_WAITING) else { return };
        if let Some(words) = frame.encode(epoch, words) {
            self.out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
    }

    fn write(&mut self) {
        let mut written = 0;
        while written < self.out.len() {
            match self.line.write(&self.out[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.is_gone = true;
                    break;
                }
            }
        }
        self.out.drain(..written);
    }
}
