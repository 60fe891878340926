//! `uniprof ctl`: change what a running guest records, for as long as this command runs; or see who asks for what.
//!
//! ```text
//! $ uniprof ctl web rate=999 events=+net.*,off-cpu budget=1% --for 10s
//! in effect after 31 ms: 999 Hz, frame pointers, samples events spans switches counters logs threads off-cpu, budget 1 %
//! uniprof: held for 10s; Ctrl-C ends it
//! $ uniprof ctl web
//! in effect: 412 of 999 Hz, frame pointers, samples events spans switches counters logs threads off-cpu, budget 1 % (given up 4 times)
//! SLOT  WHO                 LEASE           ASKS FOR
//! 0     uniprof (pid 4711)  2 s, 0.1 s ago  rate=999 events=off-cpu,net.* budget=1%
//! ```

mod ask;
mod show;

use std::io::Write as _;
use std::time::{Duration, Instant};

use uniprof_collector::attach::{Attached, Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::control::{self, LONGEST_LEASE, Looks};
use uniprof_collector::guests::GuestEntry;

use super::record;
use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::sites::Sites;
use crate::values::Span;
use crate::{interrupt, output};

use ask::Ask;
use show::Document;

/// How long a guest may take to look at its requests. It promises a tenth of a second; a host with much to do may keep it from that.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon the end of a guest is noticed.
const STEP: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  uniprof ctl web                               what is in effect, and who asks for what
  uniprof ctl web rate=999 --for 10s            sample more often, for ten seconds
  uniprof ctl web events=+net.*,-net.raw,+off-cpu     until Ctrl-C
  uniprof ctl web stack=dwarf,16384 budget=1% --lease 60s     leaves the request behind, for a minute at most
  uniprof ctl web 'mark=deploy 4711'            a line among the records
  uniprof ctl web flush                         hand over at once what a guest without shared memory has

Words:
  rate=HZ        samples per second and vCPU          stack=HOW     fp, or dwarf[,BYTES]
  events=WHAT    classes, and names of event sites    budget=SHARE  what the probes may cost, such as 1%
  packets=BYTES  of each packet, with events=net      mark=TEXT     a mark among the records
  flush          hand over records at once

A request adds to what the guest and other collectors ask for: the highest rate, all classes and sites, the longest
stacks and packets, and the smallest budget count. It ends with this command; if that is killed, two seconds later.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest, by name or pid
    target: String,
    /// What to ask for; nothing: show what is in effect
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Hold the request for so long [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", conflicts_with = "lease")]
    hold: Option<Span>,
    /// Leave the request behind; it ends by itself after so long, a minute at most
    #[arg(long, value_name = "TIME")]
    lease: Option<Span>,
    /// Print a JSON document (schema uniprof.ctl/1)
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let ask = Ask::parse(&args.words).map_err(|why| Failure::error(Exit::Usage, why))?;
    if let Some(Span(lease)) = args.lease
        && lease > LONGEST_LEASE
    {
        let most = LONGEST_LEASE.as_secs();
        return Err(Failure::error(
            Exit::Usage,
            format!("a guest grants a lease of at most {most} s; hold it with --for"),
        ));
    }
    let entry = Target::find(&args.target)?.entry()?;
    let cancel = interrupt::token()?;
    let observed = Observed::Other(&entry);
    let attached =
        wait_for_region(&observed, &WaitOptions { limit: PATIENCE, hint: None, cancel: cancel.clone() })?;
    if let Some(port) = &attached.port {
        port.discard_messages();
    }
    if ask.is_nothing() {
        let vcpus =
            control::vcpus_now(&attached, PATIENCE, &cancel)?.ok_or_else(|| silent(&entry, &cancel))?;
        return show::print(&Document::new(&entry, &attached, &vcpus, None, None)?, args.json);
    }
    record::check(ask.events.as_ref(), || sites_of(&entry, &attached, &cancel), &entry.name)?;
    let looks = Looks::of(&attached)?;
    let held = match args.lease {
        Some(Span(lease)) => {
            attached.leave(&entry, ask.request(), lease)?;
            None
        }
        None => Some(attached.ask(&entry, ask.request())?),
    };
    tell(args, &entry, &attached, (&looks, &ask), &cancel)?;
    // A mark or a flush is done when it is in effect.
    if let Some(held) = held.filter(|_| ask.is_lasting()) {
        hold(args, &observed, &cancel);
        drop(held);
    }
    Ok(())
}

/// Waits until the guest has seen the request, and says what is in effect then.
fn tell(
    args: &Args,
    entry: &GuestEntry,
    attached: &Attached,
    (looks, ask): (&Looks<'_>, &Ask),
    cancel: &Cancel,
) -> anyhow::Result<()> {
    let effect = looks.wait(PATIENCE, cancel)?.ok_or_else(|| silent(entry, cancel))?;
    let document = Document::new(entry, attached, &effect.vcpus, Some(effect.after), Some(ask))?;
    show::print(&document, args.json)?;
    Ok(output::stdout().flush()?)
}

/// The event sites, over the port that is open where there is one.
fn sites_of(entry: &GuestEntry, attached: &Attached, cancel: &Cancel) -> Result<Sites, String> {
    match &attached.port {
        Some(port) => Sites::of_port(port, cancel),
        None => Sites::of_entry(entry),
    }
}

fn silent(entry: &GuestEntry, cancel: &Cancel) -> anyhow::Error {
    let why = if cancel.is_cancelled() {
        "interrupted before the guest had seen the request".to_owned()
    } else {
        let (name, limit) = (&entry.name, PATIENCE.as_secs());
        format!("guest {name} has not looked at the request within {limit} s; `uniprof ping {name}` says why")
    };
    Failure::error(Exit::Failed, why)
}

/// Until the time is over, Ctrl-C, or the guest's end.
fn hold(args: &Args, observed: &Observed<'_>, cancel: &Cancel) {
    match args.hold {
        Some(length) => output::say(format_args!("uniprof: held for {length}; Ctrl-C ends it")),
        None => output::say(format_args!("uniprof: held until Ctrl-C")),
    }
    let until = args.hold.map(|Span(length)| Instant::now() + length);
    let left = || until.map_or(STEP, |until| until.saturating_duration_since(Instant::now()).min(STEP));
    while !left().is_zero() && cancel.sleep(left()) {
        if observed.is_dead() {
            output::say(format_args!("uniprof: guest {} has ended", observed.entry().name));
            return;
        }
    }
}
