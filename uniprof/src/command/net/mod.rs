//! `uniprof net`: interfaces and connections of a running guest, of a dump, or of a recording at its end.
//!
//! ```text
//! $ uniprof net web
//! PROTO  STATE        RX-Q  TX-Q  LOCAL         REMOTE          IN       OUT       AGE     IDLE    THREAD
//! tcp    listen       0     0     10.0.2.15:80  *               0 B      0 B       12.6 s  12.6 s  2 net
//! tcp    established  0     0     10.0.2.15:80  10.0.2.2:52824  1.8 KiB  40.2 KiB  3.20 s  110 ms  4 http-1
//! tcp    close-wait   212   0     10.0.2.15:80  10.0.2.2:52830  212 B    0 B       1.05 s  1.04 s  3 http-0
//!
//! 3 connections (1 listen, 1 established, 1 close-wait): 212 B to be read, 0 B to be sent, 2.0 KiB in, 40.2 KiB out; 41 opened since boot
//!
//! INTERFACE  MAC                MTU   IN                    OUT                   DROPPED
//! eth0       52:54:00:12:34:56  1500  318 packets, 31 KiB   290 packets, 61 KiB   2 in: 1 checksum, 1 no-listener
//! ```

mod document;
mod read;
mod recorded;
mod text;

use uniprof_wire::net::ConnectionState;
use uniprof_wire::tables::ConnectionEntry;

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::{options, output};

use document::Document;

pub(crate) use read::{PATIENCE, absent, no_network};

const EXAMPLES: &str = "\
Examples:
  uniprof net web                               a running guest that `uniprof ls` lists, or a QEMU by pid:N
  uniprof net web --listening
  uniprof net web --state established,close-wait
  uniprof net r.uniprof --all                   at the end of a recording, with connections that have ended
  uniprof core net web.core                     what a dead guest was talking to
  uniprof net web --json | jq '.connections[] | select(.rx_queue > 0)'

Exit code 6: the guest has no network, or its probes tell of none.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest, a dump, or a recording
    #[arg(value_name = "TARGET|FILE")]
    input: String,
    /// Only sockets that listen
    #[arg(long, short = 'l', conflicts_with = "state")]
    listening: bool,
    /// Connections that have ended, too, as far as they are still known
    #[arg(long, short = 'a')]
    all: bool,
    /// Only connections in these states: established,close-wait
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<ConnectionState>,
    /// Print a JSON document (schema uniprof.net/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    dump: options::Dump,
}

fn state(word: &str) -> Result<ConnectionState, String> {
    ConnectionState::ALL.into_iter().find(|state| state.name() == word).ok_or_else(|| {
        let names: Vec<&str> = ConnectionState::ALL.iter().map(|state| state.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

impl Args {
    fn shows(&self, connection: &ConnectionEntry) -> bool {
        let is_wanted = match &self.state[..] {
            [] => !self.listening || connection.state == ConnectionState::Listen,
            states => states.contains(&connection.state),
        };
        // Who asks for what is closed asks for what has ended.
        let is_closed_wanted = self.all || self.state.contains(&ConnectionState::Closed);
        is_wanted && (connection.ended == 0 || is_closed_wanted)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = Input::choose(Some(&args.input))?;
    let seen = read::read(&input, &args.dump)?;
    if seen.network.interfaces.is_empty() && seen.network.totals.opened == 0 {
        return Err(Failure::error(Exit::NoNetwork, read::no_network(&seen.guest, true)));
    }
    let document = Document::new(&seen, |connection| args.shows(connection));
    if args.json {
        return output::json(&document);
    }
    text::print(&document)?;
    for note in &document.notes {
        output::say(format_args!("uniprof: {note}"));
    }
    Ok(())
}
