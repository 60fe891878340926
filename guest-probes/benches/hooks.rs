//! What a hook costs: while nobody wants it, beside an empty loop in the same run, and while everything is recorded.
//!
//!     cargo bench -p uniprof-probes --bench hooks

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::Criterion;
use uniprof_probes as probe;
use uniprof_wire::layout::CONTROL_OFFSET;
use uniprof_wire::tables::ControlRequest;

mod machine;

probe::region!(bytes = 4 << 20);

/// Rounds, in each of which every hook is played once, so that what else the machine does meets all of them alike.
const ROUNDS: usize = 1001;
const CALLS: u64 = 10_000;

/// A name, and what does it so many times.
type Player = (&'static str, fn(u64));

/// The first is the loop that all others have, too.
const OFF: [Player; 12] = [
    ("the loop itself", |calls| (0..calls).for_each(|i| _ = black_box(i))),
    ("event!, two arguments", |calls| {
        (0..calls).for_each(|i| probe::event!("off.event", key = black_box(i), size = i));
    }),
    ("counter!", |calls| (0..calls).for_each(|i| probe::counter!("off.counter", black_box(i)))),
    ("gauge!", |calls| (0..calls).for_each(|i| probe::gauge!("off.gauge", black_box(i)))),
    ("histogram!", |calls| (0..calls).for_each(|i| probe::histogram!("off.histogram", black_box(i)))),
    ("span!, begin and end", |calls| {
        (0..calls).for_each(|i| {
            let _span = probe::span!("off.span", key = i);
            black_box(i);
        });
    }),
    ("call! with a result, begin and end", |calls| {
        (0..calls).for_each(|i| {
            let call = probe::call!("off.call" -> u64, key = i);
            call.returned(black_box(i));
        });
    }),
    ("allocated", |calls| (0..calls).for_each(|i| probe::allocated(black_box(i) as usize, 64))),
    ("freed", |calls| (0..calls).for_each(|i| probe::freed(black_box(i) as usize, 64))),
    ("lock_wait, and acquired", |calls| {
        (0..calls).for_each(|i| {
            let wait = probe::lock_wait(probe::LockKind::Spin, black_box(i) as usize, 2);
            wait.acquired();
        });
    }),
    ("lock_released", |calls| {
        (0..calls).for_each(|i| probe::lock_released(probe::LockKind::Spin, black_box(i) as usize, 0));
    }),
    ("recording", |calls| {
        (0..calls).for_each(|i| {
            if probe::recording(probe::Class::OffCpu) {
                black_box(i);
            }
            black_box(i);
        });
    }),
];

/// Nanoseconds a call, beside the loop's own: the median of all rounds, and what nine of ten stay below.
fn measure_off() {
    let mut rounds = vec![[0.0; OFF.len()]; ROUNDS];
    for round in &mut rounds {
        for (time, (_, play)) in round.iter_mut().zip(&OFF) {
            let begin = Instant::now();
            play(black_box(CALLS));
            *time = begin.elapsed().as_nanos() as f64 / CALLS as f64;
        }
    }
    println!(
        "while nobody wants it, ns a call more than the loop: median, 90th percentile of {ROUNDS} rounds"
    );
    for (at, (name, _)) in OFF.iter().enumerate() {
        let mut more: Vec<f64> =
            rounds.iter().map(|round| if at == 0 { round[0] } else { round[at] - round[0] }).collect();
        more.sort_by(f64::total_cmp);
        println!("{name:40} {:6.2} {:6.2}", more[ROUNDS / 2], more[ROUNDS * 9 / 10]);
    }
}

/// An observer's request for classes, heard at once.
fn ask(classes: u64) {
    let asked =
        ControlRequest { owner: 1, renewals: classes, lease_ms: 60_000, classes, ..Default::default() };
    let words = [2].into_iter().chain(asked.to_words()).enumerate().collect::<Vec<_>>();
    for (i, word) in words.into_iter().rev() {
        // SAFETY: the control page, which a host may write.
        unsafe { AtomicU64::from_ptr(region_memory().base.cast::<u64>().add(CONTROL_OFFSET / 8 + i)) }
            .store(word, Ordering::Release);
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    probe::poll();
}

fn call(argument: u64) -> i64 {
    probe::call!("bench.call" -> i64, argument = argument).returned(black_box(7))
}

/// What does more than look while it is off, and all of them while they are on. Stacks have no frames.
fn measure(c: &mut Criterion, state: &str) {
    c.bench_function(&format!("interrupt, {state}"), |b| b.iter(|| probe::interrupt(32, || black_box(7))));
    c.bench_function(&format!("a thread leaves to wait, is woken, comes back, {state}"), |b| {
        b.iter(|| {
            probe::switch(7, 0, probe::SwitchReason::Blocked);
            probe::woken(7);
            probe::switch(0, 7, probe::SwitchReason::Idle);
        });
    });
}

fn measure_on(c: &mut Criterion) {
    c.bench_function("rdtsc", |b| b.iter(machine::ticks));
    c.bench_function("call, one argument and a result, on", |b| b.iter(|| call(black_box(7))));
    c.bench_function("lock that is waited for, and its release, on", |b| {
        b.iter(|| {
            let wait = probe::lock_wait(probe::LockKind::Spin, black_box(0x1000), 2);
            probe::lock_released(probe::LockKind::Spin, black_box(0x1000), 0);
            wait.acquired();
        });
    });
    measure(c, "on");
}

fn main() {
    let config = probe::Config {
        tsc_hz: 2_000_000_000,
        classes: 0,
        heap_interval: 0,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    probe::thread_start(7, "waiting", 0..0, 0);
    measure_off();
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion, "off");
    ask(probe::Class::RECORDED);
    measure_on(&mut criterion);
    criterion.final_summary();
}
