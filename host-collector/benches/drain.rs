//! Speed of emptying a ring, and of decoding and accounting for what was in it:
//! `cargo bench -p uniprof-collector --bench drain`.

use std::{cell::Cell, hint::black_box, os::unix::fs::FileExt, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uniprof_collector::{
    drain::{Begin, Drainer},
    ledger::Ledger,
    memory::{GuestMemory, IvshmemFile, find_region},
    recording::Message,
};
use uniprof_wire::{
    address::{GuestPhysical, GuestVirtual},
    layout::{Architecture, Geometry, RegionHeader, RingKind},
    record::{EventRecord, Record, SampleRecord, WalkEnd},
    ring::{Source, Writer},
    text::FixedText,
};

const BASE: u64 = 0xfe00_0000;

fn header() -> RegionHeader {
    RegionHeader {
        architecture: Architecture::X86_64,
        boot_id: 7,
        region_gpa: GuestPhysical(BASE),
        region_gva: GuestVirtual(BASE),
        geometry: Geometry::with_ring_bytes(1, 16 << 20).expect("a valid geometry"),
        tsc_hz: 1_000_000_000,
        boot_tsc: 0,
        boot_wall_ns: 0,
        sites: (GuestVirtual(0), GuestVirtual(0)),
        name: FixedText::new(b"bench"),
    }
}

/// A region in tmpfs whose core ring is nearly full of `record`, and how many bytes those are.
fn region(record: &Record<'_>) -> (tempfile::NamedTempFile, u64) {
    let header = header();
    let geometry = header.geometry;
    let ring = geometry.ring();
    let words = vec![Cell::new(0); ring.total_words()];
    let writer = Writer::new(&words[..], ring, header.salt());
    writer.format();
    let len = record.payload_words() + 1;
    let count = (ring.ring_words() - ring.sub_buffer_words()) / len;
    for _ in 0..count {
        writer.write_record(record).expect("a record that fits");
    }
    let file = tempfile::Builder::new().tempfile_in("/dev/shm").expect("tmpfs");
    file.as_file().set_len(geometry.region_bytes() as u64).expect("room");
    let write = |words: &mut dyn Iterator<Item = u64>, at: usize| {
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        file.as_file().write_all_at(&bytes, at as u64).expect("room");
    };
    write(&mut words.iter().map(Cell::get), geometry.ring_offset(0, RingKind::Core));
    write(&mut header.to_words().into_iter(), 0);
    (file, (count * len * 8) as u64)
}

fn drainer(file: &tempfile::NamedTempFile) -> Drainer {
    let memory: Arc<dyn GuestMemory> = Arc::new(IvshmemFile::open(file.path()).expect("the file"));
    let region = find_region(&memory, None).expect("readable memory").expect("a region");
    Drainer::attach(memory, region, 0).expect("a mapping")
}

fn empty(drainer: &mut Drainer, mut emit: impl FnMut(Message<'_>)) {
    drainer.begin(Begin::Boot, &mut emit).expect("readable memory");
    let round = drainer.round(Source::Live, &mut emit);
    black_box(round);
}

fn benches(c: &mut Criterion) {
    let stack = [0x1000; 8];
    let frames = [0x20_0000; 16];
    let sample = SampleRecord {
        tsc: 1,
        thread: 2,
        rip: 3,
        rsp: 4,
        rbp: 5,
        weight: 6,
        missed: 0,
        end: WalkEnd::Root,
        stack: &stack,
        frames: &frames,
    };
    let event = EventRecord { tsc: 1, site: 2, thread: 3, args: &[4, 5] };
    for (name, record) in [("samples", Record::Sample(sample)), ("events", Record::Event(event))] {
        let (file, bytes) = region(&record);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes)).sample_size(20);
        group.bench_function("copy", |b| {
            b.iter_batched_ref(
                || drainer(&file),
                |drainer| empty(drainer, |m| drop(black_box(m))),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("copy, decode and account", |b| {
            b.iter_batched_ref(
                || (drainer(&file), Ledger::new()),
                |(drainer, ledger)| {
                    empty(drainer, |message| {
                        ledger.feed(&message, |_, record| {
                            black_box(record.tsc());
                        });
                    });
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(drain, benches);
criterion_main!(drain);
