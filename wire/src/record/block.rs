//! The records of a copied block, one after the other.

use super::{BUSY, BadRecord, COMMITTED, Kind, Record, high};
use crate::ring;

/// One item of [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Position of its header.
    pub position: u64,
    /// Words that the reader moves on by: the record's, or after damage all the rest of the block.
    pub words: usize,
    /// The record, or what is wrong. After anything but [`BadRecord::Abandoned`] the rest of the block is given up.
    pub record: Result<Record<'a>, BadRecord>,
}

/// The records of one copied block (part of one sub-buffer), padding left out.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    words: &'a [u64],
    position: u64,
    salt: u32,
}

impl<'a> Records<'a> {
    /// Over `words`, which were copied from `position` on in a guest whose tags are salted with `salt`.
    #[must_use]
    pub const fn new(words: &'a [u64], position: u64, salt: u32) -> Self {
        Self { words, position, salt }
    }

    fn header(&self, header: u64) -> Result<(Kind, bool, usize), BadRecord> {
        if high(header) != ring::tag(self.position, self.salt) {
            return Err(BadRecord::Tag);
        }
        let kind = Kind::from_number(header as u8).ok_or(BadRecord::Kind)?;
        let committed = match (header >> 8) as u8 {
            COMMITTED => true,
            BUSY => false,
            _ => return Err(BadRecord::Kind),
        };
        let words = (header >> 16 & 0xffff) as usize;
        let least = if kind == Kind::Padding { 1 } else { 2 };
        if words < least || words > self.words.len() {
            return Err(BadRecord::Length);
        }
        Ok((kind, committed, words))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        loop {
            let first = *self.words.first()?;
            let position = self.position;
            let (words, record) = match self.header(first) {
                Ok((Kind::Padding, true, words)) => (words, None),
                Ok((kind, false, words)) => (words, Some(Err(BadRecord::Abandoned(kind.class())))),
                Ok((kind, true, words)) => {
                    let record = Record::decode(kind, &self.words[1..words]);
                    let words = if record.is_ok() { words } else { self.words.len() };
                    (words, Some(record))
                }
                Err(bad) => (self.words.len(), Some(Err(bad))),
            };
            self.words = &self.words[words..];
            self.position = self.position.wrapping_add(words as u64);
            if let Some(record) = record {
                return Some(Found { position, words, record });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{header, pair};

    #[test]
    fn damage_costs_the_rest_of_the_block() {
        let good = header(Kind::Switch, true, 4, ring::tag(0, 9));
        let words = [good, 1, pair(2, 3), 0, 0xdead, 0, 0];
        let found: [Option<Found<'_>>; 3] = {
            let mut records = Records::new(&words, 0, 9);
            [records.next(), records.next(), records.next()]
        };
        assert!(found[0].unwrap().record.is_ok());
        assert_eq!(found[1].unwrap().record, Err(BadRecord::Tag));
        assert_eq!(found[1].unwrap().words, 3);
        assert_eq!(found[2], None);
    }
}
