//! Numbers as text that is small and fast to read: LEB128 in base64.

use std::io::{self, Write};

/// Bytes that are encoded at once; a multiple of three, so that only the last chunk is padded.
const CHUNK: usize = 48 << 10;

/// The most bytes that a number takes: seven bits in each.
const LONGEST: usize = 10;

/// A column of numbers under way to its writer.
pub(super) struct Column<'a> {
    out: &'a mut dyn Write,
    bytes: Box<[u8]>,
    len: usize,
    text: Vec<u8>,
}

impl<'a> Column<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        let text = Vec::with_capacity(CHUNK / 3 * 4 + 4);
        Self { out, bytes: vec![0; CHUNK + LONGEST].into(), len: 0, text }
    }

    /// Adds a number: seven bits a byte, the lowest first, the top bit set on all bytes but the last (DWARF 5, 7.6).
    #[inline]
    pub(super) fn add(&mut self, mut number: u64) -> io::Result<()> {
        while number >= 0x80 {
            self.bytes[self.len] = number as u8 | 0x80;
            self.len += 1;
            number >>= 7;
        }
        self.bytes[self.len] = number as u8;
        self.len += 1;
        if self.len >= CHUNK { self.write_chunk() } else { Ok(()) }
    }

    /// Adds a number that may be negative: its sign moves to the lowest bit.
    #[inline]
    pub(super) fn add_signed(&mut self, number: i64) -> io::Result<()> {
        self.add((number << 1 ^ number >> 63) as u64)
    }

    #[cold]
    fn write_chunk(&mut self) -> io::Result<()> {
        base64(&self.bytes[..CHUNK], &mut self.text);
        self.out.write_all(&self.text)?;
        self.text.clear();
        self.bytes.copy_within(CHUNK..self.len, 0);
        self.len -= CHUNK;
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        base64(&self.bytes[..self.len], &mut self.text);
        self.out.write_all(&self.text)
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The two digits of each number of twelve bits.
const PAIRS: [[u8; 2]; 4096] = {
    let mut pairs = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < pairs.len() {
        pairs[bits] = [DIGITS[bits >> 6], DIGITS[bits & 63]];
        bits += 1;
    }
    pairs
};

/// Appends `bytes` as base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8], text: &mut Vec<u8>) {
    let triples = bytes.chunks_exact(3);
    let rest = triples.remainder();
    let start = text.len();
    text.resize(start + triples.len() * 4, 0);
    for (triple, digits) in triples.zip(text[start..].chunks_exact_mut(4)) {
        let bits = usize::from(triple[0]) << 16 | usize::from(triple[1]) << 8 | usize::from(triple[2]);
        digits[..2].copy_from_slice(&PAIRS[bits >> 12]);
        digits[2..].copy_from_slice(&PAIRS[bits & 0xfff]);
    }
    let (first, second) = match *rest {
        [] => return,
        [first] => (first, None),
        [first, second, ..] => (first, Some(second)),
    };
    let bits = usize::from(first) << 16 | usize::from(second.unwrap_or(0)) << 8;
    text.extend_from_slice(&PAIRS[bits >> 12]);
    text.push(if second.is_some() { DIGITS[bits >> 6 & 63] } else { b'=' });
    text.push(b'=');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut text = Vec::new();
            base64(bytes.as_bytes(), &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn chunks_join_without_a_seam() {
        let mut made = Vec::new();
        let mut column = Column::new(&mut made);
        let mut bytes = Vec::new();
        for number in 0..100_000u64 {
            column.add(number % 300).unwrap();
            let number = number % 300;
            if number < 128 {
                bytes.push(number as u8)
            } else {
                bytes.extend([number as u8 | 128, (number >> 7) as u8])
            }
        }
        column.finish().unwrap();
        let mut expected = Vec::new();
        base64(&bytes, &mut expected);
        assert!(made == expected);
    }

    #[test]
    fn signs_go_to_the_lowest_bit() {
        let mut made = Vec::new();
        let mut column = Column::new(&mut made);
        for number in [0, -1, 1, i64::MIN] {
            column.add_signed(number).unwrap();
        }
        column.finish().unwrap();
        let mut expected = Vec::new();
        base64(&[0, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &mut expected);
        assert_eq!(made, expected);
    }
}
