//! Events of several rings in the order of the guest's clock.
//!
//! A collector reads one ring after the other, so what it gets is in order for each ring only. Whoever feeds a [`Reorder`] says from time to
//! time up to which moment all rings have been read; what is not later than that is then in order and comes out.
//! An event can still come later than that: its vCPU had read the clock, and was kept from writing the record (by the host, which gave the CPU to
//! somebody else). It comes out at once, behind its time, and is counted.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Brings what is pushed into order. At most `most` wait at a time: one more pushes the earliest out.
#[derive(Debug)]
pub struct Reorder<T> {
    waiting: BinaryHeap<Waiting<T>>,
    most: usize,
    pushed: u64,
    passed: u64,
    late: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    tsc: u64,
    /// Of two with the same time the one that came first is the first.
    number: u64,
    item: T,
}

impl<T> Reorder<T> {
    /// With room for `most`, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { waiting: BinaryHeap::new(), most: most.max(1), pushed: 0, passed: 0, late: 0 }
    }

    /// Takes one in. Where there is no room, the earliest comes out.
    pub fn push(&mut self, tsc: u64, item: T) -> Option<T> {
        self.waiting.push(Waiting { tsc, number: self.pushed, item });
        self.pushed += 1;
        if self.waiting.len() > self.most { self.pop() } else { None }
    }

    /// The earliest, if it is not later than `until`.
    pub fn next_until(&mut self, until: u64) -> Option<T> {
        if self.waiting.peek()?.tsc > until {
            return None;
        }
        self.pop()
    }

    /// How many came out behind one that is later than they are.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    fn pop(&mut self) -> Option<T> {
        let first = self.waiting.pop()?;
        self.late += u64::from(first.tsc < self.passed);
        self.passed = self.passed.max(first.tsc);
        Some(first.item)
    }
}

/// The earliest is the greatest: a heap gives that out first.
impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.tsc, other.number).cmp(&(self.tsc, self.number))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Waiting<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(reorder: &mut Reorder<u64>, until: u64) -> Vec<u64> {
        std::iter::from_fn(|| reorder.next_until(until)).collect()
    }

    #[test]
    fn rings_are_merged_up_to_where_all_were_read() {
        let mut reorder = Reorder::new(100);
        // One ring, then the other.
        for tsc in [1, 3, 5, 9, 2, 4, 6] {
            assert_eq!(reorder.push(tsc, tsc), None);
        }
        assert_eq!(drain(&mut reorder, 6), [1, 2, 3, 4, 5, 6]);
        reorder.push(7, 7);
        assert_eq!(drain(&mut reorder, u64::MAX), [7, 9]);
        assert_eq!(reorder.late(), 0);
    }

    #[test]
    fn what_comes_too_late_is_told_and_counted() {
        let mut reorder = Reorder::new(100);
        reorder.push(10, 10);
        assert_eq!(drain(&mut reorder, 10), [10]);
        reorder.push(8, 8);
        assert_eq!(drain(&mut reorder, 10), [8]);
        assert_eq!(reorder.late(), 1);
    }

    #[test]
    fn equal_times_keep_the_order_in_which_they_came() {
        let mut reorder = Reorder::new(100);
        ['a', 'b', 'c'].into_iter().for_each(|item| assert_eq!(reorder.push(5, item), None));
        let out: String = std::iter::from_fn(|| reorder.next_until(5)).collect();
        assert_eq!(out, "abc");
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut reorder = Reorder::new(2);
        let pushed = [3, 1, 2, 5].map(|tsc| reorder.push(tsc, tsc));
        assert_eq!(pushed, [None, None, Some(1), Some(2)]);
        assert_eq!(drain(&mut reorder, u64::MAX), [3, 5]);
    }
}
