//! What goes over the line, and its encoding.

use super::{Crc, HEADER_WORDS, MAX_PAYLOAD, STREAM_MAGIC, STREAM_VERSION};
use crate::layout::RingKind;
use crate::record::CLASSES;
use crate::ring::Counters;
use crate::tables::{ControlRequest, Slot};

/// Kinds of frames. Those of a host begin at 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Frame::Region`].
    Region = 1,
    /// [`Frame::Block`].
    Block = 2,
    /// [`Frame::Counters`].
    Counters = 3,
    /// [`Frame::Pong`].
    Pong = 4,
    /// [`Frame::Piece`].
    Piece = 5,
    /// [`Frame::Attach`].
    Attach = 64,
    /// [`Frame::Seek`].
    Seek = 65,
    /// [`Frame::Ping`].
    Ping = 66,
    /// [`Frame::Finish`].
    Finish = 67,
    /// [`Frame::Request`].
    Request = 68,
    /// [`Frame::Want`].
    Want = 69,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Region,
        Self::Block,
        Self::Counters,
        Self::Pong,
        Self::Piece,
        Self::Attach,
        Self::Seek,
        Self::Ping,
        Self::Finish,
        Self::Request,
        Self::Want,
    ];

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One ring of one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingName {
    /// The vCPU.
    pub vcpu: u16,
    /// Which of its two.
    pub kind: RingKind,
}

impl RingName {
    const fn word(self, flags: u64) -> u64 {
        self.vcpu as u64 | (self.kind as u64) << 16 | flags << 32
    }

    fn from_word(word: u64) -> Option<(Self, u64)> {
        let kind = *RingKind::ALL.get((word >> 16 & 0xffff) as usize)?;
        Some((Self { vcpu: word as u16, kind }, word >> 32))
    }
}

/// Memory that changes slowly, and goes over the line in pieces when it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The section of event sites, with which of them are on.
    Sites = 0,
    /// The heap table: keys and entries.
    Heap = 1,
    /// The histograms of all vCPUs.
    Histograms = 2,
    /// The network table: interfaces and connections.
    Net = 3,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sites, Self::Heap, Self::Histograms, Self::Net];

    /// Its bit in a set of areas.
    #[must_use]
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Where a guest shall begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With all that it has written since its boot, as far as it is still there.
    Boot = 0,
    /// With what is new; it sends the counters of each ring first, which the account begins with.
    Now = 1,
    /// Where its cursors are. The host says [`Frame::Seek`] for each ring that it knows better.
    Resume = 2,
}

/// What counters of a ring are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Reading begins there.
    Opens = 0,
    /// Reading ends there.
    Closes = 1,
    /// Somebody wanted them ([`Frame::Want`]); whoever else reads goes on.
    Stands = 2,
}

impl Account {
    const fn flags(self) -> u64 {
        match self {
            Self::Opens => 0,
            Self::Closes => LAST,
            Self::Stands => STANDS,
        }
    }

    const fn from_flags(flags: u64) -> Self {
        match (flags & LAST != 0, flags & STANDS != 0) {
            (true, _) => Self::Closes,
            (false, true) => Self::Stands,
            (false, false) => Self::Opens,
        }
    }
}

