//! The records of a copied block, one after the other.

use super::{BUSY, BadRecord, COMMITTED, Kind, Record, high};
use crate::ring;

/// One item of [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Position of its header.
    pub position: u64,
    /// Words that the reader moves on by: the record's, or after damage all up to the next header.
    pub words: usize,
    /// The record, or what is wrong.
    pub record: Result<Record<'a>, BadRecord>,
}

/// The records of one copied block (part of one sub-buffer), padding left out.
///
/// Damage costs what lies up to the next header: a header's tag is its own position, so one is known wherever it stands, and
/// neither a payload nor what an earlier lap left behind looks like one.
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

    /// Reads the header that should stand `ahead` words further on.
    fn header(&self, ahead: usize) -> Result<(Kind, bool, usize), BadRecord> {
        let words = self.words.get(ahead..).unwrap_or_default();
        let header = words.first().copied().unwrap_or_default();
        if high(header) != ring::tag(self.position.wrapping_add(ahead as u64), self.salt) {
            return Err(BadRecord::Tag);
        }
        let kind = Kind::from_number(header as u8).ok_or(BadRecord::Kind)?;
        let committed = match (header >> 8) as u8 {
            COMMITTED => true,
            BUSY => false,
            _ => return Err(BadRecord::Kind),
        };
        let len = (header >> 16 & 0xffff) as usize;
        let least = if kind == Kind::Padding { 1 } else { 2 };
        if len < least || len > words.len() {
            return Err(BadRecord::Length);
        }
        Ok((kind, committed, len))
    }

    /// How many words damage at the front costs.
    fn words_to_next_header(&self) -> usize {
        (1..self.words.len()).find(|&ahead| self.header(ahead).is_ok()).unwrap_or(self.words.len())
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        loop {
            if self.words.is_empty() {
                return None;
            }
            let position = self.position;
            let (words, record) = match self.header(0) {
                Ok((Kind::Padding, true, words)) => (words, None),
                Ok((kind, false, words)) => (words, Some(Err(BadRecord::Abandoned(kind.class())))),
                Ok((kind, true, words)) => {
                    let record = Record::decode(kind, &self.words[1..words]);
                    let words = if record.is_ok() { words } else { self.words_to_next_header() };
                    (words, Some(record))
                }
                Err(bad) => (self.words_to_next_header(), Some(Err(bad))),
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
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::record::{header, pair};

    #[test]
    fn damage_costs_what_lies_up_to_the_next_header() {
        let switch =
            |position, salt| [header(Kind::Switch, true, 4, ring::tag(position, salt)), 1, pair(2, 3), 0];
        // What an earlier lap left there has the tag of another position.
        let earlier = switch(5, 9);
        let words = [&switch(0, 9)[..], &[0xdead], &earlier[..], &switch(9, 9)[..], &[0, 0]].concat();
        let found: Vec<_> = Records::new(&words, 0, 9).collect();
        let outline: Vec<_> =
            found.iter().map(|found| (found.position, found.words, found.record.is_ok())).collect();
        assert_eq!(outline, [(0, 4, true), (4, 1, false), (5, 4, true), (9, 4, true), (13, 2, false)]);
        let stale = [&switch(0, 9)[..], &[0xdead], &switch(5 + 64, 9)[..], &switch(9, 9)[..]].concat();
        let found: Vec<_> = Records::new(&stale, 0, 9).map(|found| (found.position, found.record)).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1], (4, Err(BadRecord::Tag)));
        assert!(found[2].0 == 9 && found[2].1.is_ok());
    }
}
