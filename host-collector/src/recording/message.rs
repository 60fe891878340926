//! What is recorded, and its encoding; the layout is at the top of the parent module.

use std::borrow::Cow;

use uniprof_wire::{
    address::GuestPhysical,
    layout::{MAX_SLOTS, MAX_SUB_BUFFER, RingKind},
    record::CLASSES,
};

use crate::{clock::HostTime, histograms::Histograms, live_blocks::LiveBlocks, network::Network};

/// One ring of one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId {
    /// The vCPU.
    pub vcpu: u16,
    /// Which of its two.
    pub kind: RingKind,
}

impl std::fmt::Display for RingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "vcpu{}/{}", self.vcpu, self.kind.name())
    }
}

/// One thing that happened, live or read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// When the collector saw it.
    pub at: HostTime,
    /// Which boot of the guest it belongs to: counts up when the boot id changes within one recording.
    pub session: u32,
    /// What it is.
    pub body: Body<'a>,
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The region from its header to its first ring, as it lay in memory.
    Region {
        /// Where it lies.
        at: GuestPhysical,
        /// Its bytes: [`uniprof_wire::layout::RegionHeader::from_words`], then the tables.
        bytes: Cow<'a, [u8]>,
    },
    /// Words of a ring that were copied and found intact: part of one sub-buffer.
    Block {
        /// The ring.
        ring: RingId,
        /// Position of the first word; a record begins there.
        start: u64,
        /// The slot's counters, where the block ends its sub-buffer.
        sealed: Option<[u64; CLASSES]>,
        /// The words.
        words: Cow<'a, [u64]>,
    },
    /// All counters of a ring at one moment.
    Counters(RingCounters<'a>),
    /// The guest's clock against the host's.
    Clock(ClockPair),
    /// A line of the console.
    Console {
        /// The line goes on in the next message.
        continued: bool,
        /// What the guest wrote.
        bytes: Cow<'a, [u8]>,
    },
    /// Why the recording ended: JSON.
    End(Cow<'a, [u8]>),
    /// All histograms of the guest since its boot: [`Histograms::from_words`].
    Histograms(Cow<'a, [u64]>),
    /// The sampled blocks that were allocated then: [`LiveBlocks::from_words`].
    Heap(Cow<'a, [u64]>),
    /// Interfaces and connections as they were then: [`Network::from_words`].
    Network(Cow<'a, [u64]>),
}

/// All counters of a ring at one moment at which nobody was writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingCounters<'a> {
    /// The ring.
    pub ring: RingId,
    /// Its head then.
    pub head: u64,
    /// Whether reading ends here: what is not read up to `head` by now was not read. Else reading begins here.
    pub last: bool,
    /// Records refused so far, by class.
    pub refused: [u64; CLASSES],
    /// Records committed so far, [`CLASSES`] words for each slot.
    pub slots: Cow<'a, [u64]>,
}

/// A guest TSC, and when it was that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPair {
    /// The latest TSC that any vCPU had left as its sign of life when the collector looked, at [`Message::at`].
    pub tsc: u64,
    /// It is at most this much older than that.
    pub uncertainty_ns: u64,
}

const REGION: u8 = 1;
const BLOCK: u8 = 2;
const COUNTERS: u8 = 3;
const CLOCK: u8 = 4;
const CONSOLE: u8 = 5;
const END: u8 = 6;
const HISTOGRAMS: u8 = 7;
const HEAP: u8 = 8;
const NETWORK: u8 = 9;

impl Body<'_> {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Region { .. } => REGION,
            Self::Block { .. } => BLOCK,
            Self::Counters(_) => COUNTERS,
            Self::Clock(_) => CLOCK,
            Self::Console { .. } => CONSOLE,
            Self::End(_) => END,
            Self::Histograms(_) => HISTOGRAMS,
            Self::Heap(_) => HEAP,
            Self::Network(_) => NETWORK,
        }
    }

    /// The ring that it is about.
    #[must_use]
    pub const fn ring(&self) -> Option<RingId> {
        match self {
            Self::Block { ring, .. } | Self::Counters(RingCounters { ring, .. }) => Some(*ring),
            _ => None,
        }
    }

    /// Name of its MCAP channel.
    pub(super) fn topic(&self) -> String {
        match self {
            Self::Region { .. } => "region".into(),
            Self::Block { ring, .. } | Self::Counters(RingCounters { ring, .. }) => ring.to_string(),
            Self::Clock(_) => "clock".into(),
            Self::Console { .. } => "console".into(),
            Self::End(_) => "end".into(),
            Self::Histograms(_) => "histograms".into(),
            Self::Heap(_) => "heap".into(),
            Self::Network(_) => "network".into(),
        }
    }
}

