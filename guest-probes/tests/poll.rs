//! Safepoint samples of a "kernel" without a timer: handlers that take turns in an event loop, and a clock that they move.

use std::collections::BTreeMap;

use uniprof_probes as probe;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Record, Records};
use uniprof_wire::ring::{self, Block, Source};
use uniprof_wire::tables::{ControlRequest, VcpuStats};

mod machine;

use machine::{header, pass, ring, words};

probe::region!(bytes = 4 << 20);

const HZ: u64 = 1_000_000;
/// Ticks from one sample to the next.
const PERIOD: u64 = 1_000;
/// What each handler takes of a round: as long as three periods, and ten times a tenth of one.
const LONG: u64 = 3_000;
const SHORT: u64 = 100;
const SHORTS: u64 = 10;

#[inline(never)]
fn long(rounds: u64) -> u64 {
    pass(LONG);
    probe::poll();
    rounds + 1
}

/// Ends with its safepoint: that must not become a jump.
#[inline(never)]
fn short() {
    pass(SHORT);
    probe::poll();
}

fn rounds(rounds: u64) {
    let mut done = 0;
    while done < rounds {
        done = long(done);
        (0..SHORTS).for_each(|_| short());
    }
}

/// Weight and number of samples of each function, by the instruction that called.
fn drained(position: &mut u64) -> BTreeMap<u64, (u64, u64)> {
    let geometry = header().geometry.ring();
    let mut out = vec![0; geometry.sub_buffer_words()];
    let mut sums = BTreeMap::new();
    loop {
        match ring::read_block(&ring(RingKind::Core), geometry, Source::Live, *position, &mut out) {
            Block::Copied { start, end, .. } => {
                let block = &out[..(end - start) as usize];
                for found in Records::new(block, start, header().salt()) {
                    if let Record::Sample(sample) = found.record.expect("intact") {
                        let sum: &mut (u64, u64) = sums.entry(sample.rip).or_default();
                        *sum = (sum.0 + sample.weight, sum.1 + 1);
                    }
                }
                *position = end;
            }
            Block::Empty => return sums,
            other => panic!("{other:?}"),
        }
    }
}

fn stats() -> VcpuStats {
    VcpuStats::from_words(&words(header().geometry.vcpu_table()))
}

/// One test, because the probes of a process are one.
#[test]
fn handlers_are_sampled_in_proportion_to_their_time() {
    // Some of this thread's stack, which has far more.
    let local = 0_u64;
    let top = (&raw const local as usize + (4 << 10)).next_multiple_of(16);
    machine::set_stack(top - (64 << 10)..top);
    probe::poll();
    let config =
        probe::Config { name: "poll", tsc_hz: HZ, sample_hz: 0, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);

    // Off: a sign of life, and nothing else.
    let mut position = 0;
    rounds(100);
    assert!(drained(&mut position).is_empty());
    assert!(stats().heartbeat > 0);

    let asked = ControlRequest {
        owner: 7,
        renewals: 1,
        lease_ms: 1_000_000_000,
        rate: (HZ / PERIOD) as u32,
        classes: probe::Class::Sample.bit(),
        ..ControlRequest::NOTHING
    };
    machine::request(0, &asked);
    rounds(100);
    drained(&mut position);
    const ROUNDS: u64 = 2_000;
    let mut sums = BTreeMap::new();
    // In parts that the ring has room for.
    for _ in 0..ROUNDS / 100 {
        rounds(100);
        for (function, (weight, samples)) in drained(&mut position) {
            let sum: &mut (u64, u64) = sums.entry(function).or_default();
            *sum = (sum.0 + weight, sum.1 + samples);
        }
    }
    let total: u64 = sums.values().map(|sum| sum.0).sum();
    let busy = ROUNDS * (LONG + SHORTS * SHORT);
    // All busy time is somebody's; what the probes themselves take of the clock comes on top.
    assert!(total.abs_diff(busy) < busy / 20, "{total} of {busy}");
    // The heaviest is `long`; the only other one is `short`, each known by its one call.
    assert_eq!(sums.len(), 2, "{sums:?}");
    let most = sums.values().map(|sum| sum.0).max().unwrap();
    let share = most as f64 / total as f64;
    assert!((share - 0.75).abs() < 0.02, "{share}: {sums:?}");
    // As many samples as periods, whichever handler they are of.
    let samples: u64 = sums.values().map(|sum| sum.1).sum();
    assert!(samples.abs_diff(busy / PERIOD) < busy / PERIOD / 20, "{samples}");
    let most_samples = sums.values().map(|sum| sum.1).max().unwrap();
    assert!((most_samples as f64 / samples as f64 - 0.75).abs() < 0.02, "{sums:?}");
    assert_eq!(stats().missed, 0);
    // One that takes for ever has some samples, and the time of all.
    pass(1_000 * PERIOD);
    short();
    let sums = drained(&mut position);
    let [weight, samples] = sums.values().fold([0, 0], |[a, b], sum| [a + sum.0, b + sum.1]);
    assert!(weight.abs_diff(1_000 * PERIOD) < 10 * PERIOD && samples < 100, "{weight} {samples}");
    assert!((800..=1_000).contains(&(stats().missed + samples)), "{}", stats().missed);

    // Code that did not poll itself is sampled where it is said to be, and nowhere where that is not known.
    let short_of = |rip| {
        pass(10 * PERIOD);
        probe::poll_with_registers(&probe::Registers { rip, rsp: top as u64 - 128, ..Default::default() });
    };
    short_of(0);
    assert!(drained(&mut position).is_empty());
    short_of(0x1234);
    let sums = drained(&mut position);
    assert!(sums.len() == 1 && sums[&0x1234].0.abs_diff(10 * PERIOD) < 2 * PERIOD, "{sums:?}");

    // Idle time is nobody's.
    probe::idle_enter();
    pass(1_000_000);
    probe::poll();
    probe::idle_exit();
    short();
    let weights: u64 = drained(&mut position).values().map(|sum| sum.0).sum();
    assert!(weights < 10_000, "{weights}");

    // Once there is a timer, samples are its own.
    let _ = probe::next_tick();
    rounds(100);
    assert!(drained(&mut position).is_empty());
}
