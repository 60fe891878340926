//! `uniprof pcap`: packets as the guest saw them, for Wireshark: those of a running guest as they come, or a recording's.
//!
//! ```text
//! $ uniprof pcap web -w web.pcapng -d 10
//! uniprof: eth0: up to 2048 bytes of each packet; Ctrl-C ends the capture
//! uniprof: 1284 packets seen, 1284 written, 0 records of packets and connections lost in the ring
//! uniprof: wrote web.pcapng; next: `wireshark web.pcapng`
//! ```

mod live;
mod recorded;
mod sink;

use std::path::{Path, PathBuf};

use uniprof_events::Filter;
use uniprof_wire::record::MAX_PACKET_BYTES;

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::output;
use crate::values::Span;

use sink::{Outcome, Sink, Wanted};

/// Packets that may wait for earlier ones of other rings: some 100 MB.
const MOST_WAITING: usize = 1 << 16;

const EXAMPLES: &str = "\
Examples:
  uniprof pcap web -w web.pcapng                a running guest, until Ctrl-C or its end
  uniprof pcap web -w web.pcapng -d 10 --snaplen 96
  uniprof pcap web -w - | wireshark -k -i -     live
  uniprof pcap web -w - | tshark -r -
  uniprof pcap web -w drops.pcapng --filter 'arg.verdict != accepted'
  uniprof record -e +net -d 10 web              and later:
  uniprof pcap web.uniprof -w web.pcapng

Packets are told as the guest saw them, with direction and, in a comment, why it dropped them.
Exit code 6: the guest has no network, or its probes tell of none.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest, or a recording with the class `net`
    #[arg(value_name = "TARGET|FILE")]
    input: String,
    /// The pcapng file to write; `-` is standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    output: PathBuf,
    /// Bytes of each packet, at most 2048
    #[arg(short, long, value_name = "BYTES", default_value_t = MAX_PACKET_BYTES as u32,
          value_parser = clap::value_parser!(u32).range(1..=MAX_PACKET_BYTES as i64))]
    snaplen: u32,
    /// End after so long
    #[arg(short, long, value_name = "TIME")]
    duration: Option<Span>,
    /// End after so many packets
    #[arg(short, long, value_name = "PACKETS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only packets of the interface of this name or number
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Only packets that this expression of `trace` is true of: 'arg.direction == out and arg.length > 1000'
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let parsed = args.filter.as_deref().map(Filter::parse).transpose();
    let filter = parsed.map_err(|error| Failure::error(Exit::Usage, error.to_string()))?;
    let input = Input::choose(Some(&args.input))?;
    let limit = args.duration.map(|span| span.0);
    let (mut outcome, mut failure) = (None, None);
    let written = output::file(&args.output, |out| {
        let wanted = Wanted {
            snaplen: args.snaplen,
            count: args.count.unwrap_or(u64::MAX),
            interface: args.interface.clone(),
            filter,
        };
        let sink = Sink::new(out, wanted)?;
        let done = match &input {
            Input::Guest(name) => live::capture(name, sink, limit),
            input => recorded::copy(input, sink, limit),
        };
        match done {
            // Not the file's fault.
            Err(error) if error.is::<Failure>() => {
                failure = Some(error);
                anyhow::bail!("there is nothing to write")
            }
            done => outcome = Some(done?),
        }
        Ok(())
    });
    match failure {
        Some(failure) => return Err(failure),
        None => written?,
    }
    if let Some(outcome) = outcome {
        tell(&outcome);
        let name = args.output.display();
        if args.output != Path::new("-") {
            output::say(format_args!("uniprof: wrote {name}; next: `wireshark {name}`"));
        }
    }
    Ok(())
}

fn tell(outcome: &Outcome) {
    output::say(format_args!("uniprof: {}", outcome.sentence()));
    for note in &outcome.notes {
        output::say(format_args!("uniprof: {note}"));
    }
}
