//! Frames out of bytes: any bytes, in pieces of any size.

use super::frame::Kind;
use super::{Crc, Frame, HEADER_BYTES, MAX_PAYLOAD, STREAM_MAGIC, STREAM_VERSION, Words};

/// Finds frames in the bytes that it is given. `B` is memory for the longest frame that is expected; a longer one is garbage.
#[derive(Clone, Debug)]
pub struct Decoder<B> {
    buffer: B,
    start: usize,
    end: usize,
    /// Bytes at `start` that the last answer was about.
    taken: usize,
}

/// What [`Decoder::next`] found.
#[allow(clippy::large_enum_variant, reason = "as for the frame")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// Nothing whole: push more bytes.
    NeedMore,
    /// Bytes that are no frame, and have been passed over.
    Malformed {
        /// How many.
        bytes: usize,
    },
    /// A frame.
    Frame {
        /// Of which conversation.
        epoch: u32,
        /// It.
        frame: Frame<'a>,
    },
}

/// What the bytes begin with.
enum Front {
    NeedMore,
    /// Not a frame, so many bytes long.
    Garbage(usize),
    /// A frame with a right checksum, so many bytes long.
    Whole {
        kind: Option<Kind>,
        epoch: u32,
        bytes: usize,
    },
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Decoder<B> {
    /// A decoder of frames up to the size of `buffer`, whose content does not matter.
    pub const fn new(buffer: B) -> Self {
        Self { buffer, start: 0, end: 0, taken: 0 }
    }

    /// Forgets what it has: for another connection.
    pub fn clear(&mut self) {
        (self.start, self.end, self.taken) = (0, 0, 0);
    }

    /// Takes in bytes, and says how many it had room for: all, unless frames wait to be taken out by [`next`](Self::next).
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.start += core::mem::take(&mut self.taken);
        let buffer = self.buffer.as_mut();
        if self.start > 0 && buffer.len() - self.end < bytes.len() {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let taken = bytes.len().min(buffer.len() - self.end);
        buffer[self.end..self.end + taken].copy_from_slice(&bytes[..taken]);
        self.end += taken;
        taken
    }

    /// The next frame, or what is in its place. (Not an iterator: what it gives borrows from it.)
    #[allow(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    pub fn next(&mut self) -> Decoded<'_> {
        self.start += core::mem::take(&mut self.taken);
        let buffer = self.buffer.as_ref();
        let bytes = &buffer[self.start..self.end];
        match front(bytes, buffer.len()) {
            Front::NeedMore => Decoded::NeedMore,
            Front::Garbage(bytes) => {
                self.taken = bytes;
                Decoded::Malformed { bytes }
            }
            Front::Whole { kind, epoch, bytes: len } => {
                self.taken = len;
                let (payload, _) = bytes[HEADER_BYTES..len].as_chunks::<8>();
                match kind.and_then(|kind| Frame::decode(kind, Words::Bytes(payload))) {
                    Some(frame) => Decoded::Frame { epoch, frame },
                    None => Decoded::Malformed { bytes: len },
                }
            }
        }
    }
}

fn front(bytes: &[u8], room: usize) -> Front {
    if bytes.is_empty() {
        return Front::NeedMore;
    }
    let begun = bytes.len().min(STREAM_MAGIC.len());
    if bytes[..begun] != STREAM_MAGIC[..begun] {
        return Front::Garbage(to_next_magic(bytes));
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Front::NeedMore };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let payload = word(8) as usize;
    let right = Crc::new().bytes(&header[..20]).value() == word(20)
        && header[4] == STREAM_VERSION
        && payload <= MAX_PAYLOAD
        && HEADER_BYTES + payload * 8 <= room;
    if !right {
        return Front::Garbage(to_next_magic(bytes));
    }
    match rest.get(..payload * 8) {
        None => Front::NeedMore,
        Some(payload) if Crc::new().bytes(payload).value() != word(16) => {
            Front::Garbage(to_next_magic(bytes))
        }
        Some(payload) => Front::Whole {
            kind: Kind::from_number(header[5]),
            epoch: word(12),
            bytes: HEADER_BYTES + payload.len(),
        },
    }
}

/// Bytes before the next place, past the first byte, where a frame may begin.
fn to_next_magic(bytes: &[u8]) -> usize {
    let candidate = |at: &usize| {
        let rest = &bytes[*at..];
        let begun = rest.len().min(STREAM_MAGIC.len());
        rest[..begun] == STREAM_MAGIC[..begun]
    };
    (1..bytes.len()).find(candidate).unwrap_or(bytes.len())
}
