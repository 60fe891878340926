//! `uniprof logs`: what a guest wrote to its console and its log.
//!
//! ```text
//! $ uniprof logs r.uniprof
//!     0.142910  console  uniprof-sample-kernel: 2 vCPUs, 256 MiB, tsc 2596 MHz, region ivshmem 8 MiB at 0xfe000000
//! ```

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;
use uniprof_wire::record::Record;

use crate::input::Input;
use crate::output;
use crate::profile::walk::{Seen, walk};
use crate::profile::{self, Source};

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
    let input = Input::choose(args.input.as_deref())?;
    let session = profile::head(&input)?.session;
    let started = session.started_ns;
    let (mut console, mut ring) = (Vec::new(), Vec::new());
    let figures = walk(
        Source::open(&input)?,
        session,
        |seen| ring.extend(from_ring(&seen)),
        |at, bytes| console.push(from_console(at.realtime_ns.saturating_sub(started), bytes)),
    )?;
    ring.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let lines = match args.from {
        Some(From::Console) => console,
        Some(From::Ring) => ring,
        None if console.is_empty() => ring,
        None => console,
    };
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

fn from_console(nanoseconds: u64, bytes: &[u8]) -> Line {
    let seconds = nanoseconds as f64 / 1e9;
    Line { schema: SCHEMA, from: From::Console, seconds, vcpu: None, thread: None, text: printable(bytes) }
}

fn from_ring(seen: &Seen<'_>) -> Option<Line> {
    let Record::Log(log) = &seen.record else { return None };
    let ticks = log.tsc.saturating_sub(seen.header.boot_tsc);
    let bytes: Vec<u8> = log.text.bytes().collect();
    Some(Line {
        schema: SCHEMA,
        from: From::Ring,
        seconds: ticks as f64 / seen.header.tsc_hz.max(1) as f64,
        vcpu: Some(seen.vcpu),
        thread: Some(log.thread),
        text: printable(&bytes),
    })
}

const SCHEMA: &str = "uniprof.logs/1";

/// Text with control characters made visible: an escape sequence could rewrite the reader's terminal.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).chars() {
        if c.is_control() && c != '\t' { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(printable(b"a\x1b[2J\tb\xff\r\n"), "a\\u{1b}[2J\tb\u{fffd}");
    }
}
