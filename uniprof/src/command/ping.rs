//! `uniprof ping`: whether a guest is alive, paused, starved of the host's CPU, wedged, or dead.
//!
//! ```text
//! $ uniprof ping web
//! alive: 2 of 2 vCPUs showed signs of life within 1.4 s; busy at 35 % of the looks
//! $ uniprof ping spin; echo $?
//! wedged: vCPU 0 had 99 % of a host CPU and showed no sign of life for 1.4 s; its interrupts were off at every look
//! 10
//! ```

use std::io::Write as _;
use std::time::Instant;

use serde::Serialize;
use uniprof_collector::ping::{self, Evidence, Process, State, Verdict};

use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  uniprof ping web
  uniprof ping web --json | jq -r .state

It takes less than two seconds. Exit codes: 0 alive, 10 wedged, 11 dead, 12 paused, 13 starved of the host's CPU; 3 no such guest.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A guest, by name or pid
    target: String,
    /// Print a JSON document (schema uniprof.ping/1)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    guest: String,
    state: &'static str,
    /// Why that is concluded.
    because: String,
    /// For how long was looked.
    looked_ms: u64,
    process: &'static str,
    /// QEMU's word for its state, if it answers.
    qemu: Option<String>,
    vcpus: Vec<Vcpu>,
}

#[derive(Serialize)]
struct Vcpu {
    vcpu: u32,
    /// Whether its heartbeat moved; null without an observation region.
    beats: Option<bool>,
    /// The share of the looks at which it was idle, 0 to 1; null without an observation region.
    idle: Option<f64>,
    /// The share of a host CPU that its thread had.
    cpu_share: Option<f64>,
    /// Whether it heard interrupts at any look; null if QEMU did not answer.
    interrupts_on: Option<bool>,
    halted: Option<bool>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let entry = Target::find(&args.target)?.entry()?;
    let began = Instant::now();
    let evidence = ping::look_at(&entry);
    let verdict = ping::judge(&evidence);
    let state = verdict.state;
    if args.json {
        let looked_ms = began.elapsed().as_millis() as u64;
        output::json(&document(entry.name, looked_ms, &evidence, verdict))?;
    } else {
        let mut out = output::stdout();
        writeln!(out, "{}: {}", state.name(), output::printable(&verdict.because))?;
        out.flush()?;
    }
    match state {
        State::Alive => Ok(()),
        State::Wedged => Err(Failure::silent(Exit::Wedged)),
        State::Dead => Err(Failure::silent(Exit::Dead)),
        State::Paused => Err(Failure::silent(Exit::Paused)),
        State::Starved => Err(Failure::silent(Exit::Starved)),
    }
}

fn document(guest: String, looked_ms: u64, evidence: &Evidence, verdict: Verdict) -> Document {
    let last = evidence.looks.last();
    let hundredths = |share: f64| (share * 100.0).round() / 100.0;
    Document {
        schema: "uniprof.ping/1",
        guest,
        state: verdict.state.name(),
        because: verdict.because,
        looked_ms,
        process: match last.map(|look| look.process) {
            Some(Process::Runs) => "runs",
            Some(Process::Stopped) => "stopped",
            Some(Process::Zombie) => "zombie",
            Some(Process::Gone) | None => "gone",
        },
        qemu: last.and_then(|look| look.status.as_ref()).map(|status| status.state.clone()),
        vcpus: verdict
            .vcpus
            .iter()
            .map(|vcpu| Vcpu {
                vcpu: vcpu.vcpu,
                beats: vcpu.beats,
                idle: vcpu.idle.map(hundredths),
                cpu_share: vcpu.cpu_share.map(hundredths),
                interrupts_on: vcpu.interrupts_on,
                halted: vcpu.halted,
            })
            .collect(),
    }
}
