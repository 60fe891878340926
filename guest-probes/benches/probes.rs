//! What a probe costs, compiled for this machine: `cargo bench -p uniprof-probes`.
//!
//! `rdtsc` is measured in the same run, because it is most of an event and differs between machines.
#![allow(missing_docs, reason = "criterion's macros define public functions")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use uniprof_probes as probe;

mod machine;

probe::region!(bytes = 8 << 20);

/// A stack of `frames` frames, 64 bytes each, and its innermost frame pointer.
fn chain(frames: usize) -> (Vec<[u64; 8]>, u64) {
    let mut stack = vec![[0u64; 8]; frames + 1];
    for i in 0..frames {
        stack[i][0] = &raw const stack[i + 1] as u64;
        stack[i][1] = 0x1000 + i as u64;
    }
    let innermost = stack.as_ptr() as u64;
    let range = stack.as_ptr_range();
    machine::set_stack(range.start as usize..range.end as usize);
    (stack, innermost)
}

fn probes(c: &mut Criterion) {
    let classes = [probe::Class::Sample, probe::Class::Event, probe::Class::Span, probe::Class::Counter];
    let classes = classes.iter().fold(0, |bits, class| bits | class.bit());
    let config = probe::Config {
        tsc_hz: 2_000_000_000,
        sample_hz: 1000,
        classes,
        snapshot_bytes: 32 << 10,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);

    c.bench_function("rdtsc", |b| b.iter(machine::ticks));
    c.bench_function("event, two arguments", |b| {
        b.iter(|| probe::event!("bench.event", key = black_box(7u64), size = black_box(9u64)));
    });
    c.bench_function("event, 18 bytes of text", |b| {
        b.iter(|| probe::event!("bench.text", path: str = black_box("/index.html and so")));
    });
    c.bench_function("gauge", |b| b.iter(|| probe::gauge!("bench.gauge", black_box(7u64))));
    c.bench_function("histogram", |b| b.iter(|| probe::histogram!("bench.histogram", black_box(7777u64))));
    c.bench_function("call, off", |b| {
        b.iter(|| {
            // Recorded by nobody: its class is off.
            drop(probe::call!("bench.off", key = black_box(7u64), size = black_box(9u64)));
        });
    });
    c.bench_function("span, one argument", |b| {
        b.iter(|| drop(black_box(probe::span!("bench.span", key = black_box(7u64)))));
    });
    for frames in [1, 16, 64, 128] {
        let (_stack, innermost) = chain(frames);
        c.bench_function(&format!("tick, {frames} frames"), |b| {
            // SAFETY: the stack outlives the loop.
            b.iter(|| unsafe { probe::tick(black_box(0x1000), innermost, innermost) });
        });
    }
    for kib in [1, 8, 32] {
        let (_stack, rsp) = chain(kib * 1024 / 64 - 1);
        let registers = probe::Registers { rip: 0x1000, rsp, ..probe::Registers::default() };
        c.bench_function(&format!("tick, snapshot of {kib} KiB"), |b| {
            // SAFETY: the stack outlives the loop.
            b.iter(|| unsafe { probe::tick_with_registers(black_box(&registers)) });
        });
    }
}

criterion_group!(benches, probes);
criterion_main!(benches);
