//! `uniprof trace --follow`: a running guest's events as they come.
//!
//! All rings are read in rounds. What was there at the end of the round before is complete when a round is over, and is told then, in the
//! order of the guest's clock: an event so comes one round late, some milliseconds.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use uniprof_collector::attach::{Asked, Attached, Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::clock::HostTime;
use uniprof_collector::drain::{Begin, Drainer, Pace};
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::memory::{GuestMemory, MemoryError, find_region};
use uniprof_collector::port::Port;
use uniprof_collector::recording::{Body, Message};
use uniprof_events::{Event, Filter, Guest};
use uniprof_wire::record::{Class, Record};
use uniprof_wire::ring::Source;
use uniprof_wire::tables::ControlRequest;
use uniprof_wire::text::FixedText;

use super::stream::Stream;
use super::times::Times;
use super::{Args, Report, View, find, require_names};
use crate::command::record;
use crate::input::Input;
use crate::profile::walk::Visitor as _;
use crate::profile::{self, Figures, Head};
use crate::selection::Selection;
use crate::{interrupt, options, output};

/// How often the tables are read: names of new threads.
const TABLES_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at a guest whose port is silent, and how long it may take to close the account over it.
const STEP: Duration = Duration::from_millis(20);
const PORT_LIMIT: Duration = Duration::from_secs(3);
/// How often losses are told.
const LOSS_EVERY: Duration = Duration::from_millis(500);

/// A running guest whose records are told as they come.
pub(crate) struct Followed {
    pub(crate) entry: GuestEntry,
    pub(crate) attached: Attached,
    /// Ends it.
    pub(crate) cancel: Cancel,
}

impl Followed {
    /// Finds the guest `name` and its region.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        let cancel = interrupt::token()?;
        let entry = profile::find_guest(name)?.entry()?;
        let wait = WaitOptions { limit: options::BOOT_LIMIT.0, hint: None, cancel: cancel.clone() };
        let attached = wait_for_region(&Observed::Other(&entry), &wait)?;
        Ok(Self { entry: *entry, attached, cancel })
    }

    /// Hands on what the guest writes from now on until it ends or the token is set; whether it has ended. Whoever tells events of the stream
    /// can `flush` what has been told.
    pub(crate) fn read(
        &self,
        ledger: &mut Ledger,
        stream: &mut Stream<'_>,
        flush: &mut impl FnMut() -> io::Result<()>,
    ) -> anyhow::Result<bool> {
        let Self { entry, attached, cancel } = self;
        let observed = Observed::Other(entry);
        match &attached.port {
            Some(port) => over_port(port, &observed, cancel, (ledger, stream), flush),
            None => {
                let drainer = Drainer::attach(Arc::clone(&attached.memory), attached.region, 0)?;
                let mut reader = Reader { drainer, ledger, stream, restarts: 0 };
                in_memory(&mut reader, &attached.memory, &observed, cancel, flush)
            }
        }
    }
}

/// Tells the events of the guest `name` until it ends or somebody presses Ctrl-C.
pub(super) fn follow(
    name: &str,
    args: &Args,
    filter: Option<&Filter>,
    view: &mut View,
) -> anyhow::Result<Report> {
    let followed = Followed::open(name)?;
    let Followed { entry, attached, .. } = &followed;
    let head = Head { session: attached.session_info(entry), ..Head::default() };
    let sites = find::of_input(&Input::Guest(name.to_owned()), &head, &args.symbols)?;
    require_names(filter, &sites)?;
    record::check(args.events.as_ref(), || Ok(sites.clone()), name)?;
    let _request = args.events.as_ref().and_then(|events| ask(entry, attached, events));
    let began = Instant::now();
    let view = RefCell::new(view);
    let times = Times::default();
    let mut tell = |event: &Event, guest: &Guest| view.borrow_mut().tell(event, guest, &times);
    let mut stream = Stream::new(&sites, filter, &mut tell);
    let mut ledger = Ledger::new();
    let is_dead = followed.read(&mut ledger, &mut stream, &mut || view.borrow_mut().flush())?;
    let mut figures = Figures::of(&ledger, began.elapsed(), false);
    figures.session = head.session;
    figures.is_settled = ledger.unsettled().next().is_none();
    if is_dead {
        figures.notes.push(format!("guest {name} has ended"));
    }
    let outcome = stream.finish()?;
    Ok(Report { figures, outcome, has_sites: !sites.is_empty() })
}

/// Reads the rings in the guest's memory until it ends or somebody has seen enough; whether it has ended.
fn in_memory(
    reader: &mut Reader<'_, '_>,
    memory: &Arc<dyn GuestMemory>,
    observed: &Observed<'_>,
    cancel: &Cancel,
    flush: &mut impl FnMut() -> io::Result<()>,
) -> anyhow::Result<bool> {
    reader.begin(Begin::Now)?;
    let (mut pace, mut tables, mut losses) = (Pace::default(), Instant::now(), Losses::new());
    let is_dead = loop {
        // Asked before the round: what a guest wrote before it died is seen by it.
        let is_dead = observed.is_dead();
        let before = reader.stream.latest();
        let round = reader.round();
        if round.rebooted {
            reader.attach_again(memory)?;
        } else if tables.elapsed() >= TABLES_EVERY {
            tables = Instant::now();
            reader.tables()?;
        }
        reader.stream.release(before);
        flush()?;
        losses.tell(reader.ledger, reader.stream.guest(), reader.stream.latest());
        if is_dead || cancel.is_cancelled() || reader.stream.has_failed() {
            break is_dead;
        }
        thread::sleep(pace.after(&round));
    };
    match reader.finish(if is_dead { Source::Dead } else { Source::Live }) {
        // What only its process had is gone with it.
        Err(MemoryError::Ended) => {}
        other => other?,
    }
    Ok(is_dead)
}

