//! What an event, a span and a histogram cost, beside tracing, fastrace and LTTng-UST: `guest-probes/peers/run.sh [ROUNDS]`.
//!
//! Every player is measured in every round, so that what else the machine does hits all of them alike; a figure is the median of the
//! rounds. All write an event with two 64-bit arguments and a timestamp into memory, where the oldest are overwritten.

mod fastrace_peer;
#[cfg(feature = "lttng")]
mod lttng_peer;
mod probes;
mod tracing_peer;

use std::time::Instant;

/// Calls of one measurement: few enough to be done before anything else gets the CPU, most times.
const CALLS: u64 = 10_000;

/// A name, and what does the thing so many times.
type Player = (&'static str, fn(u64));

fn main() {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(501);
    probes::init();
    tracing_peer::init();
    fastrace_peer::init();
    let mut players: Vec<Player> = Vec::new();
    players.extend(probes::PLAYERS);
    players.extend(tracing_peer::PLAYERS);
    players.extend(fastrace_peer::PLAYERS);
    #[cfg(feature = "lttng")]
    players.extend(lttng_peer::players());
    let mut times = vec![Vec::new(); players.len()];
    for round in 0..=rounds {
        for ((_, run), times) in players.iter().zip(&mut times) {
            let begin = Instant::now();
            run(CALLS);
            let each = begin.elapsed().as_secs_f64() * 1e9 / CALLS as f64;
            // The first round warms up.
            if round > 0 {
                times.push(each);
            }
        }
    }
    println!("{:<44} {:>8} {:>8} {:>8}", "ns each, of rounds:", "median", "10 %", "90 %");
    for ((name, _), times) in players.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{name:<44} {:>8.2} {:>8.2} {:>8.2}", at(0.5), at(0.1), at(0.9));
    }
}
