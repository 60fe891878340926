//! Arguments that are only known when they come: for probes in other languages, which hand over an array.

use uniprof_wire::record::MAX_ARG_WORDS;
use uniprof_wire::ring::{Payload, WriterWords};

use crate::arg::{Arg, Args, Bytes, Word};

/// An argument of either kind.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A scalar.
    Word(Word),
    /// Text or bytes.
    Bytes(Bytes<'a>),
}

impl Arg for Item<'_> {
    const MOST_WORDS: usize = Bytes::MOST_WORDS;

    #[inline]
    fn words(self) -> usize {
        match self {
            Self::Word(word) => word.words(),
            Self::Bytes(bytes) => bytes.words(),
        }
    }

    #[inline]
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
        match self {
            Self::Word(word) => word.put(payload, at),
            Self::Bytes(bytes) => bytes.put(payload, at),
        }
    }
}

/// As many arguments as fit a record.
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(&'a [Item<'a>]);

impl<'a> List<'a> {
    /// Of these arguments those that fit: hosts show the others as missing.
    #[must_use]
    pub fn new(items: &'a [Item<'a>]) -> Self {
        let mut words = 0;
        let fits = |item: &&Item<'_>| {
            words += item.words();
            words <= Self::MOST_WORDS
        };
        Self(&items[..items.iter().take_while(fits).count()])
    }
}

impl Args for List<'_> {
    const MOST_WORDS: usize = MAX_ARG_WORDS - 1;

    #[inline]
    fn words(self) -> usize {
        self.0.iter().map(|item| item.words()).sum()
    }

    #[inline]
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
        self.0.iter().fold(at, |at, item| item.put(payload, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arg;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let long = Item::Bytes(arg::text(core::str::from_utf8(&[b'x'; 300]).unwrap_or_default()));
        let words = long.words();
        let fits = List::<'_>::MOST_WORDS / words;
        let many = [long; 16];
        assert_eq!(List::new(&many).words(), fits * words);
        let small = [Item::Word(Word(1)); 16];
        assert_eq!(List::new(&small).words(), 16);
    }
}
