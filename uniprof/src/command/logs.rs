//! `uniprof logs`: what a guest wrote to its console and its log.
//!
//! ```text
//! $ uniprof logs r.uniprof
//!     0.000000  console  uniprof-sample-kernel: 2 vCPUs, 256 MiB, tsc 2596 MHz, region ivshmem 8 MiB at 0xfe000000
//! ```

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;
use uniprof_collector::clock::HostTime;
use uniprof_wire::record::Record;

use crate::output;
use crate::profile::walk::{Visitor, walk};
use crate::profile::{self, Figures, Source};

const EXAMPLES: &str = "\
Examples:
  uniprof logs r.uniprof
  uniprof logs r.uniprof --from ring | grep panic
  uniprof logs sample --json | jq -r .text";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, or `sample`; left out, the newest recording here
    input: Option<String>,
    /// Where the lines come from [default: the console, else the ring]
    #[arg(long)]
    from: Option<From>,
    /// Print one JSON document per line (schema uniprof.logs/1)
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum From {
    /// The serial console, as the host saw it
    Console,
    /// The log records in the guest's rings: exact times, vCPU and thread, but older ones may be overwritten
    Ring,
}

#[derive(Serialize)]
struct Line {
    schema: &'static str,
    from: From,
    /// Since the guest's boot (ring) or the start of the recording (console).
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u32>,
    text: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = profile::choose(args.input.as_deref())?;
    let session = profile::head(&input)?.session;
    let mut lines = Lines { started: session.started_ns, console: Vec::new(), ring: Vec::new() };
    let figures = walk(Source::open(&input)?, session, &mut lines)?;
    let lines = lines.choose(args.from, &figures);
    let mut out = output::stdout();
    for line in &lines {
        if args.json {
            output::json_line(&mut out, line)?;
        } else {
            let place = match (line.vcpu, line.thread) {
                (Some(vcpu), Some(thread)) => format!("vcpu{vcpu}/{}", figures.thread(thread)),
                _ => "console".into(),
            };
            writeln!(out, "{:>12.6}  {place}  {}", line.seconds, line.text)?;
        }
    }
    out.flush()?;
    for note in &figures.notes {
        output::say(format_args!("uniprof: {note}"));
    }
    Ok(())
}

/// What a walk collects.
struct Lines {
    started: u64,
    console: Vec<Line>,
    /// With the guest's clock; how fast that runs is known at the end.
    ring: Vec<(u64, Line)>,
}

impl Visitor for Lines {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        let Record::Log(log) = record else { return };
        let bytes: Vec<u8> = log.text.bytes().collect();
        let line = Line::new(From::Ring, &bytes);
        self.ring.push((log.tsc, Line { vcpu: Some(vcpu), thread: Some(log.thread), ..line }));
    }

    fn console(&mut self, at: HostTime, bytes: &[u8]) {
        let seconds = at.realtime_ns.saturating_sub(self.started) as f64 / 1e9;
        self.console.push(Line { seconds, ..Line::new(From::Console, bytes) });
    }
}

impl Lines {
    fn choose(mut self, from: Option<From>, figures: &Figures) -> Vec<Line> {
        let usual = if self.console.is_empty() { From::Ring } else { From::Console };
        if from.unwrap_or(usual) == From::Console {
            return self.console;
        }
        self.ring.sort_by_key(|(tsc, _)| *tsc);
        self.ring.into_iter().map(|(tsc, line)| Line { seconds: figures.since_boot(tsc), ..line }).collect()
    }
}

impl Line {
    fn new(from: From, bytes: &[u8]) -> Self {
        let text = output::printable(&String::from_utf8_lossy(bytes));
        Self { schema: SCHEMA, from, seconds: 0.0, vcpu: None, thread: None, text }
    }
}

const SCHEMA: &str = "uniprof.logs/1";
