//! What it costs to sum one sample of 16 frames.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use uniprof_flamegraph::{Amount, Owner, RawAmount, RawKey, RawStacks};

const FRAMES: usize = 16;

fn stacks(count: usize) -> Vec<[u64; FRAMES]> {
    let mut state = 1u64;
    (0..count)
        .map(|_| {
            std::array::from_fn(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                0x10_0000 + (state >> 44)
            })
        })
        .collect()
}

fn raw_stacks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("raw_stacks");
    group.throughput(Throughput::Elements(1));
    let key = RawKey { owner: Owner { thread: 3, vcpu: 1 }, mark: 0 };
    let sum = RawAmount { amount: Amount::sample(2_000_000), missed: 0 };
    for distinct in [1_000, 100_000] {
        let stacks = stacks(distinct);
        let mut table = RawStacks::default();
        let mut next = 0usize;
        group.bench_function(format!("add_16_frames_of_{distinct}_distinct"), |bencher| {
            bencher.iter(|| {
                // A stride far from 1, so that neither table nor arena is read in order.
                next = (next + 7_919) % distinct;
                table.add(key, black_box(&stacks[next]), sum);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, raw_stacks);
criterion_main!(benches);
