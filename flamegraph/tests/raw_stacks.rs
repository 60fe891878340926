//! The raw table, against a `HashMap`.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use uniprof_flamegraph::{Amount, Owner, RawAmount, RawKey, RawStacks};

/// Thread, mark, frames.
type Identity = (u32, u32, Vec<u64>);

fn key(thread: u32, mark: u32) -> RawKey {
    RawKey { owner: Owner { thread, vcpu: thread % 2 }, mark }
}

fn one(weight: u64, missed: u64) -> RawAmount {
    RawAmount { amount: Amount::sample(weight), missed }
}

proptest! {
    #[test]
    fn sums_like_a_map(adds in vec((0u32..3, 0u32..2, vec(0u64..4, 0..6), 0u64..1000, 0u64..3), 0..4000)) {
        let mut table = RawStacks::default();
        let mut map: HashMap<Identity, (u64, u64, u64)> = HashMap::new();
        for (thread, mark, frames, weight, missed) in &adds {
            table.add(key(*thread, *mark), frames, one(*weight, *missed));
            let sum = map.entry((*thread, *mark, frames.clone())).or_default();
            *sum = (sum.0 + 1, sum.1 + weight, sum.2 + missed);
        }
        prop_assert_eq!(table.len(), map.len());
        for stack in table.iter() {
            let sum = map[&(stack.key.owner.thread, stack.key.mark, stack.frames.to_vec())];
            prop_assert_eq!(sum, (stack.sum.amount.samples, stack.sum.amount.weight, stack.sum.missed));
        }
    }
}

#[test]
fn what_stays_is_found_at_its_new_place_and_what_goes_can_come_again() {
    let mut stacks = RawStacks::default();
    let frames = |n: u64| [n, n + 1, n * 7];
    for n in 0..5_000 {
        stacks.add(key(1, 0), &frames(n)[..1 + n as usize % 3], one(n, 1));
    }
    let bytes = stacks.bytes();
    let mut moved = HashMap::new();
    stacks.retain(|stack, place| {
        let stays = stack.frames[0].is_multiple_of(3);
        if stays {
            moved.insert(stack.frames[0], place);
        }
        stays
    });
    assert_eq!((stacks.len(), moved.len()), (1667, 1667));
    assert!(stacks.bytes() < bytes);
    for (n, place) in &moved {
        let stack = stacks.get(*place).unwrap();
        assert_eq!((stack.frames, stack.sum), (&frames(*n)[..1 + *n as usize % 3], one(*n, 1)));
    }
    for n in 0..5_000 {
        let place = stacks.add(key(1, 0), &frames(n)[..1 + n as usize % 3], one(n, 1)).unwrap();
        assert_eq!(moved.get(&n).copied().unwrap_or(place), place);
        let samples = if n.is_multiple_of(3) { 2 } else { 1 };
        assert_eq!(stacks.get(place).unwrap().sum.amount.samples, samples);
    }
    assert_eq!(stacks.len(), 5_000);
    stacks.retain(|_, _| false);
    assert!(stacks.is_empty() && stacks.iter().next().is_none());
}

#[test]
fn grows_past_its_first_table() {
    let mut table = RawStacks::default();
    for round in 0..2 {
        for n in 0..50_000u64 {
            table.add(key(1, 0), &[n, n + 1, 7], one(n, round));
        }
    }
    assert_eq!(table.len(), 50_000);
    let firsts: Vec<u64> = table.iter().map(|stack| stack.frames[0]).collect();
    assert!(firsts.is_sorted(), "the order is that of the first samples");
    assert!(table.iter().all(|stack| stack.sum.amount.samples == 2 && stack.sum.missed == 1));
    assert_eq!(table.refused(), RawAmount::default());
}

#[test]
fn memory_has_a_limit_and_what_is_refused_is_counted() {
    let mut table = RawStacks::with_limit(64 << 10);
    for n in 0..10_000u64 {
        table.add(key(1, 0), &[n; 16], one(5, 0));
    }
    let kept: u64 = table.iter().map(|stack| stack.sum.amount.samples).sum();
    assert!(kept > 100, "{kept}");
    assert_eq!(kept + table.refused().amount.samples, 10_000);
    assert_eq!(table.refused().amount.weight, 5 * table.refused().amount.samples);
    let known = table.len();
    table.add(key(1, 0), &[0; 16], one(5, 0));
    assert_eq!(table.len(), known, "a known stack is still summed");
    assert_eq!(table.iter().next().map(|stack| stack.sum.amount.samples), Some(2));
}

#[test]
fn a_place_names_its_stack_also_after_the_table_has_grown() {
    let mut stacks = RawStacks::default();
    let key = RawKey { owner: Owner { thread: 1, vcpu: 0 }, mark: 0 };
    let frames = |n: u64| [n, n + 1, n * 7];
    let sum = RawAmount { amount: Amount::sample(1), missed: 0 };
    let places: Vec<_> = (0..5_000).map(|n| stacks.add(key, &frames(n)[..1 + n as usize % 3], sum)).collect();
    for (n, stack) in stacks.iter().enumerate() {
        assert_eq!(Some(stack.place), places[n]);
    }
    for (n, place) in places.iter().enumerate() {
        let n = n as u64;
        assert_eq!(stacks.add(key, &frames(n)[..1 + n as usize % 3], sum), *place);
    }
}
