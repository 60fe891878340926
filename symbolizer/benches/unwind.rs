//! Stacks of this very program, stopped by gdb while it names addresses, unwound by us and by framehop in the same run.
//! What both find is compared with gdb first.

#[path = "../tests/common/oracle.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod oracle;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder as _};
use oracle::{Plan, Session, Stop};
use uniprof_symbolizer::{AddressKind, Image, LoadBias, Registers, Symbolizer, Unwinder, load};
use uniprof_wire::address::GuestVirtual;

/// What gdb steps through.
#[inline(never)]
fn busy_with_symbols() {
    let image =
        load(std::env::current_exe().expect("this program has a path")).expect("this program is an image");
    let mut symbolizer = Symbolizer::new(Arc::new(image), LoadBias::NONE);
    for address in (0..1_000).map(|number| GuestVirtual(0x40_000 + number * 4_099)) {
        black_box(symbolizer.resolve(address, AddressKind::Return).to_string());
    }
}

const BUSY: &str = "--busy";

/// Stops from the outside: registers and a plain copy of the stack, as a recording has them.
struct Snapshot {
    registers: Registers,
    words: Vec<u64>,
}

impl Snapshot {
    fn of(stop: &Stop) -> Self {
        let base = stop.registers.rsp;
        let words = (0..).map_while(|index| stop.read(base + 8 * index)).collect();
        Self { registers: stop.registers, words }
    }

    #[inline]
    fn read(&self, at: u64) -> Option<u64> {
        let offset = at.wrapping_sub(self.registers.rsp);
        if !offset.is_multiple_of(8) {
            return None;
        }
        self.words.get((offset / 8) as usize).copied()
    }
}

fn framehop(session: &Session) -> UnwinderX86_64<Vec<u8>> {
    let mut unwinder = UnwinderX86_64::new();
    for (image, bias) in &session.images {
        let section = |name| {
            let section = image.section(name).expect("readable")?;
            Some((section.address.0..section.address.0 + section.len() as u64, section.to_vec()))
        };
        let range = |name| section(name).map(|(range, _)| range);
        let bytes = |name| section(name).map(|(_, bytes)| bytes);
        let end = image.segments().iter().map(|part| part.address.0 + part.size).max().expect("has segments");
        unwinder.add_module(Module::new(
            "image".to_owned(),
            bias.get()..bias.get() + end,
            bias.get(),
            ExplicitModuleSectionInfo {
                base_svma: 0,
                text_svma: range(".text"),
                text: bytes(".text"),
                got_svma: range(".got"),
                eh_frame_svma: range(".eh_frame"),
                eh_frame: bytes(".eh_frame"),
                eh_frame_hdr_svma: range(".eh_frame_hdr"),
                eh_frame_hdr: bytes(".eh_frame_hdr"),
                debug_frame: bytes(".debug_frame"),
                ..ExplicitModuleSectionInfo::default()
            },
        ));
    }
    unwinder
}

fn walk(unwinder: &UnwinderX86_64<Vec<u8>>, cache: &mut CacheX86_64, stop: &Snapshot, frames: &mut Vec<u64>) {
    let Registers { rip, rsp, rbp, .. } = stop.registers;
    let mut read = |at| stop.read(at).ok_or(());
    let mut walk = unwinder.iter_frames(rip, UnwindRegsX86_64::new(rip, rsp, rbp), cache, &mut read);
    while let Ok(Some(frame)) = walk.next() {
        frames.push(frame.address());
    }
}

/// How many stacks each finds as gdb does.
fn compare(session: &Session, stops: &[Snapshot]) {
    let (mut ours, theirs) = (session.unwinder(), framehop(session));
    let mut cache = CacheX86_64::new();
    let (mut ours_right, mut theirs_right) = (0, 0);
    for (stop, expected) in stops.iter().zip(&session.stops) {
        let expected: Vec<u64> = expected.frames.iter().map(|frame| frame.0).collect();
        let mut frames = Vec::new();
        ours.unwind(&stop.registers, |at| stop.read(at), &mut frames);
        ours_right += u32::from(frames.iter().map(|frame| frame.address.0).eq(expected.iter().copied()));
        let mut found = Vec::new();
        walk(&theirs, &mut cache, stop, &mut found);
        theirs_right += u32::from(found == expected);
    }
    println!("of {} stacks as gdb unwinds them: {ours_right} by us, {theirs_right} by framehop", stops.len());
    assert_eq!(ours_right as usize, stops.len());
}

