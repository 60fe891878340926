//! The strings of a table, each once.

use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::Range;

use rustc_hash::FxBuildHasher;

/// Numbers strings in the order in which they first come. Kept in one text with an open-addressed index: half a million
/// small allocations would be most of a table's memory.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    pub(crate) text: String,
    pub(crate) ends: Vec<u32>,
    /// Numbers plus one, by hash; a power of two, at most half full.
    slots: Vec<u32>,
}

/// After so many strings of the same place in the index a string is not looked for any more, and may get a second number:
/// a file can be made so that all of its strings fall together.
const MAX_PROBES: usize = 64;

/// A table of more text cannot be written.
const MAX_TEXT: usize = u32::MAX as usize - 1;

impl Strings {
    pub(crate) fn get(&self, number: u32) -> &str {
        let Range { start, end } = self.place(number);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Where a string is in the text; nowhere where it has no number.
    pub(crate) fn place(&self, number: u32) -> Range<u32> {
        let number = number as usize;
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        start..self.ends.get(number).copied().unwrap_or(start)
    }

    pub(crate) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The number of a string; that of another one where there is no room any more.
    pub(crate) fn number(&mut self, string: &str) -> u32 {
        if (self.ends.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let slot = self.slot(string);
        match slot.and_then(|slot| self.slots[slot].checked_sub(1)) {
            Some(known) => known,
            None if self.text.len() + string.len() > MAX_TEXT => 0,
            None => {
                self.text.push_str(string);
                self.ends.push(self.text.len() as u32);
                if let Some(slot) = slot {
                    self.slots[slot] = self.len();
                }
                self.len() - 1
            }
        }
    }

    /// Where a string is, or would be.
    fn slot(&self, string: &str) -> Option<usize> {
        let mut hasher = FxBuildHasher.build_hasher();
        hasher.write(string.as_bytes());
        let mask = self.slots.len() - 1;
        let first = (hasher.finish() >> 20) as usize;
        let mut slots = (first..first + MAX_PROBES).map(|slot| slot & mask);
        slots.find(|slot| self.slots[*slot] == 0 || self.get(self.slots[*slot] - 1) == string)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(1024);
        self.slots = vec![0; size];
        for number in 0..self.len() {
            if let Some(slot) = self.slot(self.get(number)) {
                self.slots[slot] = number + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_has_one_number() {
        let mut strings = Strings::default();
        for round in 0..2 {
            for number in 0..5000 {
                assert_eq!(strings.number(&format!("name {number}")), number, "round {round}");
            }
        }
        assert_eq!(strings.number(""), 5000);
        assert_eq!((strings.get(17), strings.get(5000), strings.get(5001)), ("name 17", "", ""));
    }
}
