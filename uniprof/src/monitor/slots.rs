//! The last so many slots of time, by number: what a ring buffer is to things that come in order.

use std::collections::VecDeque;

/// Slots with rising numbers, the newest last, at most so many.
#[derive(Clone, Debug)]
pub(super) struct Slots<T> {
    /// The number behind the newest; meaningless while there is none.
    end: u64,
    slots: VecDeque<T>,
    most: usize,
}

impl<T: Default> Slots<T> {
    /// None, with room for `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { end: 0, slots: VecDeque::new(), most: most.max(1) }
    }

    /// The slot of that number, which may be a new one: then the oldest go. `None` where that is older than what is kept.
    pub(super) fn at(&mut self, number: u64) -> Option<&mut T> {
        let number = number.min(u64::MAX - 1);
        if self.slots.is_empty() || number.saturating_sub(self.end) >= self.most as u64 {
            self.slots.clear();
            self.slots.push_back(T::default());
            self.end = number + 1;
        }
        while self.end <= number {
            self.slots.push_back(T::default());
            self.end += 1;
        }
        while self.slots.len() > self.most {
            self.slots.pop_front();
        }
        let first = self.first();
        if number < first && first - number + (self.slots.len() as u64) <= self.most as u64 {
            // What comes a little late has room before the first.
            for _ in number..first {
                self.slots.push_front(T::default());
            }
        }
        let index = number.checked_sub(self.first())?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn first(&self) -> u64 {
        self.end - self.slots.len() as u64
    }

    /// The numbers from the first to the newest; `None` where there is none.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        (!self.slots.is_empty()).then(|| (self.first(), self.end - 1))
    }

    /// A slot that is there.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.slots.get(usize::try_from(number.checked_sub(self.first())?).ok()?)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let first = self.first();
        self.slots.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// All with their numbers, the newest last.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let first = self.first();
        self.slots.iter().enumerate().map(move |(index, slot)| (first + index as u64, slot))
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_go_and_gaps_are_there() {
        let mut slots = Slots::<u32>::new(4);
        assert_eq!(slots.range(), None);
        *slots.at(10).unwrap() = 1;
        *slots.at(12).unwrap() = 3;
        assert_eq!(
            slots.iter().map(|(number, slot)| (number, *slot)).collect::<Vec<_>>(),
            [(10, 1), (11, 0), (12, 3)]
        );
        *slots.at(9).unwrap() = 9;
        assert_eq!((slots.range(), slots.get(9)), (Some((9, 12)), Some(&9)));
        assert_eq!(slots.at(8), None, "there is no room before it");
        *slots.at(14).unwrap() = 5;
        assert_eq!((slots.range(), slots.get(10)), (Some((11, 14)), None));
        assert_eq!(slots.at(10), None);
        *slots.at(1000).unwrap() = 6;
        assert_eq!(slots.range(), Some((1000, 1000)));
    }

    proptest! {
        #[test]
        fn no_numbers_break_it(numbers in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..20, u64::MAX - 20..=u64::MAX], 1..60)) {
            let mut slots = Slots::<u8>::new(7);
            for number in numbers {
                if let Some(slot) = slots.at(number) {
                    *slot = 1;
                }
                let (first, last) = slots.range().unwrap();
                prop_assert!(last - first < 7 && slots.iter().count() as u64 == last - first + 1);
                prop_assert!(slots.get(last).is_some() && slots.get(first).is_some());
            }
        }
    }
}
