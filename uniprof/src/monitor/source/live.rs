//! A guest that runs: its rings read as they fill, its tables twice a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uniprof_collector::attach::{Asked, AttachError, Attached, Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::clock::HostTime;
use uniprof_collector::drain::{Begin, Drainer, Pace};
use uniprof_collector::guests::{GuestEntry, Witness, process_ending};
use uniprof_collector::memory::find_region;
use uniprof_collector::port::Port;
use uniprof_collector::recording::{Body, Message, RingCounters};
use uniprof_wire::record::Class;
use uniprof_wire::ring::Source;
use uniprof_wire::tables::ControlRequest;
use uniprof_wire::text::FixedText;

use crate::exit::{Exit, Failure};
use crate::monitor::model::Model;
use crate::options;
use crate::selection::Selection;

/// To find what is there.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How often the tables are read.
const TABLES_EVERY: Duration = Duration::from_millis(500);
/// Messages of a port that are taken at once.
const MOST_MESSAGES: usize = 512;
/// How long a look at a port that is silent takes.
const PORT_PAUSE: Duration = Duration::from_millis(10);

/// A guest that runs.
pub(crate) struct Live {
    pub(crate) entry: GuestEntry,
    pub(crate) attached: Attached,
    /// Will know how it ended.
    pub(crate) witness: Witness,
    reader: Reader,
    /// What the guest is asked for, while one looks.
    asked: Option<Asked>,
    wanted: Wanted,
}

/// What the guest is to record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) rate: u32,
    pub(crate) events: Selection,
}

enum Reader {
    Memory { drainer: Box<Drainer>, pace: Pace, tables: Instant, restarts: u32 },
    Port(Arc<Port>),
}

impl Live {
    /// Finds the region of a guest.
    pub(crate) fn attach(entry: GuestEntry, cancel: &Cancel) -> anyhow::Result<Self> {
        let witness = Witness::of(&entry);
        let wait = WaitOptions { limit: patience(&entry), hint: None, cancel: cancel.clone() };
        let attached =
            wait_for_region(&Observed::Other(&entry), &wait).map_err(|error| without(&entry, error))?;
        let reader = match &attached.port {
            Some(port) => Reader::Port(Arc::clone(port)),
            None => Reader::Memory {
                drainer: Box::new(Drainer::attach(Arc::clone(&attached.memory), attached.region, 0)?),
                pace: Pace::default(),
                tables: Instant::now(),
                restarts: 0,
            },
        };
        Ok(Self { entry, attached, witness, reader, asked: None, wanted: Wanted::default() })
    }

    /// Begins to read, at what is new.
    pub(crate) fn begin(&mut self, model: &mut Model) -> anyhow::Result<()> {
        if let Reader::Memory { drainer, .. } = &mut self.reader {
            drainer.begin(Begin::Now, &mut |message| model.feed(&message))?;
        }
        Ok(())
    }

    /// Asks the guest to record `wanted` from now on, instead of what was asked for before.
    pub(crate) fn ask(&mut self, wanted: Wanted) -> Result<(), String> {
        let request = ControlRequest {
            rate: wanted.rate,
            classes: wanted.events.classes | Class::Sample.bit(),
            patterns: FixedText::new(wanted.events.patterns.as_bytes()),
            ..ControlRequest::default()
        };
        // The new request stands before the old one goes, so that nothing is switched off in between.
        match self.attached.ask(&self.entry, request) {
            Ok(asked) => {
                self.asked = Some(asked);
                self.wanted = wanted;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is asked for.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether its VMM has ended.
    pub(crate) fn is_gone(&self) -> bool {
        // Of its end its parent may not have taken note yet.
        process_ending(self.entry.pid).is_some() || Observed::Other(&self.entry).is_dead()
    }

    /// Reads what is new, and says how long to wait before the next time.
    pub(crate) fn step(&mut self, model: &mut Model) -> anyhow::Result<Duration> {
        match &mut self.reader {
            Reader::Memory { drainer, pace, tables, restarts } => {
                let round = drainer.round(Source::Live, &mut |message| model.feed(&message));
                if round.rebooted {
                    let known = drainer.region().header.boot_id;
                    let found = find_region(&self.attached.memory, Some(drainer.region().at))?;
                    if let Ok(region) = found
                        && region.header.boot_id != known
                    {
                        *restarts += 1;
                        **drainer = Drainer::attach(Arc::clone(&self.attached.memory), region, *restarts)?;
                        drainer.begin(Begin::Boot, &mut |message| model.feed(&message))?;
                        self.attached.region = region;
                    }
                } else if tables.elapsed() >= TABLES_EVERY {
                    *tables = Instant::now();
                    drainer.snapshot(&mut |message| model.feed(&message))?;
                }
                Ok(pace.after(&round))
            }
            Reader::Port(port) => {
                let mut taken = 0;
                while taken < MOST_MESSAGES {
                    let Ok(message) = port.messages().try_recv() else { return Ok(PORT_PAUSE) };
                    model.feed(&message);
                    taken += 1;
                }
                Ok(Duration::ZERO)
            }
        }
    }

    /// Reads what a guest that is dead has left.
    pub(crate) fn finish(&mut self, model: &mut Model) -> anyhow::Result<()> {
        if let Reader::Memory { drainer, .. } = &mut self.reader {
            drainer.finish(Source::Dead, &mut |message| model.feed(&message))?;
        }
        Ok(())
    }

    /// Reads what is new, up to a moment of which all counters of the rings are known, and returns these. Rings that are written to without pause have
    /// none, nor has a guest that is seen through a port.
    pub(crate) fn count(&mut self, model: &mut Model) -> anyhow::Result<Vec<RingCounters<'static>>> {
        let mut all = Vec::new();
        if let Reader::Memory { drainer, .. } = &mut self.reader {
            drainer.finish(Source::Live, &mut |message| match message.body {
                // Reading goes on: that is not the account's end.
                Body::Counters(_) => all.extend(counters(message)),
                _ => model.feed(&message),
            })?;
        }
        Ok(all)
    }
}

fn counters(message: Message<'_>) -> Option<RingCounters<'static>> {
    match message.into_owned().body {
        Body::Counters(counters) => Some(counters),
        _ => None,
    }
}

/// How long a guest may take until it shows its region: one that has been up for long enough shows it at once.
fn patience(entry: &GuestEntry) -> Duration {
    let up = Duration::from_nanos(HostTime::now().realtime_ns.saturating_sub(entry.started_ns));
    options::BOOT_LIMIT.0.saturating_sub(up).max(AT_ONCE)
}

/// Why a guest can't be seen live, and what can be done with it all the same.
fn without(entry: &GuestEntry, error: AttachError) -> anyhow::Error {
    let (AttachError::NoProbes { .. } | AttachError::NeverBooted { .. }) = error else { return error.into() };
    let name = if entry.is_ours() { entry.name.clone() } else { format!("pid:{}", entry.pid) };
    let why =
        "shows no observation region: its kernel has no probes, or has not called uniprof_probes::init yet";
    let shown = &entry.name;
    Failure::error(
        Exit::Failed,
        format!(
            "guest {shown} {why}, and there is nothing to see live; what works without: `uniprof ping {name}` (is it alive?), \
             `uniprof core {name}` and `uniprof dump {name}` (registers and memory), `uniprof doctor {name}` (what is missing)"
        ),
    )
}
