//! `uniprof trace`: what the guest's events say, one line per event, in the order of the guest's clock.
//!
//! ```text
//! $ uniprof trace calls.uniprof --last 5
//!     0.154708  vcpu1  calls-1       fs.read(fd=999, size=64) = -9 <70 ns>
//!     0.154708  vcpu1  calls-1       fs.close(fd=3) <310 ns>
//!     0.154712  vcpu1  calls-1       switch to idle (sleeping)
//!     0.161109  vcpu1  -             interrupt 32 took 23.0 us
//!     0.161124  vcpu1  calls-1       runs again after 6.41 ms (sleeping, ready for 36.4 us)
//! ```

mod calls;
mod document;
mod find;
pub(crate) mod follow;
mod growing;
mod line;
pub(crate) mod stream;
mod summary;
mod times;

use std::io::{self, Write as _};
use std::num::NonZeroUsize;

use uniprof_collector::clock::Clocks;
use uniprof_events::{Calls, Event, Filter, Guest, Summary};

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::options;
use crate::output::{self, Paint};
use crate::profile::walk::walk;
use crate::profile::{self, Figures, Source};
use crate::selection::{self, Selection};
use crate::sites::Sites;

use document::Document;
use line::Printer;
use stream::{Outcome, Stream};
use times::{Clock, Times};

pub(crate) use document::Line;
pub(crate) use line::told;

const EXAMPLES: &str = "\
Examples:
  uniprof trace r.uniprof --last 50
  uniprof trace kv.core                         all that the rings of a dump still hold
  uniprof trace web --follow                    a running guest that `uniprof ls` lists, until Ctrl-C or its end
  uniprof trace web --follow -e +calls,locks    and has it record calls and locks meanwhile
  uniprof trace r.uniprof --follow              a recording that `uniprof record` is writing, from its begin to its end
  uniprof trace r.uniprof --filter \"http.* and duration > 1ms\"
  uniprof trace r.uniprof --filter \"kind == call and arg.result < 0 and time in 1.5s..2s\"
  uniprof trace r.uniprof --clock wall          beside the logs of other machines
  uniprof trace r.uniprof --summary             how often each name came; latencies of spans and calls
  uniprof trace r.uniprof --stats               calls, as strace -c shows them
  uniprof trace r.uniprof --json | jq -r 'select(.kind == \"event\").name'

A filter is made of comparisons with == != ~ !~ < <= > >=, put together with and, or, not and parentheses:
  http.*                      a name; * is any run of characters, ? any one
  thread == kv-0, vcpu == 1   a thread by name or number
  kind == call, class == irq  kinds: span and all that --json shows; classes: those of record -e
  duration > 250us            of spans, calls, waits, interrupts
  time in 1.5s..2s            since the guest's boot; either end may be left out
  arg.bytes > 4KiB            an argument; a call's result is arg.result
  text ~ '*timeout*'          of log lines";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A recording, a dump, a running guest, or `sample`; left out, the newest recording here
    input: Option<String>,
    /// Only events that this expression is true of
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true)]
    filter: Option<String>,
    /// Only the last N
    #[arg(long, value_name = "N", conflicts_with_all = ["follow", "summary", "stats"])]
    last: Option<NonZeroUsize>,
    /// Print what a running guest, or a recording that is being written, tells as it comes
    #[arg(long, short = 'f')]
    follow: bool,
    /// With --follow, what the guest is asked to record meanwhile, as `record -e` takes it: +off-cpu, http.*
    #[arg(short, long = "events", value_name = "WHAT", allow_hyphen_values = true, requires = "follow")]
    events: Option<Selection>,
    /// The clock of the first column; documents have both times
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["summary", "stats", "json", "follow"])]
    clock: Clock,
    /// Print how often each name came, and latencies, instead of events
    #[arg(long, conflicts_with = "stats")]
    summary: bool,
    /// Print a table of calls like that of strace -c instead of events
    #[arg(long)]
    stats: bool,
    /// Print one JSON document per line (schema uniprof.trace/2); of a table one document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    symbols: options::Symbols,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let filter = args.filter.as_deref().map(Filter::parse).transpose();
    let filter = filter.map_err(|error| Failure::error(Exit::Usage, error.to_string()))?;
    let given = Input::choose(args.input.as_deref())?;
    let mut view = View::new(args);
    let report = if args.follow {
        match &given {
            Input::Guest(name) => follow::follow(name, args, filter.as_ref(), &mut view)?,
            Input::File(path) => growing::follow(path, args, filter.as_ref(), &mut view)?,
            _ => return Err(not_running(&given)),
        }
    } else {
        read(&given, args, filter.as_ref(), &mut view)?
    };
    view.end(&report.figures)?;
    report.tell(args);
    Ok(())
}

fn not_running(input: &Input) -> anyhow::Error {
    let what = match input {
        Input::File(path) => {
            format!("{} is a finished recording, which does not grow any more", path.display())
        }
        Input::Core(path) => format!("{} is a dump of a guest that stood still", path.display()),
        _ => "this is no running guest".into(),
    };
    Failure::error(
        Exit::Usage,
        format!(
            "{what}: --follow is for a guest that `uniprof ls` lists, a QEMU by pid:N, or a recording that is being written; without it \
             all events are printed"
        ),
    )
}

