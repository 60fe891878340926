//! What sampling costs a guest, against the rate: `cargo bench -p uniprof --bench overhead`.
//!
//! The bundled kernel serves a fixed number of `kv` requests on one vCPU and prints how long that took by its own clock. Twice:
//! in instructions (under `-icount`, where the same work counts the same to the instruction), and in wall-clock time of the
//! emulator, alternating between off and on, with the spread. Only the ratios mean anything.

use std::error::Error;
use std::process::Command;

const REQUESTS: u32 = 100_000;
/// More of them where time is measured: the emulator's own warm-up must not count.
const TIMED_REQUESTS: u32 = 800_000;
const ROUNDS: usize = 7;
const RATES: [u32; 5] = [99, 499, 999, 4_999, 9_999];

/// Serves the requests at a sampling rate; returns the guest's clock ticks for it.
fn serve(hz: u32, icount: bool) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uniprof"));
    command.args(["run", "bundled", "--accel", "tcg"]);
    if icount {
        command.args(["--icount", "shift=0,sleep=off"]);
    }
    // Events are off, so that only the sampling differs.
    command.args(["--", "workload=kv", "uniprof.classes=samples,logs"]);
    let requests = if icount { REQUESTS } else { TIMED_REQUESTS };
    command.args([format!("requests={requests}"), format!("uniprof.hz={hz}")]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ticks = text
        .lines()
        .find_map(|line| line.split_once("kv: requests=")?.1.split_once("tsc=")?.1.trim().parse().ok());
    ticks.ok_or_else(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let off = serve(0, true)?;
    println!("instructions per request without sampling: {:.0}", off / f64::from(REQUESTS));
    for hz in RATES {
        let on = serve(hz, true)?;
        println!("{hz:>6} Hz   {:+.3} % instructions", (on / off - 1.0) * 100.0);
    }
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        // Which comes first alternates, too.
        let (off, on) = if round % 2 == 0 {
            let off = serve(0, false)?;
            (off, serve(999, false)?)
        } else {
            let on = serve(999, false)?;
            (serve(0, false)?, on)
        };
        ratios.push((on / off - 1.0) * 100.0);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "   999 Hz   {:+.1} % wall-clock time: median of {ROUNDS} pairs, from {:+.1} % to {:+.1} %",
        median(&ratios),
        ratios[0],
        ratios[ROUNDS - 1]
    );
    Ok(())
}
