//! What it costs to sum one sample of 16 frames.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use uniprof_flamegraph::{Amount, Owner, RawAmount, RawKey, RawStacks};

const FRAMES: usize = 16;

/// Halves of stacks. Any two make one, so that many distinct stacks come out of little memory, as they come out of the
/// buffer into which a drain decodes them.
fn halves(count: usize) -> Vec<[u64; FRAMES / 2]> {
    let mut state = 1u64;
    let mut address = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        0x10_0000 + (state >> 44)
    };
    (0..count).map(|_| std::array::from_fn(|_| address())).collect()
}

fn raw_stacks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("raw_stacks");
    group.throughput(Throughput::Elements(1));
    let key = RawKey { owner: Owner { thread: 3, vcpu: 1 }, mark: 0 };
    let sum = RawAmount { amount: Amount::sample(2_000_000), missed: 0 };
    for side in [32, 317] {
        let halves = halves(side);
        let distinct = side * side;
        let mut table = RawStacks::default();
        let mut next = 0usize;
        let mut frames = [0; FRAMES];
        group.bench_function(format!("add_16_frames_of_{distinct}_distinct"), |bencher| {
            bencher.iter(|| {
                // A stride far from 1, so that the table is not read in order.
                next = (next + 7_919) % distinct;
                frames[..FRAMES / 2].copy_from_slice(&halves[next % side]);
                frames[FRAMES / 2..].copy_from_slice(&halves[next / side]);
                table.add(key, black_box(&frames), sum);
            });
        });
        assert_eq!(table.len(), distinct);
    }
    group.finish();
}

criterion_group!(benches, raw_stacks);
criterion_main!(benches);