impl Message<'_> {
    /// The message with nothing borrowed.
    #[must_use]
    pub fn into_owned(self) -> Message<'static> {
        let body = match self.body {
            Body::Region { at, bytes } => Body::Region { at, bytes: Cow::Owned(bytes.into_owned()) },
            Body::Block { ring, start, sealed, words } => {
                Body::Block { ring, start, sealed, words: Cow::Owned(words.into_owned()) }
            }
            Body::Counters(RingCounters { ring, head, last, refused, slots }) => {
                Body::Counters(RingCounters {
                    ring,
                    head,
                    last,
                    refused,
                    slots: Cow::Owned(slots.into_owned()),
                })
            }
            Body::Clock(pair) => Body::Clock(pair),
            Body::Console { continued, bytes } => {
                Body::Console { continued, bytes: Cow::Owned(bytes.into_owned()) }
            }
            Body::End(json) => Body::End(Cow::Owned(json.into_owned())),
            Body::Histograms(words) => Body::Histograms(Cow::Owned(words.into_owned())),
            Body::Heap(words) => Body::Heap(Cow::Owned(words.into_owned())),
            Body::Network(words) => Body::Network(Cow::Owned(words.into_owned())),
        };
        Message { at: self.at, session: self.session, body }
    }

    /// Replaces `out` with the encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let ring = self.body.ring();
        let (vcpu, kind) = ring.map_or((0, 0), |ring| (ring.vcpu, ring.kind as u8));
        let first = u64::from(self.body.kind())
            | u64::from(kind) << 8
            | u64::from(vcpu) << 16
            | u64::from(self.session) << 32;
        put(out, &[first]);
        match &self.body {
            Body::Region { at, bytes } => {
                put(out, &[at.0]);
                out.extend_from_slice(bytes);
            }
            Body::Block { start, sealed, words, .. } => {
                put(out, &[*start, u64::from(sealed.is_some())]);
                if let Some(sealed) = sealed {
                    put(out, sealed);
                }
                put(out, words);
            }
            Body::Counters(counters) => {
                put(out, &[counters.head, u64::from(counters.last)]);
                put(out, &counters.refused);
                put(out, &counters.slots);
            }
            Body::Clock(pair) => put(out, &[pair.tsc, pair.uncertainty_ns]),
            Body::Console { continued, bytes } => {
                put(out, &[u64::from(*continued)]);
                out.extend_from_slice(bytes);
            }
            Body::End(json) => out.extend_from_slice(json),
            Body::Histograms(words) | Body::Heap(words) | Body::Network(words) => put(out, words),
        }
    }
}

/// All of an encoded message but the bytes or words at its end, checked. It borrows nothing, so that a reader can go on
/// past a message that is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    session: u32,
    body: HeadBody,
    /// Where its bytes or words begin in the data.
    tail: usize,
}

#[derive(Clone, Copy, Debug)]
enum HeadBody {
    Region { at: GuestPhysical },
    Block { ring: RingId, start: u64, sealed: Option<[u64; CLASSES]> },
    Counters { ring: RingId, head: u64, last: bool, refused: [u64; CLASSES] },
    Clock(ClockPair),
    Console { continued: bool },
    End,
    Histograms,
    Heap,
    Network,
}

