//! `uniprof trace`: what the guest's event sites told, one line per event, in the order of the guest's clock.
//!
//! ```text
//! $ uniprof trace kv.core --last 3
//!     3.118204  vcpu0  kv-0       kv.get key=17
//!     3.118217  vcpu0  kv-0       kv.get ended after 13 us
//!     3.118219  vcpu1  main       switch main -> kv-1 (blocked)
//! ```

mod event;

use std::io::Write as _;

use uniprof_wire::record::Record;

use crate::config::Config;
use crate::input::Input;
use crate::profile::walk::{Visitor, walk};
use crate::profile::{self, Figures, Source};
use crate::sites::Sites;
use crate::{options, output};

use event::Event;

pub(crate) use event::Line;

const EXAMPLES: &str = "\
Examples:
  uniprof trace r.uniprof --last 50
  uniprof trace kv.core                         all that the rings of a dump still hold
  uniprof trace kv --last 20                    a running guest that `uniprof ls` lists
  uniprof core trace kv.core --json | jq -r 'select(.kind == \"event\").name'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, a dump, a running guest, or `sample`; left out, the newest recording here
    input: Option<String>,
    /// Only the last N
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Print one JSON document per line (schema uniprof.trace/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    symbols: options::Symbols,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = profile::choose(args.input.as_deref())?;
    let head = profile::head(&input)?;
    let images = profile::find_images(&head, &args.symbols, &Config::load()?)?;
    let sites = Sites::of(images.symbolizers().map(|(_, symbolizer)| &**symbolizer.image()));
    let mut events = Events::new(args.last);
    let figures = walk(Source::open(&input)?, head.session, &mut events)?;
    let (events, passed) = events.finish();
    let mut out = output::stdout();
    for event in &events {
        let line = Line::new(event, &sites, &figures);
        if args.json {
            output::json_line(&mut out, &line)?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    if passed > 0 && !args.json {
        output::say(format_args!("uniprof: {passed} earlier ones are not shown (--last)"));
    }
    if sites.is_empty() && events.iter().any(Event::has_site) {
        output::say(format_args!(
            "uniprof: no image with event sites was found, so events have numbers for names; name it with --kernel ELF"
        ));
    }
    let others = figures.others();
    if others.lost() > 0 {
        output::say(format_args!("uniprof: {} of {} events are lost", others.lost(), others.emitted()));
    }
    for note in &figures.notes {
        output::say(format_args!("uniprof: {note}"));
    }
    Ok(())
}

/// The last `most` events of `input`, and what became of all others.
pub(crate) fn tail(input: &Input, sites: &Sites, most: usize) -> anyhow::Result<(Vec<Line>, Figures)> {
    let mut events = Events::new(Some(most));
    let figures = walk(Source::open(input)?, profile::head(input)?.session, &mut events)?;
    let (events, _) = events.finish();
    Ok((events.iter().map(|event| Line::new(event, sites, &figures)).collect(), figures))
}

/// The events of a walk, or the last of them.
struct Events {
    all: Vec<Event>,
    last: Option<usize>,
    passed: u64,
}

impl Events {
    fn new(last: Option<usize>) -> Self {
        Self { all: Vec::new(), last, passed: 0 }
    }

    /// Leaves the latest, in order. Rings are read one after the other, so the last ones are known at the end only.
    fn settle(&mut self, most: usize) {
        self.all.sort_by_key(|event| event.tsc);
        let passed = self.all.len().saturating_sub(most);
        self.all.drain(..passed);
        self.passed += passed as u64;
    }

    fn finish(mut self) -> (Vec<Event>, u64) {
        self.settle(self.last.unwrap_or(usize::MAX));
        (self.all, self.passed)
    }
}

impl Visitor for Events {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        let Some(event) = Event::new(vcpu, record) else { return };
        self.all.push(event);
        if let Some(last) = self.last
            && self.all.len() >= last.saturating_mul(2).max(4096)
        {
            self.settle(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::CounterRecord;

    use super::*;

    #[test]
    fn the_last_events_are_kept_whatever_ring_they_come_from() {
        let mut events = Events::new(Some(3));
        // Two rings, one after the other: 0, 2, 4, … and 1, 3, 5, …
        for tsc in (0..20_000).step_by(2).chain((1..20_000).step_by(2)) {
            let record = Record::Counter(CounterRecord { tsc, site: 0, thread: 1, value: tsc });
            events.record(0, &record);
        }
        let (events, passed) = events.finish();
        assert_eq!(events.iter().map(|event| event.tsc).collect::<Vec<_>>(), [19_997, 19_998, 19_999]);
        assert_eq!(passed, 19_997);
    }
}