/// The same over a serial port. When all rings have been read up to a moment is not known there, so events wait for others as they do in a
/// recording.
fn over_port(
    port: &Port,
    observed: &Observed<'_>,
    cancel: &Cancel,
    (ledger, stream): (&mut Ledger, &mut Stream<'_>),
    flush: &mut impl FnMut() -> io::Result<()>,
) -> anyhow::Result<bool> {
    let (mut losses, mut flushed) = (Losses::new(), Instant::now());
    let mut session = 0;
    let mut over: Option<(bool, Instant)> = None;
    loop {
        let is_dead = observed.is_dead();
        match port.messages().recv_timeout(STEP) {
            Ok(message) => {
                if message.session != session {
                    session = message.session;
                    stream.release(u64::MAX);
                    stream.restart();
                    output::say(format_args!("uniprof: the guest was restarted"));
                }
                stream.at(message.at);
                feed(ledger, stream, &message);
            }
            Err(RecvTimeoutError::Timeout) => stream.at(HostTime::now()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if flushed.elapsed() >= STEP {
            flushed = Instant::now();
            flush()?;
        }
        losses.tell(ledger, stream.guest(), stream.latest());
        if over.is_none() && (is_dead || cancel.is_cancelled() || stream.has_failed()) {
            port.finish();
            over = Some((is_dead, Instant::now() + PORT_LIMIT));
        }
        if over.is_some_and(|(_, limit)| Instant::now() >= limit) {
            break;
        }
    }
    flush()?;
    Ok(over.is_some_and(|(is_dead, _)| is_dead))
}

/// Asks the guest to record what was named, for as long as what is returned lives.
fn ask(entry: &GuestEntry, attached: &Attached, events: &Selection) -> Option<Asked> {
    let wanted = ControlRequest {
        classes: events.classes,
        patterns: FixedText::new(events.patterns.as_bytes()),
        ..ControlRequest::default()
    };
    match attached.ask(entry, wanted) {
        Ok(request) => Some(request),
        Err(error) => {
            output::say(format_args!("uniprof: {error}; it goes on recording what it did"));
            None
        }
    }
}

/// The rings, the account of them, and where their records go.
struct Reader<'a, 's> {
    drainer: Drainer,
    ledger: &'a mut Ledger,
    stream: &'a mut Stream<'s>,
    restarts: u32,
}

/// Hands a message's records on.
fn feed(ledger: &mut Ledger, stream: &mut Stream<'_>, message: &Message<'_>) {
    stream.message(message);
    ledger.feed(message, |ring, record: Record<'_>| stream.record(ring.vcpu.into(), &record));
    if let (Body::Region { .. }, Some(tables)) = (&message.body, ledger.tables()) {
        stream.tables(tables);
    }
}

impl Reader<'_, '_> {
    fn begin(&mut self, begin: Begin) -> Result<(), MemoryError> {
        let Self { drainer, ledger, stream, .. } = self;
        drainer.begin(begin, &mut |message| feed(ledger, stream, &message))
    }

    fn round(&mut self) -> uniprof_collector::drain::Round {
        let Self { drainer, ledger, stream, .. } = self;
        drainer.round(Source::Live, &mut |message| feed(ledger, stream, &message))
    }

    fn tables(&mut self) -> Result<(), MemoryError> {
        let Self { drainer, ledger, stream, .. } = self;
        drainer.snapshot(&mut |message| feed(ledger, stream, &message))
    }

    /// The guest has set up its region anew: that is read from its start.
    fn attach_again(&mut self, memory: &Arc<dyn GuestMemory>) -> anyhow::Result<()> {
        let known = self.drainer.region();
        let found = match find_region(memory, Some(known.at)) {
            Err(MemoryError::Ended) => return Ok(()),
            found => found?,
        };
        let Ok(region) = found else { return Ok(()) };
        if region.header.boot_id == known.header.boot_id {
            return Ok(());
        }
        // Its clock may have begun anew, too.
        self.stream.release(u64::MAX);
        self.stream.restart();
        self.restarts += 1;
        output::say(format_args!("uniprof: the guest was restarted"));
        self.drainer = Drainer::attach(Arc::clone(memory), region, self.restarts)?;
        Ok(self.begin(Begin::Boot)?)
    }

    fn finish(&mut self, source: Source) -> Result<(), MemoryError> {
        let Self { drainer, ledger, stream, .. } = self;
        drainer.finish(source, &mut |message| feed(ledger, stream, &message)).map(|_| ())
    }
}

/// What has been told of losses.
struct Losses {
    at: Instant,
    told: u64,
}

impl Losses {
    fn new() -> Self {
        Self { at: Instant::now(), told: 0 }
    }

    /// Tells of those that have come since the last time, at most twice a second.
    fn tell(&mut self, ledger: &Ledger, guest: &Guest, tsc: u64) {
        if self.at.elapsed() < LOSS_EVERY {
            return;
        }
        self.at = Instant::now();
        let lost = ledger.total().lost().saturating_sub(ledger.class(Class::Sample).lost());
        let more = lost.saturating_sub(self.told);
        if more > 0 {
            self.told = lost;
            let seconds = guest.seconds(tsc);
            output::say(format_args!(
                "uniprof: {seconds:.6}: {more} more events were overwritten before they were read"
            ));
        }
    }
}
