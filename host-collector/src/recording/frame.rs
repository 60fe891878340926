//! The frames of an MCAP file, from a stream, whatever has happened to it.
//!
//! A frame is an opcode, a length of eight bytes, and that many bytes. Lengths are not protected by anything, so one that
//! leads nowhere is answered by looking for the next chunk whose own numbers agree and whose CRC holds.

use std::io::{self, Read, Seek, SeekFrom};

use super::MAX_RECORD;

/// Opcode and length.
pub(super) const FRAME_HEAD: usize = 9;
/// Chunk fields before its records: start, end, size (8 each), CRC (4), name of the compression (4, empty), length (8).
pub(super) const CHUNK_HEAD: usize = 40;
/// How much is asked of the source at a time.
const PIECE: usize = 1 << 20;
/// How many bytes are checked in vain for each byte that is passed while looking for the next chunk, beyond
/// [`MAX_RECORD`]: a file may pretend at every byte that a large chunk begins there.
const IN_VAIN: u64 = 64;

/// Opcodes of MCAP, see <https://mcap.dev/spec>.
pub(super) mod op {
    pub(in super::super) const HEADER: u8 = 0x01;
    pub(in super::super) const SCHEMA: u8 = 0x03;
    pub(in super::super) const CHANNEL: u8 = 0x04;
    pub(in super::super) const MESSAGE: u8 = 0x05;
    pub(in super::super) const CHUNK: u8 = 0x06;
    pub(in super::super) const MESSAGE_INDEX: u8 = 0x07;
    pub(in super::super) const ATTACHMENT: u8 = 0x09;
    pub(in super::super) const METADATA: u8 = 0x0c;
    pub(in super::super) const DATA_END: u8 = 0x0f;
}

/// Bytes of a stream that have been read and not yet been passed.
pub(super) struct Frames<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where the next frame begins in the buffer.
    at: usize,
    /// Where the buffer begins in the stream.
    base: u64,
    ended: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A frame of this opcode whose body has this many bytes; [`Frames::body`] has it.
    Frame(u8, usize),
    /// The stream ends between frames.
    End,
    /// The stream ends inside a frame, or the frame's length is impossible.
    Broken,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), at: 0, base: 0, ended: false }
    }

    /// Position in the stream of what comes next.
    pub(super) fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Whether `bytes` bytes are there. Reads as needed: the buffer grows with what arrives, never with what is announced.
    fn have(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() - self.at < bytes && !self.ended {
            if self.at >= PIECE {
                self.buffer.drain(..self.at);
                self.base += self.at as u64;
                self.at = 0;
            }
            let read = self.source.by_ref().take(PIECE as u64).read_to_end(&mut self.buffer)?;
            self.ended = read == 0;
        }
        Ok(self.buffer.len() - self.at >= bytes)
    }

    /// The next `bytes` bytes, passed over.
    pub(super) fn take(&mut self, bytes: usize) -> io::Result<Option<&[u8]>> {
        if !self.have(bytes)? {
            return Ok(None);
        }
        self.at += bytes;
        Ok(Some(&self.buffer[self.at - bytes..self.at]))
    }

    /// Looks at the next frame, without passing it.
    pub(super) fn peek(&mut self) -> io::Result<Next> {
        if !self.have(FRAME_HEAD)? {
            return Ok(if self.buffer.len() == self.at { Next::End } else { Next::Broken });
        }
        let head = &self.buffer[self.at..];
        let (opcode, len) = (head[0], le64(&head[1..]));
        if len > MAX_RECORD || !self.have(FRAME_HEAD + len as usize)? {
            return Ok(Next::Broken);
        }
        Ok(Next::Frame(opcode, len as usize))
    }

    /// The body of the frame that [`Frames::peek`] has just described.
    pub(super) fn body(&self, len: usize) -> &[u8] {
        &self.buffer[self.at + FRAME_HEAD..self.at + FRAME_HEAD + len]
    }

    /// Passes that frame.
    pub(super) fn skip(&mut self, len: usize) {
        self.at += FRAME_HEAD + len;
    }

    /// Passes everything up to the next whole chunk, or the end. Returns how many bytes that were.
    pub(super) fn resynchronise(&mut self) -> io::Result<u64> {
        let from = self.position();
        let mut in_vain = 0;
        loop {
            if !self.have(1)? {
                return Ok(self.position() - from);
            }
            self.at += 1;
            let rest = &self.buffer[self.at..];
            let Some(skip) = rest.iter().position(|byte| *byte == op::CHUNK) else {
                self.at = self.buffer.len();
                continue;
            };
            self.at += skip;
            if self.have(FRAME_HEAD + CHUNK_HEAD)? {
                let head = &self.buffer[self.at..];
                let len = le64(&head[1..]);
                let plausible = (CHUNK_HEAD as u64..=MAX_RECORD).contains(&len)
                    && chunk_records(&head[FRAME_HEAD..FRAME_HEAD + CHUNK_HEAD], len).is_some();
                let affordable = in_vain <= MAX_RECORD + (self.position() - from) * IN_VAIN;
                if plausible && affordable && self.have(FRAME_HEAD + len as usize)? {
                    if chunk_is_whole(self.body(len as usize)) {
                        return Ok(self.position() - from);
                    }
                    in_vain += len;
                }
            }
        }
    }
}

impl<R: Read + Seek> Frames<R> {
    /// Goes on at another position, which must be one between frames.
    pub(super) fn seek(&mut self, position: u64) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(position))?;
        self.buffer.clear();
        (self.at, self.base, self.ended) = (0, position, false);
        Ok(())
    }
}

/// Eight bytes as a number; callers have checked that they are there.
pub(super) fn le64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Four bytes as a number; callers have checked that they are there.
pub(super) fn le32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The bytes of records in a chunk of `len` bytes with this head, if its numbers agree and it is not compressed.
pub(super) fn chunk_records(head: &[u8], len: u64) -> Option<u64> {
    let records = le64(head.get(32..CHUNK_HEAD)?);
    let agree = le32(&head[28..]) == 0
        && records == le64(&head[16..])
        && (CHUNK_HEAD as u64).checked_add(records) == Some(len);
    agree.then_some(records)
}

/// Whether a chunk's CRC holds; 0 means that it has none.
pub(super) fn chunk_is_whole(body: &[u8]) -> bool {
    let saved = le32(&body[24..]);
    saved == 0 || saved == crc32fast::hash(&body[CHUNK_HEAD..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing.
    #[test]
    fn a_chunk_that_claims_more_than_there_are_numbers_is_refused() {
        let mut head = [0; CHUNK_HEAD];
        head[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        head[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(chunk_records(&head, CHUNK_HEAD as u64 - 1), None);
        assert_eq!(chunk_records(&head, 1 << 20), None);
    }
}
