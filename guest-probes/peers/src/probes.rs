//! This repository's probes.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use uniprof_probes as probe;
use uniprof_wire::layout::CONTROL_OFFSET;
use uniprof_wire::tables::ControlRequest;
use uniprof_wire::text::FixedText;

use crate::Player;

#[path = "../../benches/machine/mod.rs"]
mod machine;

probe::region!(bytes = 8 << 20);

/// Switches all sites on but those called `peer.off`, as a collector does it.
pub(crate) fn init() {
    let config = probe::Config { tsc_hz: 2_000_000_000, classes: 0, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    let asked = ControlRequest {
        owner: 1,
        renewals: 1,
        lease_ms: 60_000,
        classes: u64::MAX,
        patterns: FixedText::new(b"-peer.off"),
        ..ControlRequest::default()
    };
    let words: Vec<u64> = [2].into_iter().chain(asked.to_words()).collect();
    for (i, word) in words.iter().enumerate().rev() {
        // SAFETY: the control page, which a host may write.
        let slot =
            unsafe { AtomicU64::from_ptr(region_memory().base.add(CONTROL_OFFSET).cast::<u64>().add(i)) };
        slot.store(*word, Ordering::Release);
    }
    // The lease is over long before the measurement is: nobody looks at the page any more.
    std::thread::sleep(std::time::Duration::from_millis(500));
    probe::poll();
}

static TEXT: [&str; 2] = ["10.0.2.2", "/index.html and so"];

pub(crate) const PLAYERS: [Player; 9] = [
    ("nothing (the loop)", |calls| (0..calls).for_each(|i| _ = black_box(i))),
    ("rdtsc", |calls| (0..calls).for_each(|_| _ = black_box(machine::ticks()))),
    ("uniprof event, 2 integers", |calls| {
        (0..calls).for_each(|i| probe::event!("peer.event", key = black_box(i), size = black_box(9u64)));
    }),
    ("uniprof event, i32, f64, 8 bytes of text", |calls| {
        (0..calls).for_each(|i| {
            probe::event!("peer.typed", code: i32 = black_box(i as i32), load: f64 = 0.5, peer: str = TEXT[0]);
        });
    }),
    ("uniprof event, 18 bytes of text", |calls| {
        (0..calls).for_each(|_| probe::event!("peer.text", path: str = black_box(TEXT[1])));
    }),
    ("uniprof span (begin and end), 1 integer", |calls| {
        (0..calls).for_each(|i| drop(black_box(probe::span!("peer.span", key = black_box(i)))));
    }),
    ("uniprof gauge", |calls| (0..calls).for_each(|i| probe::gauge!("peer.gauge", black_box(i)))),
    ("uniprof histogram", |calls| {
        static RANDOM: AtomicU64 = AtomicU64::new(1);
        let mut x = RANDOM.load(Ordering::Relaxed);
        (0..calls).for_each(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            probe::histogram!("peer.histogram", black_box(x >> 44));
        });
        RANDOM.store(x, Ordering::Relaxed);
    }),
    ("uniprof event, off", off),
];

/// In a function of its own, whose code can be looked at.
#[inline(never)]
fn off(calls: u64) {
    (0..calls).for_each(|i| probe::event!("peer.off", key = black_box(i), size = black_box(9u64)));
}