/// Reads a recording, or what the rings of a dump or of a guest hold.
fn read(given: &Input, args: &Args, filter: Option<&Filter>, view: &mut View) -> anyhow::Result<Report> {
    let input = profile::recover(given)?;
    let head = profile::head(&input)?;
    let sites = find::of_input(given, &head, &args.symbols)?;
    require_names(filter, &sites)?;
    let has_wall = args.json || args.clock == Clock::Wall;
    let clocks = if has_wall { profile::clock::clocks(&input)? } else { Clocks::default() };
    let times = Times { clocks, clock: args.clock };
    let mut tell = |event: &Event, guest: &Guest| view.tell(event, guest, &times);
    let mut stream = Stream::new(&sites, filter, &mut tell);
    stream.keeps(args.last, args.summary || args.stats, head.is_recovered());
    let figures = walk(Source::open(&input)?, head.session, &mut stream)?;
    let outcome = stream.finish()?;
    Ok(Report { figures, outcome, has_sites: !sites.is_empty() })
}

/// The last `most` events of `input`, and what became of all others.
pub(crate) fn tail(input: &Input, sites: &Sites, most: usize) -> anyhow::Result<(Vec<Line>, Figures)> {
    let mut lines = Vec::new();
    let mut tell = |event: &Event, guest: &Guest| {
        lines.push(Line::new(event, guest));
        Ok(())
    };
    let mut stream = Stream::new(sites, None, &mut tell);
    stream.keeps(NonZeroUsize::new(most), false, true);
    let figures = walk(Source::open(input)?, profile::head(input)?.session, &mut stream)?;
    stream.finish()?;
    Ok((lines, figures))
}

/// A pattern that matches no name at all is mistyped.
fn require_names(filter: Option<&Filter>, sites: &Sites) -> anyhow::Result<()> {
    let Some(filter) = filter.filter(|_| !sites.is_empty()) else { return Ok(()) };
    let known = find::names(sites);
    let matches = |pattern: &str| {
        known.iter().any(|name| uniprof_wire::pattern::matches(pattern.as_bytes(), name.as_bytes()))
    };
    match filter.names().into_iter().find(|pattern| !matches(pattern)) {
        Some(pattern) => Err(Failure::error(
            Exit::Usage,
            format!("no event is called {pattern}; there are: {}", find::list(&known)),
        )),
        None => Ok(()),
    }
}

/// Where events go.
enum View {
    Lines(Printer<io::BufWriter<output::Stdout>>),
    Documents(io::BufWriter<output::Stdout>),
    Summary { sums: Summary, json: bool, guest: Guest },
    Calls { calls: Calls, json: bool, guest: Guest },
}

impl View {
    fn new(args: &Args) -> Self {
        let (json, guest) = (args.json, Guest::default());
        if args.summary {
            return Self::Summary { sums: Summary::default(), json, guest };
        }
        if args.stats {
            return Self::Calls { calls: Calls::default(), json, guest };
        }
        if json {
            return Self::Documents(output::stdout());
        }
        let width = output::terminal().map_or(usize::MAX, |(columns, _)| columns.max(40));
        Self::Lines(Printer::new(output::stdout(), Paint::of_stdout(), width))
    }

    fn tell(&mut self, event: &Event, guest: &Guest, times: &Times) -> io::Result<()> {
        match self {
            Self::Lines(printer) => printer.print(event, guest, times)?,
            Self::Documents(out) => output::json_line(out, &Document::new(event, guest, times))?,
            Self::Summary { sums, guest: known, .. } => {
                sums.add(event);
                take_clock(known, guest);
            }
            Self::Calls { calls, guest: known, .. } => {
                calls.add(event);
                take_clock(known, guest);
            }
        }
        Ok(())
    }

    /// What has been told is to be seen.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(printer) => printer.flush(),
            Self::Documents(out) => out.flush(),
            Self::Summary { .. } | Self::Calls { .. } => Ok(()),
        }
    }

    /// Prints what is known at the end only.
    fn end(&mut self, figures: &Figures) -> anyhow::Result<()> {
        self.flush()?;
        match self {
            Self::Lines(_) | Self::Documents(_) => Ok(()),
            Self::Summary { sums, json, guest } => summary::print(sums, guest, figures, *json),
            Self::Calls { calls, json, guest } => calls::print(calls, guest, figures, *json),
        }
    }
}

fn take_clock(known: &mut Guest, guest: &Guest) {
    (known.boot_tsc, known.tsc_hz) = (guest.boot_tsc, guest.tsc_hz);
}

/// How it went.
struct Report {
    figures: Figures,
    outcome: Outcome,
    has_sites: bool,
}

impl Report {
    /// Tells on stderr what is no event.
    fn tell(&self, args: &Args) {
        let outcome = &self.outcome;
        if outcome.passed > 0 && !args.json {
            let ones = if outcome.passed == 1 { "one is" } else { "ones are" };
            output::say(format_args!("uniprof: {} earlier {ones} not shown (--last)", outcome.passed));
        }
        if outcome.told == 0 && outcome.seen > 0 {
            output::say(format_args!("uniprof: none of {} events matches the filter", outcome.seen));
        } else if outcome.seen == 0 {
            output::say(format_args!("uniprof: there is no event"));
        }
        if outcome.told == 0 && self.figures.recorded() != 0 {
            output::say(format_args!(
                "uniprof: of the classes of records these were on: {}",
                selection::class_names(self.figures.recorded()).join(" ")
            ));
        }
        if outcome.late > 0 {
            output::say(format_args!(
                "uniprof: events that came so late that they stand behind later ones: {}",
                outcome.late
            ));
        }
        if !self.has_sites && outcome.has_sites {
            output::say(format_args!(
                "uniprof: no image with event sites was found, so events have numbers for names; name it with --kernel ELF"
            ));
        }
        let others = self.figures.others();
        if others.lost() > 0 {
            output::say(format_args!("uniprof: {} of {} events are lost", others.lost(), others.emitted()));
        }
        for note in &self.figures.notes {
            output::say(format_args!("uniprof: {note}"));
        }
    }
}