fn hot(criterion: &mut Criterion, session: &Session, stops: &[Snapshot]) {
    let frames: usize = session.stops.iter().map(|stop| stop.frames.len()).sum();
    let mut group = criterion.benchmark_group("unwind_hot");
    group.throughput(Throughput::Elements(frames as u64));
    let mut unwinder = session.unwinder();
    let mut found = Vec::with_capacity(512);
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            for stop in stops {
                found.clear();
                black_box(unwinder.unwind(&stop.registers, |at| stop.read(at), &mut found));
            }
        });
    });
    let (theirs, mut cache) = (framehop(session), CacheX86_64::new());
    let mut found = Vec::with_capacity(512);
    group.bench_function("framehop", |bencher| {
        bencher.iter(|| {
            for stop in stops {
                found.clear();
                walk(&theirs, &mut cache, stop, &mut found);
                black_box(&found);
            }
        });
    });
    group.finish();
}

/// Addresses in the largest image that were not asked for before, near each other or not.
fn spread(image: &Image, bias: LoadBias, step: usize) -> Vec<u64> {
    let text = image.executable_ranges().into_iter().max_by_key(|range| range.end - range.start);
    let mut addresses: Vec<u64> =
        text.expect("a program has code").step_by(step).map(|at| at + bias.get()).collect();
    // Neither in order nor by chance in the order of a table.
    addresses.sort_by_key(|address| address.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    addresses.truncate(4_000);
    addresses
}

/// The first frame at each of many addresses: what a rule costs that is not in the cache.
fn cold(criterion: &mut Criterion, session: &Session) {
    let (image, bias) = &session.images[0];
    for (name, step) in [("unwind_cold", 1_021), ("unwind_cold_dense", 41)] {
        let addresses = spread(image, *bias, step);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(addresses.len() as u64));
        group.sample_size(20);
        let mut found = Vec::with_capacity(4);
        group.bench_function("ours", |bencher| {
            let ask = |mut unwinder: Unwinder| {
                for rip in &addresses {
                    found.clear();
                    let registers = Registers { rip: *rip, rsp: 0x8000, rbp: 0x8100, ..Registers::default() };
                    black_box(unwinder.unwind(&registers, |_| None, &mut found));
                }
                unwinder
            };
            bencher.iter_batched(|| session.unwinder(), ask, BatchSize::PerIteration);
        });
        let theirs = framehop(session);
        group.bench_function("framehop", |bencher| {
            let ask = |mut cache: CacheX86_64| {
                for rip in &addresses {
                    let mut registers = UnwindRegsX86_64::new(*rip, 0x8000, 0x8100);
                    let leaf = FrameAddress::from_instruction_pointer(*rip);
                    let _ =
                        black_box(theirs.unwind_frame(leaf, &mut registers, &mut cache, &mut |_| Err(())));
                }
                cache
            };
            bencher.iter_batched(CacheX86_64::new, ask, BatchSize::PerIteration);
        });
        group.finish();
    }
}

fn unwind(criterion: &mut Criterion) {
    let program = std::env::current_exe().expect("this program has a path");
    let at = "busy_with_symbols";
    let session = oracle::run(&program, &[BUSY], Plan { at, steps: 400, stride: 1_009 });
    let stops: Vec<Snapshot> = session.stops.iter().map(Snapshot::of).collect();
    compare(&session, &stops);
    hot(criterion, &session, &stops);
    cold(criterion, &session);
    let mut group = criterion.benchmark_group("unwind_index");
    group.sample_size(10);
    group.bench_function("ours", |bencher| bencher.iter(|| session.unwinder()));
    group.bench_function("framehop", |bencher| bencher.iter(|| framehop(&session)));
    group.finish();
}

fn main() {
    if std::env::args().any(|argument| argument == BUSY) {
        busy_with_symbols();
    } else {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}

criterion_group!(benches, unwind);