/// Words as the machine has them, or as they came over the line.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// In memory.
    Native(&'a [u64]),
    /// Little-endian, eight bytes each, unaligned.
    Bytes(&'a [[u8; 8]]),
}

impl<'a> Words<'a> {
    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Native(words) => words.len(),
            Self::Bytes(words) => words.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Word `index`.
    #[must_use]
    pub fn get(self, index: usize) -> Option<u64> {
        match self {
            Self::Native(words) => words.get(index).copied(),
            Self::Bytes(words) => words.get(index).map(|bytes| u64::from_le_bytes(*bytes)),
        }
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        (0..self.len()).filter_map(move |index| self.get(index))
    }

    fn split_at(self, index: usize) -> Option<(Self, Self)> {
        Some(match self {
            Self::Native(words) => {
                let (a, b) = words.split_at_checked(index)?;
                (Self::Native(a), Self::Native(b))
            }
            Self::Bytes(words) => {
                let (a, b) = words.split_at_checked(index)?;
                (Self::Bytes(a), Self::Bytes(b))
            }
        })
    }

    fn array<const N: usize>(self) -> Option<[u64; N]> {
        (self.len() == N).then(|| core::array::from_fn(|index| self.get(index).unwrap_or(0)))
    }
}

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// One frame.
#[allow(clippy::large_enum_variant, reason = "without an allocator there is no box; few are alive at once")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frame<'a> {
    /// The region from its header to its first ring, as it lies in the guest's memory.
    Region {
        /// Where it lies, guest-physical.
        at: u64,
        /// Header page, control page and tables.
        words: Words<'a>,
    },
    /// Words of a ring.
    Block {
        /// Of which.
        ring: RingName,
        /// Where the guest's cursor was: the end of the block before.
        from: u64,
        /// Position of the first word; greater than `from` where words were overwritten before the guest came to them.
        start: u64,
        /// The slot's counters, where the block ends its sub-buffer.
        sealed: Option<[u64; CLASSES]>,
        /// The words; a record begins with the first.
        words: Words<'a>,
    },
    /// All counters of a ring at a moment at which nobody wrote.
    Counters {
        /// Of which.
        ring: RingName,
        /// Where the guest's cursor is.
        from: u64,
        /// What they are for.
        account: Account,
        /// The head, the refused, and [`CLASSES`] words for each slot; `None`: the ring was written to all the time.
        counted: Option<(u64, [u64; CLASSES], Words<'a>)>,
    },
    /// Answers a ping.
    Pong {
        /// The ping's.
        token: u64,
        /// The guest's TSC when it answered.
        tsc: u64,
    },
    /// Part of an area as it is now. The pieces of a round are numbered from 0; one without words ends it, and its number says how many there
    /// were.
    Piece {
        /// Of which area.
        area: Area,
        /// Whether the round brings all that is not zero; else what has changed since the round before.
        all: bool,
        /// Its number in the round.
        number: u32,
        /// The area's word that it begins with.
        first: u64,
        /// Words of the whole area.
        total: u64,
        /// The words.
        words: Words<'a>,
    },
    /// Begins a conversation, under the epoch in the frame's header.
    Attach {
        /// The host's [`WIRE_VERSION`](crate::WIRE_VERSION).
        wire_version: u32,
        /// Where to begin.
        begin: Begin,
    },
    /// Puts a cursor back, or forth.
    Seek {
        /// Of which ring.
        ring: RingName,
        /// To where; a record begins there.
        position: u64,
    },
    /// Asks for the guest's TSC, and shows that the host is there.
    Ping {
        /// Comes back.
        token: u64,
    },
    /// Asks for the counters that close the account of each ring, and for the tables.
    Finish,
    /// One slot of the control page. Without a lease it is withdrawn.
    Request(ControlRequest),
    /// Asks for the tables as they are now, for the counters of each ring, or for a round of pieces.
    Want {
        /// The tables.
        region: bool,
        /// The counters.
        counters: bool,
        /// Bits of [`Area::bit`].
        areas: u8,
        /// Whether all of these areas is wanted, or what has changed since the round before.
        all: bool,
    },
}

const SEALED: u64 = 1;
const LAST: u64 = 1;
const COUNTED: u64 = 2;
const STANDS: u64 = 4;
const ALL: u64 = 1 << 8;
const REGION: u64 = 1 << 9;
const COUNTERS: u64 = 1 << 10;
/// Payload words of a piece before its words.
pub const PIECE_HEAD: usize = 3;
/// Payload words of a block before its words; the slot's counters come after them.
pub const BLOCK_HEAD: usize = 3;
/// Payload words of counters before those of the slots.
pub const COUNTERS_HEAD: usize = 3 + CLASSES;

/// The first payload words of a block, for who reads a ring right into the frame.
#[must_use]
pub const fn block_head(ring: RingName, from: u64, start: u64, sealed: bool) -> [u64; BLOCK_HEAD] {
    [ring.word(if sealed { SEALED } else { 0 }), from, start]
}

/// The first payload words of a ring's counters, for who reads those of the slots right into the frame.
#[must_use]
pub fn counters_head(
    ring: RingName,
    from: u64,
    account: Account,
    counters: &Counters,
) -> [u64; COUNTERS_HEAD] {
    let flags = account.flags() | COUNTED;
    let mut head = [0; COUNTERS_HEAD];
    (head[0], head[1], head[2]) = (ring.word(flags), from, counters.head);
    head[3..].copy_from_slice(&counters.refused);
    head
}

/// The first payload words of a piece, for who copies its words right into the frame.
#[must_use]
pub const fn piece_head(area: Area, all: bool, number: u32, first: u64, total: u64) -> [u64; PIECE_HEAD] {
    [area as u64 | if all { ALL } else { 0 } | (number as u64) << 32, first, total]
}

/// Puts the header in front of `payload` words that lie behind it already. The whole frame's words, to be sent little-endian; `None`
/// where they do not fit `frame`.
pub fn seal(frame: &mut [u64], kind: Kind, epoch: u32, payload: usize) -> Option<&[u64]> {
    if payload > MAX_PAYLOAD {
        return None;
    }
    let frame = frame.get_mut(..HEADER_WORDS + payload)?;
    let crc = frame[HEADER_WORDS..].iter().fold(Crc::new(), |crc, word| crc.word(*word)).value();
    let magic = u64::from(u32::from_le_bytes(STREAM_MAGIC));
    frame[0] = magic | u64::from(STREAM_VERSION) << 32 | u64::from(kind as u8) << 40;
    frame[1] = payload as u64 | u64::from(epoch) << 32;
    let head = Crc::new().word(frame[0]).word(frame[1]).bytes(&crc.to_le_bytes());
    frame[2] = u64::from(crc) | u64::from(head.value()) << 32;
    Some(frame)
}

impl<'a> Frame<'a> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Region { .. } => Kind::Region,
            Self::Block { .. } => Kind::Block,
            Self::Counters { .. } => Kind::Counters,
            Self::Pong { .. } => Kind::Pong,
            Self::Piece { .. } => Kind::Piece,
            Self::Attach { .. } => Kind::Attach,
            Self::Seek { .. } => Kind::Seek,
            Self::Ping { .. } => Kind::Ping,
            Self::Finish => Kind::Finish,
            Self::Request(_) => Kind::Request,
            Self::Want { .. } => Kind::Want,
        }
    }

    /// Encodes it at the front of `out`. The frame's words, to be sent little-endian; `None` where they do not fit.
    pub fn encode<'b>(&self, epoch: u32, out: &'b mut [u64]) -> Option<&'b [u64]> {
        let mut payload = Payload { words: out.get_mut(HEADER_WORDS..)?, len: 0 };
        match self {
            Self::Region { at, words } => {
                payload.put([*at])?;
                payload.put(words.iter())?;
            }
            Self::Block { ring, from, start, sealed, words } => {
                payload.put(block_head(*ring, *from, *start, sealed.is_some()))?;
                payload.put(words.iter())?;
                payload.put(sealed.iter().flatten().copied())?;
            }
            Self::Counters { ring, from, account, counted } => match counted {
                Some((head, refused, slots)) => {
                    let counters = Counters { head: *head, refused: *refused };
                    payload.put(counters_head(*ring, *from, *account, &counters))?;
                    payload.put(slots.iter())?;
                }
                None => payload.put([ring.word(account.flags()), *from])?,
            },
            Self::Pong { token, tsc } => payload.put([*token, *tsc])?,
            Self::Piece { area, all, number, first, total, words } => {
                payload.put(piece_head(*area, *all, *number, *first, *total))?;
                payload.put(words.iter())?;
            }
            Self::Attach { wire_version, begin } => {
                payload.put([u64::from(*wire_version) | (*begin as u64) << 32])?;
            }
            Self::Seek { ring, position } => payload.put([ring.word(0), *position])?,
            Self::Ping { token } => payload.put([*token])?,
            Self::Finish => {}
            Self::Request(request) => payload.put(request.to_words())?,
            Self::Want { region, counters, areas, all } => {
                let all = if *all { ALL } else { 0 };
                let region = if *region { REGION } else { 0 };
                let counters = if *counters { COUNTERS } else { 0 };
                payload.put([u64::from(*areas) | all | region | counters])?;
            }
        }
        let len = payload.len;
        seal(out, self.kind(), epoch, len)
    }

    /// From a payload whose checksum was right. `None`: none that this version makes.
    #[must_use]
    pub fn decode(kind: Kind, payload: Words<'a>) -> Option<Self> {
        Some(match kind {
            Kind::Region => {
                let (at, words) = payload.split_at(1)?;
                Self::Region { at: at.get(0)?, words }
            }
            Kind::Block => {
                let (head, words) = payload.split_at(BLOCK_HEAD)?;
                let [ring, from, start] = head.array()?;
                let (ring, flags) = RingName::from_word(ring)?;
                let (words, sealed) = if flags & SEALED != 0 {
                    let (words, sealed) = words.split_at(words.len().checked_sub(CLASSES)?)?;
                    (words, Some(sealed.array()?))
                } else {
                    (words, None)
                };
                Self::Block { ring, from, start, sealed, words }
            }
            Kind::Counters => {
                let (head, rest) = payload.split_at(2)?;
                let [ring, from] = head.array()?;
                let (ring, flags) = RingName::from_word(ring)?;
                let counted = if flags & COUNTED != 0 {
                    let (head, rest) = rest.split_at(1)?;
                    let (refused, slots) = rest.split_at(CLASSES)?;
                    let whole = slots.len().is_multiple_of(CLASSES);
                    Some((head.get(0)?, refused.array()?, slots)).filter(|_| whole)
                } else {
                    None
                };
                Self::Counters { ring, from, account: Account::from_flags(flags), counted }
            }
            Kind::Pong => {
                let [token, tsc] = payload.array()?;
                Self::Pong { token, tsc }
            }
            Kind::Piece => {
                let (head, words) = payload.split_at(PIECE_HEAD)?;
                let [what, first, total] = head.array()?;
                let area = *Area::ALL.get((what & 0xff) as usize)?;
                let inside = first.checked_add(words.len() as u64).is_some_and(|end| end <= total);
                if !inside {
                    return None;
                }
                let (all, number) = (what & ALL != 0, (what >> 32) as u32);
                Self::Piece { area, all, number, first, total, words }
            }
            Kind::Attach => {
                let [word] = payload.array()?;
                let begins = [Begin::Boot, Begin::Now, Begin::Resume];
                let begin = *begins.get((word >> 32) as usize)?;
                Self::Attach { wire_version: word as u32, begin }
            }
            Kind::Seek => {
                let [ring, position] = payload.array()?;
                Self::Seek { ring: RingName::from_word(ring)?.0, position }
            }
            Kind::Ping => {
                let [token] = payload.array()?;
                Self::Ping { token }
            }
            Kind::Finish => {
                let [] = payload.array()?;
                Self::Finish
            }
            Kind::Request => {
                let slot: [u64; ControlRequest::WORDS - 1] = payload.array()?;
                // A slot's first word is its sequence: what came whole over the line is not being written.
                let words = core::array::from_fn(|i| if i == 0 { 2 } else { slot[i - 1] });
                let Slot::Whole(request) = ControlRequest::from_words(&words) else { return None };
                Self::Request(request)
            }
            Kind::Want => {
                let [word] = payload.array()?;
                Self::Want {
                    region: word & REGION != 0,
                    counters: word & COUNTERS != 0,
                    areas: word as u8,
                    all: word & ALL != 0,
                }
            }
        })
    }
}

/// A payload under way.
struct Payload<'a> {
    words: &'a mut [u64],
    len: usize,
}

impl Payload<'_> {
    fn put(&mut self, words: impl IntoIterator<Item = u64>) -> Option<()> {
        for word in words {
            *self.words.get_mut(self.len)? = word;
            self.len += 1;
        }
        Some(())
    }
}
