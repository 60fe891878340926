//! How much work a file may cause. Debug information can refer to one part of it from many others, and so ask for the
//! square of its size.

use std::sync::atomic::{AtomicI64, Ordering};

/// Why a part of the debug information is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Dwarf(#[from] gimli::Error),
    #[error("it asks for far more work than files of its size do")]
    TooMuch,
}

/// Attributes, ranges and rows that are looked at, for each byte. Compilers' output needs a fifth of one.
const WORK_PER_BYTE: i64 = 16;
/// Rows and functions that are kept, for two bytes. Compilers' output needs a fiftieth of one, or with nothing but line
/// tables a half.
const ITEMS_PER_TWO_BYTES: i64 = 1;
/// What any file may ask for.
const WORK_BASE: i64 = 4 << 20;
const ITEMS_BASE: i64 = 64 << 10;
/// How much is taken at a time, so that threads seldom meet.
const SHARE: i64 = 64 << 10;

/// What is left, for all threads.
#[derive(Debug)]
pub(crate) struct Budget {
    work: AtomicI64,
    items: AtomicI64,
}

impl Budget {
    /// For debug information of this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX) / 2;
        Self {
            work: AtomicI64::new(bytes.saturating_mul(2 * WORK_PER_BYTE).saturating_add(WORK_BASE)),
            items: AtomicI64::new(bytes.saturating_mul(ITEMS_PER_TWO_BYTES).saturating_add(ITEMS_BASE)),
        }
    }

    pub(crate) fn purse(&self) -> Purse<'_> {
        Purse { budget: self, work: 0 }
    }
}

/// One thread's part of a budget.
pub(crate) struct Purse<'b> {
    budget: &'b Budget,
    work: i64,
}

impl Purse<'_> {
    #[inline]
    pub(crate) fn work(&mut self, amount: usize) -> Result<(), Fault> {
        self.work -= amount as i64;
        if self.work >= 0 { Ok(()) } else { self.refill() }
    }

    #[cold]
    fn refill(&mut self) -> Result<(), Fault> {
        let wanted = SHARE - self.work;
        if self.budget.work.fetch_sub(wanted, Ordering::Relaxed) < wanted {
            return Err(Fault::TooMuch);
        }
        self.work = SHARE;
        Ok(())
    }

    /// Room for what is kept.
    pub(crate) fn items(&mut self, count: usize) -> Result<(), Fault> {
        let count = count as i64;
        if self.budget.items.fetch_sub(count, Ordering::Relaxed) < count {
            return Err(Fault::TooMuch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends() {
        let budget = Budget::new(0);
        let mut purse = budget.purse();
        let done = (0..).take_while(|_| purse.work(1000).is_ok()).count();
        assert!((3000..4200).contains(&done), "{done}");
        assert_eq!(purse.items(1 << 20), Err(Fault::TooMuch));
        assert_eq!(Budget::new(8 << 20).purse().items(1 << 20), Ok(()));
    }
}
