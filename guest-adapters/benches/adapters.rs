//! What a record through a facade costs, beside the probes' own macro and an empty loop in the same run.
//!
//!     cargo bench -p uniprof-adapters

use std::hint::black_box;
use std::time::Instant;

use uniprof_probes as probe;

#[path = "../../guest-probes/benches/machine/mod.rs"]
mod machine;

probe::region!(bytes = 4 << 20);

const ROUNDS: usize = 301;
const CALLS: u64 = 1_000;

/// A name, and what does it so many times.
type Player = (&'static str, fn(u64));

/// The first is the loop that all others have, too.
const PLAYERS: [Player; 8] = [
    ("the loop itself", |calls| (0..calls).for_each(|i| _ = black_box(i))),
    ("rdtsc", |calls| (0..calls).for_each(|_| _ = black_box(machine::ticks()))),
    ("log::trace!, below the level", |calls| (0..calls).for_each(|i| log::trace!("served {} requests", i))),
    ("log::info!, one number", |calls| (0..calls).for_each(|i| log::info!("served {} requests", i))),
    ("tracing::trace!, below the level", |calls| (0..calls).for_each(|i| tracing::trace!(served = i))),
    ("tracing::info!, one number", |calls| (0..calls).for_each(|i| tracing::info!(served = i))),
    ("tracing::info_span!, begin and end", |calls| {
        (0..calls).for_each(|i| drop(black_box(tracing::info_span!("request", id = i))));
    }),
    ("the probes' own event!, one number", |calls| {
        (0..calls).for_each(|i| probe::event!("bench.event", served = black_box(i)));
    }),
];

fn main() {
    uniprof_adapters::log::install(log::LevelFilter::Info).expect("the first logger");
    uniprof_adapters::tracing::install(tracing::Level::INFO).expect("the first subscriber");
    let classes = probe::Class::RECORDED;
    let config = probe::Config { tsc_hz: 2_000_000_000, classes, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    let mut rounds = vec![[0.0; PLAYERS.len()]; ROUNDS];
    for round in &mut rounds {
        for (time, (_, play)) in round.iter_mut().zip(&PLAYERS) {
            let begin = Instant::now();
            play(black_box(CALLS));
            *time = begin.elapsed().as_nanos() as f64 / CALLS as f64;
        }
    }
    println!("ns a call more than the loop: median, 90th percentile of {ROUNDS} rounds of {CALLS}");
    for (at, (name, _)) in PLAYERS.iter().enumerate() {
        let mut more: Vec<f64> =
            rounds.iter().map(|round| if at == 0 { round[0] } else { round[at] - round[0] }).collect();
        more.sort_by(f64::total_cmp);
        println!("{name:40} {:7.2} {:7.2}", more[ROUNDS / 2], more[ROUNDS * 9 / 10]);
    }
}
