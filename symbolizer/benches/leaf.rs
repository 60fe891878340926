//! What it costs to ask for the leaf's caller, which is done for every sample.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uniprof_symbolizer::{Image, Leaf, LeafRule, LeafRules, LoadBias, load};
use uniprof_wire::address::GuestVirtual;

/// Addresses in this program at which the caller must be taken from the stack.
fn frameless(image: &Image, rules: &mut LeafRules) -> Vec<GuestVirtual> {
    let text = image.executable_ranges().into_iter().max_by_key(|range| range.end - range.start);
    let spread = text.expect("a program has code").step_by(1_021).map(GuestVirtual);
    spread
        .filter(|rip| matches!(rules.caller_of_leaf(*rip), LeafRule::ReturnAddressAt { .. }))
        .take(500)
        .collect()
}

fn leaf(criterion: &mut Criterion) {
    let path = std::env::current_exe().expect("this program has a path");
    let image = load(path).expect("this program is an image");
    let mut rules = LeafRules::new(&image, LoadBias::NONE);
    let addresses = frameless(&image, &mut rules);
    let caller = addresses[0].0;
    let mut group = criterion.benchmark_group("leaf");
    group.throughput(Throughput::Elements(addresses.len() as u64));
    group.bench_function("rule_cached", |bencher| {
        bencher.iter(|| {
            for rip in &addresses {
                black_box(rules.caller_of_leaf(*rip));
            }
        });
    });
    group.bench_function("repair_cached", |bencher| {
        bencher.iter(|| {
            for rip in &addresses {
                let leaf =
                    Leaf { rip: *rip, rsp: 0x8000, rbp: 0x8100, stack: &[caller; 8], frames: &[caller] };
                black_box(rules.repair(black_box(&leaf)));
            }
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("leaf_index");
    group.sample_size(10);
    group
        .bench_function("of_this_program", |bencher| bencher.iter(|| LeafRules::new(&image, LoadBias::NONE)));
    group.finish();
}

criterion_group!(benches, leaf);
criterion_main!(benches);
