//! What it costs to resolve the addresses of this program, which has a few megabytes of debug information.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uniprof_symbolizer::{AddressKind, Image, LoadBias, Symbolizer, load};
use uniprof_wire::address::GuestVirtual;

const ADDRESSES: u64 = 2_000;

fn addresses(image: &Image) -> Vec<(GuestVirtual, AddressKind)> {
    let text = image.executable_ranges().into_iter().max_by_key(|range| range.end - range.start);
    let text = text.expect("a program has code");
    let step = (text.end - text.start) / ADDRESSES;
    (0..ADDRESSES).map(|n| (GuestVirtual(text.start + n * step), AddressKind::Instruction)).collect()
}

fn resolve(criterion: &mut Criterion) {
    let path = std::env::current_exe().expect("this program has a path");
    let image = Arc::new(load(path).expect("this program is an image"));
    let addresses = addresses(&image);
    let mut group = criterion.benchmark_group("resolve");
    group.sample_size(10).throughput(Throughput::Elements(ADDRESSES));
    group.bench_function("cold_one_by_one", |bencher| {
        bencher.iter(|| {
            let mut symbolizer = Symbolizer::new(Arc::clone(&image), LoadBias::NONE);
            for (address, kind) in &addresses {
                black_box(symbolizer.resolve(*address, *kind));
            }
        });
    });
    group.bench_function("cold_many", |bencher| {
        bencher.iter(|| Symbolizer::new(Arc::clone(&image), LoadBias::NONE).resolve_many(&addresses));
    });
    let mut symbolizer = Symbolizer::new(Arc::clone(&image), LoadBias::NONE);
    group.bench_function("cached", |bencher| {
        bencher.iter(|| {
            for (address, kind) in &addresses {
                black_box(symbolizer.resolve(*address, *kind));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, resolve);
criterion_main!(benches);
