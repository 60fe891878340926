//! The region over a line: what a guest and a host say to each other where they share no memory.
//!
//! ```text
//!  guest                                                        host
//!  the same rings, read by the guest itself   ── Region ──►     what a reader of shared memory copies from them:
//!  as a host would: `ring::read_block`        ── Block ───►     header page and tables, words of a ring,
//!                                             ── Counters ─►    counters of a ring
//!  clock                                      ── Pong ────►
//!  sites, heap table, histograms, network     ── Piece ───►     what has changed of them
//!                                             ◄── Attach ──     from the boot on, from now on, or where we were
//!  the cursor of each ring                    ◄── Seek ────     "I have that ring up to here"
//!  the slots of the control page              ◄── Request ─     what a host writes into shared memory
//!                                             ◄── Ping ────
//!                                             ◄── Want ────     the tables now, or a round of pieces
//!                                             ◄── Finish ──     "count, then I go"
//! ```
//!
//! # A frame
//!
//! ```text
//!  byte 0   magic f7 'u' 'p' 1e        4   version   5   kind   6   0, 0
//!       8   payload words (32)        12   epoch (32)
//!      16   CRC-32 of the payload     20   CRC-32 of bytes 0 to 19
//!      24   payload: whole words, little-endian
//! ```
//!
//! The header has a checksum of its own so that garbage that happens to begin like a frame is known as garbage at once, and nobody waits for a
//! payload whose length is made up. After garbage, or a frame that was cut in half, [`Decoder`] goes on at the next
//! header that is whole.
//!
//! # Why nothing is lost on the line
//!
//! Positions in a ring never repeat, and a ring keeps what it has until it is overwritten. So the line need not be reliable: each block says *from* where
//! the guest's cursor moved, and a host that sees a block that does not follow on what it has says [`Seek`](Frame::Seek), and gets it
//! again. What has been overwritten meanwhile is lost as it would be in shared memory, and counted by the same counters: a
//! block's `start` is then behind its `from`. The *epoch* is a number that a host makes up when it attaches: frames that were
//! under way to somebody else carry another one.
//!
//! Everything here is I/O-free and allocates nothing.

mod crc;
mod decoder;
mod frame;

pub use crc::Crc;
pub use decoder::{Decoded, Decoder};
pub use frame::{
    Account, Area, BLOCK_HEAD, Begin, COUNTERS_HEAD, Frame, Kind, PIECE_HEAD, RingName, Words, block_head,
    counters_head, piece_head, seal,
};

/// Version of the frames; a reader takes no other.
pub const STREAM_VERSION: u8 = 1;
/// How a frame begins. The first byte is in no UTF-8 text, so that a console line on the wrong port is never taken for a frame.
pub const STREAM_MAGIC: [u8; 4] = [0xf7, b'u', b'p', 0x1e];
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 24;
/// The same in words.
pub const HEADER_WORDS: usize = HEADER_BYTES / 8;
/// Longest payload in words. The largest thing sent are the counters of a ring with 4096 sub-buffers.
pub const MAX_PAYLOAD: usize = 1 << 17;
/// Words of an area in one piece: little, so that records are not kept waiting.
pub const PIECE_WORDS: usize = 504;
/// Longest payload that a host sends: a control request.
pub const MAX_HOST_PAYLOAD: usize = 64;

/// Words that a buffer needs for every frame that a guest with a region of this geometry sends.
#[must_use]
pub const fn frame_words(geometry: crate::layout::Geometry) -> usize {
    use crate::record::CLASSES;
    let ring = geometry.ring();
    let region = geometry.tables_bytes() / 8 + 1;
    let block = BLOCK_HEAD + ring.sub_buffer_words() + CLASSES;
    let counters = COUNTERS_HEAD + ring.slots() * CLASSES;
    let piece = PIECE_HEAD + PIECE_WORDS;
    let longest = if region > block { region } else { block };
    let longest = if longest > piece { longest } else { piece };
    HEADER_WORDS + if longest > counters { longest } else { counters }
}

const _: () = {
    use crate::layout::{Geometry, MAX_RING, MAX_SUB_BUFFER, MAX_VCPUS};
    let Ok(largest) = Geometry::new(MAX_VCPUS, MAX_RING, MAX_SUB_BUFFER) else { unreachable!() };
    assert!(frame_words(largest) <= HEADER_WORDS + MAX_PAYLOAD);
    assert!(crate::tables::ControlRequest::WORDS <= MAX_HOST_PAYLOAD);
};
