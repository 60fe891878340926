//! What it costs to make a profile of 100,000 distinct stacks, and a picture of it.

use criterion::{Criterion, criterion_group, criterion_main};
use std::io::sink;
use uniprof_flamegraph::{
    Amount, CallTree, Direction, Frame, Measure, Order, Owner, Profile, ProfileBuilder, SvgOptions, Title,
    folded, svg,
};

fn profile() -> Profile {
    let mut builder = ProfileBuilder::new();
    let frames: Vec<_> = (0..2_000)
        .map(|n| builder.frame(Frame::function(&format!("module_{}::function_{n}", n % 40))))
        .collect();
    let mut state = 1u64;
    for _ in 0..100_000 {
        let stack: Vec<_> = (0..16u32)
            .map(|depth| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                frames[(depth * 100) as usize + ((state >> 40) % (1 + u64::from(depth)).pow(2)) as usize]
            })
            .collect();
        builder.add(stack, Owner { thread: 1, vcpu: 0 }, Amount::sample(1));
    }
    builder.finish()
}

fn pictures(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pictures_of_100k_stacks");
    group.sample_size(10);
    group.bench_function("build", |bencher| bencher.iter(profile));
    let profile = profile();
    group.bench_function("call_tree", |bencher| {
        bencher.iter(|| CallTree::new(&profile, Direction::Callees, Order::Name));
    });
    group.bench_function("functions", |bencher| bencher.iter(|| profile.functions(Measure::Samples)));
    group
        .bench_function("folded", |bencher| bencher.iter(|| folded(&profile, Measure::Samples, &mut sink())));
    group.bench_function("svg", |bencher| {
        bencher.iter(|| svg(&profile, &Title::default(), &SvgOptions::default(), sink()));
    });
    group.finish();
}

criterion_group!(benches, pictures);
criterion_main!(benches);
