//! `uniprof trace --follow` of a recording that somebody is writing: from its begin to its end, which is that of its recorder.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use uniprof_collector::clock::HostTime;
use uniprof_collector::recording::{self, Reader};
use uniprof_collector::tables::Tables;
use uniprof_events::{Event, Filter, Guest};
use uniprof_wire::record::Record;

use super::stream::Stream;
use super::times::Times;
use super::{Args, Report, View, find, not_running, require_names};
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::interrupt;
use crate::profile::growing::Growing;
use crate::profile::walk::{Visitor, walk};
use crate::profile::{self, Source};

/// How often what has been told is to be seen.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Tells the events of the recording at `path` until it is finished, nobody writes it any more, or somebody presses Ctrl-C.
pub(super) fn follow(
    path: &Path,
    args: &Args,
    filter: Option<&Filter>,
    view: &mut View,
) -> anyhow::Result<Report> {
    let input = Input::File(path.to_owned());
    let opened = recording::open(path)?;
    if !opened.partial {
        return Err(not_running(&input));
    }
    if args.events.is_some() {
        let why = "a recording can't be asked for anything: name its guest, or `uniprof ctl` it";
        return Err(Failure::error(Exit::Usage, why));
    }
    let cancel = interrupt::token()?;
    let growing = Growing::open(opened.path, cancel.clone())?;
    let head = profile::head(&input)?;
    let sites = find::of_input(&input, &head, &args.symbols)?;
    require_names(filter, &sites)?;
    let view = RefCell::new(view);
    let times = Times::default();
    let mut tell = |event: &Event, guest: &Guest| view.borrow_mut().tell(event, guest, &times);
    let mut live = Live {
        stream: Stream::new(&sites, filter, &mut tell),
        view: &view,
        flushed: Instant::now(),
        failed: None,
    };
    let mut figures = walk(Source::Growing(Reader::new(growing)?), head.session, &mut live)?;
    if let Some(error) = live.failed {
        return Err(error.into());
    }
    let outcome = live.stream.finish()?;
    if cancel.is_cancelled() {
        // That its end is missing is what was wanted.
        figures.notes.clear();
    }
    Ok(Report { figures, outcome, has_sites: !sites.is_empty() })
}

/// Passes on, and sees to it that what has been told is seen.
struct Live<'a, 'v, 's> {
    stream: Stream<'s>,
    view: &'a RefCell<&'v mut View>,
    flushed: Instant,
    failed: Option<io::Error>,
}

impl Visitor for Live<'_, '_, '_> {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        self.stream.record(vcpu, record);
    }

    fn tables(&mut self, tables: &Tables) {
        self.stream.tables(tables);
    }

    fn at(&mut self, at: HostTime) {
        self.stream.at(at);
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.failed = self.view.borrow_mut().flush().err();
        }
    }

    fn is_done(&self) -> bool {
        self.failed.is_some() || self.stream.is_done()
    }
}
