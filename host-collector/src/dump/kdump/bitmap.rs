//! A bit for each page, with counts that make the number of set bits before a page cheap.

use std::ops::Range;

/// Words between two counts.
const STRIDE: usize = 64;

/// Which pages are meant.
pub(super) struct Bitmap {
    words: Vec<u64>,
    /// Set bits before each [`STRIDE`] words.
    counts: Vec<u64>,
    total: u64,
}

impl Bitmap {
    /// The first `pages` bits of these bytes, from the lowest bit of each.
    pub(super) fn new(bytes: &[u8], pages: u64) -> Self {
        let mut words: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
            .collect();
        words.truncate(usize::try_from(pages.div_ceil(64)).unwrap_or(usize::MAX));
        if words.len() as u64 == pages.div_ceil(64)
            && !pages.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last &= (1 << (pages % 64)) - 1;
        }
        let (mut counts, mut total) = (Vec::with_capacity(words.len() / STRIDE + 1), 0);
        for chunk in words.chunks(STRIDE) {
            counts.push(total);
            total += ones(chunk);
        }
        Self { words, counts, total }
    }

    pub(super) fn has(&self, page: u64) -> bool {
        self.word(page / 64) >> (page % 64) & 1 != 0
    }

    /// How many pages before this one are meant.
    pub(super) fn before(&self, page: u64) -> u64 {
        let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
        let Some(count) = self.counts.get(word / STRIDE) else { return self.total };
        let from = word - word % STRIDE;
        let whole = self.words.get(from..word.min(self.words.len())).map_or(0, ones);
        let last = self.word(page / 64) & ((1 << (page % 64)) - 1);
        count + whole + u64::from(last.count_ones())
    }

    /// How many pages are meant.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Runs of pages that are meant, in rising order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, true)?;
            let end = self.next(start, false).unwrap_or(self.words.len() as u64 * 64);
            at = end;
            Some(start..end)
        })
    }

    /// The first page from `from` that is meant, or that is not.
    fn next(&self, from: u64, meant: bool) -> Option<u64> {
        let flip = if meant { 0 } else { u64::MAX };
        let first = usize::try_from(from / 64).ok()?;
        let mut mask = u64::MAX << (from % 64);
        for (index, word) in self.words.iter().enumerate().skip(first) {
            let found = (word ^ flip) & mask;
            if found != 0 {
                return Some(index as u64 * 64 + u64::from(found.trailing_zeros()));
            }
            mask = u64::MAX;
        }
        None
    }

    fn word(&self, index: u64) -> u64 {
        usize::try_from(index).ok().and_then(|index| self.words.get(index)).copied().unwrap_or(0)
    }
}

fn ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_and_runs_are_those_of_a_plain_walk(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..1200),
            pages in 0u64..10_000,
        ) {
            let bitmap = Bitmap::new(&bytes, pages);
            let meant = |page: u64| {
                page < pages && bytes.get(page as usize / 8).is_some_and(|byte| byte >> (page % 8) & 1 != 0)
            };
            let mut before = 0;
            for page in 0..10_010 {
                prop_assert_eq!((bitmap.has(page), bitmap.before(page)), (meant(page), before), "page {}", page);
                before += u64::from(meant(page));
            }
            prop_assert_eq!(bitmap.total(), before);
            prop_assert_eq!(bitmap.before(u64::MAX), before);
            let runs: Vec<_> = bitmap.runs().collect();
            prop_assert!(runs.iter().all(|run| run.start < run.end && run.clone().all(meant)));
            prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(runs.iter().map(|run| run.end - run.start).sum::<u64>(), before);
        }
    }
}
