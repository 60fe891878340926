//! The heap hooks as an allocator calls them, from several threads as vCPUs; the table is read back as a host would.

use std::collections::BTreeMap;

use uniprof_probes as probe;
use uniprof_wire::tables::{HEAP_WORDS, HeapEntry, HeapStats, Slot, VCPU_WORDS, VcpuStats};

mod machine;

use machine::{header, word, words};

const REGION_BYTES: usize = 4 << 20;
const VCPUS: u32 = 4;
const INTERVAL: u64 = 16 << 10;
/// Of the threads' stacks, which have 2 MiB, what the probes may read.
const STACK_BYTES: usize = 256 << 10;

probe::region!(bytes = REGION_BYTES);

fn stats() -> Vec<HeapStats> {
    let table = header().geometry.vcpu_table();
    let of = |vcpu| VcpuStats::from_words(&words(table + vcpu as usize * VCPU_WORDS * 8)).heap;
    (0..VCPUS).map(of).collect()
}

fn live() -> Vec<HeapEntry> {
    let geometry = header().geometry;
    let slot = |slot: usize| {
        let key = word(geometry.heap_keys() + slot * 8);
        match HeapEntry::from_words(key, &words(geometry.heap_entries() + slot * HEAP_WORDS * 8)) {
            Slot::Empty => None,
            Slot::Whole(entry) => Some(entry),
            Slot::Torn(entry) => panic!("nobody writes now: {entry:?}"),
        }
    };
    (0..geometry.heap_slots() as usize).filter_map(slot).collect()
}

/// A "heap" whose blocks are numbers.
#[inline(never)]
fn allocate(address: usize, bytes: usize) {
    probe::allocated(address, bytes);
    std::hint::black_box(());
}

#[test]
fn a_heaps_life() {
    nothing_is_counted_before_init();
    init();
    totals_are_exact_and_the_table_holds_what_lives();
    a_full_table_is_counted_as_such();
}

fn nothing_is_counted_before_init() {
    probe::allocated(0x1000, 1 << 30);
    probe::freed(0x1000, 1 << 30);
    assert_eq!(word(0), 0);
}

fn init() {
    let config = probe::Config {
        name: "heap",
        tsc_hz: 1_000_000,
        vcpus: VCPUS,
        ring_bytes: 64 << 10,
        heap_interval: INTERVAL,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    assert_eq!(header().geometry.heap_slots(), 1024);
    assert!(live().is_empty());
}

/// Every vCPU allocates 4,000 blocks of 64 to 2,047 bytes and gives all but every tenth back, half of them on another vCPU. At most
/// some 620 sampled blocks live at once, which the table has room for however the threads run.
fn totals_are_exact_and_the_table_holds_what_lives() {
    const BLOCKS: usize = 4_000;
    const KEPT: usize = 10;
    let bytes = |n: usize| 64 + n * 37 % 1984;
    let address = |vcpu: usize, n: usize| (vcpu << 40) + 0x10_0000 + n * 2048;
    let number = |entry: &HeapEntry| ((entry.address.0 & 0xff_ffff_ffff) as usize - 0x10_0000) / 2048;
    let run = |vcpu: u32, work: &(dyn Fn(usize) + Sync)| {
        machine::set_vcpu(vcpu);
        machine::set_thread(100 + vcpu);
        let top = 0_u8;
        let high = (&raw const top).addr() + 64;
        machine::set_stack(high - STACK_BYTES..high);
        work(vcpu as usize);
    };
    std::thread::scope(|scope| {
        for vcpu in 0..VCPUS {
            scope.spawn(move || {
                run(vcpu, &|vcpu| {
                    for n in 0..BLOCKS {
                        allocate(address(vcpu, n), bytes(n));
                        if n % 2 == 0 && n % KEPT != 0 {
                            probe::freed(address(vcpu, n), bytes(n));
                        }
                    }
                });
            });
        }
    });
    let before = live();
    std::thread::scope(|scope| {
        for vcpu in 0..VCPUS {
            scope.spawn(move || {
                run(vcpu, &|vcpu| {
                    let other = (vcpu + 1) % VCPUS as usize;
                    (1..BLOCKS).step_by(2).for_each(|n| probe::freed(address(other, n), bytes(n)));
                });
            });
        }
    });
    let all: u64 = (0..BLOCKS).map(|n| bytes(n) as u64).sum();
    let kept: Vec<usize> = (0..BLOCKS).step_by(KEPT).collect();
    let kept_bytes: u64 = kept.iter().map(|&n| bytes(n) as u64).sum();
    for vcpu in stats() {
        assert_eq!((vcpu.allocated_bytes, vcpu.allocated_blocks), (all, BLOCKS as u64));
        assert_eq!((vcpu.freed_bytes, vcpu.freed_blocks), (all - kept_bytes, (BLOCKS - kept.len()) as u64));
        assert_eq!(vcpu.interval, INTERVAL);
    }
    let sum = |of: fn(&HeapStats) -> u64| stats().iter().map(of).sum::<u64>();
    // One sample in 16 KiB, of 16 MB.
    let expected = (4 * all / INTERVAL) as f64;
    let sampled = sum(|vcpu| vcpu.sampled) as f64;
    assert!((sampled - expected).abs() < 5.0 * expected.sqrt(), "{sampled} samples, not {expected}");
    // Both places of an address may be full before the table is.
    let dropped = sum(|vcpu| vcpu.dropped);
    assert!(dropped * 100 <= sampled as u64, "{dropped} of {sampled} found no slot");

    let mut known = BTreeMap::new();
    for entry in before.iter().chain(&live()) {
        let vcpu = (entry.address.0 >> 40) as usize;
        assert_eq!(entry.bytes, bytes(number(entry)) as u64, "{entry:?}");
        assert_eq!(entry.thread, 100 + vcpu as u32);
        assert!(entry.weight > INTERVAL && entry.weight < 2 * INTERVAL, "small against the interval");
        known.insert(entry.address, *entry);
    }
    assert!(known.len() > 400, "half of the blocks lived then: {}", known.len());
    let live = live();
    assert!(live.iter().all(|entry| kept.contains(&number(entry))));
    let estimate: u64 = live.iter().map(|entry| entry.weight).sum();
    let (estimate, truth) = (estimate as f64, (4 * kept_bytes) as f64);
    let bound = 5.0 * (truth * INTERVAL as f64 * 1.1).sqrt();
    assert!((estimate - truth).abs() < bound, "{estimate} estimated, {truth} ± {bound} live");
    // Stacks are not looked at: this process is compiled without frame pointers. The sample kernel has them.
    live.iter().for_each(|entry| probe::freed(entry.address.0 as usize, entry.bytes as usize));
}

fn a_full_table_is_counted_as_such() {
    assert!(live().is_empty(), "all given back");
    machine::set_vcpu(0);
    let before = stats()[0];
    // Each one is sampled: it is far longer than the interval.
    const BYTES: u64 = 64 * INTERVAL;
    for n in 0..3000_u64 {
        allocate((0x5_0000_0000 + n * BYTES) as usize, BYTES as usize);
    }
    let after = stats()[0];
    let (sampled, dropped) = (after.sampled - before.sampled, after.dropped - before.dropped);
    assert_eq!(sampled, 3000);
    assert_eq!(live().len() as u64 + dropped, 3000);
    assert!(live().len() > 1000, "the table is used to the last slots: {}", live().len());
    assert_eq!(after.dropped_weight - before.dropped_weight, dropped * BYTES);
}