impl Head {
    /// Reads and checks an encoding. `None`: not one of ours.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let (first, rest) = take(data)?;
        let kind = RingKind::ALL.get((first >> 8 & 0xff) as usize).copied()?;
        let ring = RingId { vcpu: (first >> 16) as u16, kind };
        let (body, rest) = match first as u8 {
            REGION => take(rest).map(|(at, rest)| (HeadBody::Region { at: GuestPhysical(at) }, rest))?,
            BLOCK => {
                let (start, rest) = take(rest)?;
                let (has_counters, rest) = take(rest)?;
                let (sealed, rest) = match has_counters {
                    0 => (None, rest),
                    1 => take_counters(rest).map(|(counters, rest)| (Some(counters), rest))?,
                    _ => return None,
                };
                (HeadBody::Block { ring, start, sealed }, whole_words(rest, MAX_SUB_BUFFER as usize / 8)?)
            }
            COUNTERS => {
                let (head, rest) = take(rest)?;
                let (last, rest) = take(rest)?;
                let (refused, rest) = take_counters(rest)?;
                let body = HeadBody::Counters { ring, head, last: last != 0, refused };
                (body, whole_words(rest, MAX_SLOTS as usize * CLASSES)?)
            }
            CLOCK => {
                let (tsc, rest) = take(rest)?;
                let (uncertainty_ns, rest) = take(rest)?;
                (HeadBody::Clock(ClockPair { tsc, uncertainty_ns }), rest)
            }
            CONSOLE => {
                take(rest).map(|(continued, rest)| (HeadBody::Console { continued: continued != 0 }, rest))?
            }
            END => (HeadBody::End, rest),
            HISTOGRAMS => (HeadBody::Histograms, whole_words(rest, Histograms::MOST_WORDS)?),
            HEAP => (HeadBody::Heap, whole_words(rest, LiveBlocks::MOST_WORDS)?),
            NETWORK => (HeadBody::Network, whole_words(rest, Network::MOST_WORDS)?),
            _ => return None,
        };
        Some(Self { session: (first >> 32) as u32, body, tail: data.len() - rest.len() })
    }

    /// Whether it says that the recording ends.
    pub(super) const fn is_end(&self) -> bool {
        matches!(self.body, HeadBody::End)
    }

    /// The message, from the data that it was read from; `words` is scratch space.
    pub(super) fn with<'a>(self, at: HostTime, data: &'a [u8], words: &'a mut Vec<u64>) -> Message<'a> {
        let bytes = &data[self.tail..];
        let body = match self.body {
            HeadBody::Region { at } => Body::Region { at, bytes: bytes.into() },
            HeadBody::Block { ring, start, sealed } => {
                Body::Block { ring, start, sealed, words: get(bytes, words).into() }
            }
            HeadBody::Counters { ring, head, last, refused } => {
                let slots = get(bytes, words).into();
                Body::Counters(RingCounters { ring, head, last, refused, slots })
            }
            HeadBody::Clock(pair) => Body::Clock(pair),
            HeadBody::Console { continued } => Body::Console { continued, bytes: bytes.into() },
            HeadBody::End => Body::End(bytes.into()),
            HeadBody::Histograms => Body::Histograms(get(bytes, words).into()),
            HeadBody::Heap => Body::Heap(get(bytes, words).into()),
            HeadBody::Network => Body::Network(get(bytes, words).into()),
        };
        Message { at, session: self.session, body }
    }
}

fn whole_words(data: &[u8], most: usize) -> Option<&[u8]> {
    (data.len().is_multiple_of(8) && data.len() / 8 <= most).then_some(data)
}

fn put(out: &mut Vec<u8>, words: &[u64]) {
    let begin = out.len();
    out.resize(begin + words.len() * 8, 0);
    for (bytes, word) in out[begin..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
}

fn take(data: &[u8]) -> Option<(u64, &[u8])> {
    let (word, rest) = data.split_first_chunk()?;
    Some((u64::from_le_bytes(*word), rest))
}

fn take_counters(mut data: &[u8]) -> Option<([u64; CLASSES], &[u8])> {
    let mut counters = [0; CLASSES];
    for counter in &mut counters {
        (*counter, data) = take(data)?;
    }
    Some((counters, data))
}

fn get<'a>(data: &[u8], words: &'a mut Vec<u64>) -> &'a [u64] {
    words.clear();
    words.extend(data.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    words
}
