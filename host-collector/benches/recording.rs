//! Speed of writing and reading recordings: `cargo bench -p uniprof-collector --bench recording`.

use std::{hint::black_box, path::Path};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uniprof_collector::{
    clock::HostTime,
    recording::{Body, Item, Message, RecordingFile, RingId, SessionInfo, open},
};
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::CLASSES;

/// Bytes of one block: the usual sub-buffer.
const BLOCK: usize = 64 << 10;
/// Bytes of one recording.
const TOTAL: usize = 256 << 20;

fn block(n: u64) -> Message<'static> {
    let words = (0..BLOCK as u64 / 8).map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n).collect();
    let ring = RingId { vcpu: (n % 4) as u16, kind: RingKind::Core };
    let body = Body::Block { ring, start: n * BLOCK as u64 / 8, sealed: Some([n; CLASSES]), words };
    Message { at: HostTime::now(), session: 0, body }
}

fn write(path: &Path, blocks: &[Message<'_>]) {
    let mut file = RecordingFile::create(path, &SessionInfo::default()).expect("a writable directory");
    for n in 0..TOTAL / BLOCK {
        file.write(&blocks[n % blocks.len()]).expect("room for the recording");
    }
    file.finish().expect("room for the recording");
}

fn read(path: &Path) -> u64 {
    let mut reader = open(path).expect("the recording").reader;
    let mut sum = 0;
    while let Some(item) = reader.next().expect("a readable recording") {
        if let Item::Message(Message { body: Body::Block { words, .. }, .. }) = item {
            sum += words.len() as u64 + words[0];
        }
    }
    assert_eq!(reader.damage().len(), 1, "only the end is missing");
    sum
}

fn benches(c: &mut Criterion) {
    let blocks: Vec<_> = (0..64).map(block).collect();
    for (place, dir) in [("tmpfs", "/dev/shm"), ("disk", env!("CARGO_TARGET_TMPDIR"))] {
        let dir = tempfile::tempdir_in(dir).expect("a writable directory");
        let path = dir.path().join("bench.uniprof");
        let mut group = c.benchmark_group(place);
        group.sample_size(10).throughput(Throughput::Bytes(TOTAL as u64));
        group.bench_function("write", |b| {
            b.iter_batched(|| (), |()| write(&path, &blocks), BatchSize::PerIteration)
        });
        group.bench_function("read", |b| b.iter(|| black_box(read(&path))));
        group.finish();
    }
}

criterion_group!(recording, benches);
criterion_main!(recording);
