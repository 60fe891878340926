//! Events on their way from the rings to whoever tells them: named, chosen, put in order.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;

use uniprof_collector::clock::HostTime;
use uniprof_collector::recording::Message;
use uniprof_collector::tables::Tables;
use uniprof_events::{Event, Filter, Guest, Reorder, Spans};
use uniprof_wire::record::Record;

use crate::profile::walk::Visitor;
use crate::sites::Sites;

/// A collector gets to each ring more often than this, so that what is older than that when a message was written is complete.
const WINDOW_NS: u64 = 300_000_000;
/// How finely that is looked at.
const STEP_NS: u64 = 20_000_000;
/// Events that may wait for earlier ones of other rings: some 100 MB.
const MOST_WAITING: usize = 1 << 19;

type Tell<'a> = dyn FnMut(&Event, &Guest) -> io::Result<()> + 'a;
/// Takes what a running guest says besides records.
type Hear<'a> = dyn Fn(&Message<'_>) + 'a;

/// The way.
pub(crate) struct Stream<'a> {
    sites: &'a Sites,
    filter: Option<&'a Filter>,
    tell: &'a mut Tell<'a>,
    hear: Option<&'a Hear<'a>>,
    guest: Guest,
    spans: Spans,
    waiting: Reorder<Event>,
    most_waiting: usize,
    mode: Mode,
    /// When the collector had seen what, oldest first: its clock, and the latest event by then.
    marks: VecDeque<(u64, u64)>,
    latest: u64,
    outcome: Outcome,
    failed: Option<io::Error>,
}

/// What is done with events that are not told yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They wait for earlier ones.
    InOrder,
    /// All of them wait for the end.
    AtTheEnd,
    /// So many of them wait for the end; others are only counted.
    Last,
    /// They do not wait.
    AsTheyCome,
}

/// How many events there were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Those that came.
    pub(crate) seen: u64,
    /// Those that matched the filter and were told.
    pub(crate) told: u64,
    /// Those that matched and were not among the last.
    pub(crate) passed: u64,
    /// Those that came behind later ones.
    pub(crate) late: u64,
    /// Whether any had a site.
    pub(crate) has_sites: bool,
}

impl<'a> Stream<'a> {
    /// Hands what `filter` chooses to `tell`.
    pub(crate) fn new(sites: &'a Sites, filter: Option<&'a Filter>, tell: &'a mut Tell<'a>) -> Self {
        Self {
            sites,
            filter,
            tell,
            hear: None,
            guest: Guest::default(),
            spans: Spans::default(),
            waiting: Reorder::new(MOST_WAITING),
            most_waiting: MOST_WAITING,
            mode: Mode::InOrder,
            marks: VecDeque::new(),
            latest: 0,
            outcome: Outcome::default(),
            failed: None,
        }
    }

    /// What is kept back: the `last` until the end; nothing, where they are only counted; all, where one ring was read after the other
    /// as a whole.
    pub(crate) fn keeps(&mut self, last: Option<NonZeroUsize>, is_counted: bool, is_recovered: bool) {
        (self.mode, self.waiting) = match last {
            Some(most) => (Mode::Last, Reorder::new(most.get())),
            None if is_counted => (Mode::AsTheyCome, Reorder::new(1)),
            None if is_recovered => (Mode::AtTheEnd, Reorder::new(usize::MAX)),
            None => (Mode::InOrder, Reorder::new(MOST_WAITING)),
        };
    }

    /// Every message of a running guest is handed to `hear`, too, before what is told of it.
    pub(crate) fn hears(&mut self, hear: &'a Hear<'a>) {
        self.hear = Some(hear);
    }

    /// A message of a running guest, whose records come by themselves.
    pub(crate) fn message(&mut self, message: &Message<'_>) {
        if let Some(hear) = self.hear {
            hear(message);
        }
    }

    /// So many events may wait for earlier ones, where they are large.
    pub(in crate::command) fn holds_at_most(&mut self, most: usize) {
        if self.mode == Mode::InOrder {
            self.most_waiting = most;
            self.waiting = Reorder::new(most);
        }
    }

    /// What is not later than `until` is told: all rings have been read up to there.
    pub(crate) fn release(&mut self, until: u64) {
        while let Some(event) = self.waiting.next_until(until) {
            self.tell(&event);
        }
    }

    /// The guest's clock begins anew: all that was to be told before has been.
    pub(crate) fn restart(&mut self) {
        self.latest = 0;
        self.waiting = Reorder::new(self.most_waiting);
    }

    /// The latest event so far.
    pub(crate) fn latest(&self) -> u64 {
        self.latest
    }

    /// The guest's clock and threads, as far as they are known.
    pub(crate) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Whether the other end takes no more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Tells what is left.
    pub(crate) fn finish(mut self) -> io::Result<Outcome> {
        self.release(u64::MAX);
        self.outcome.late = if self.mode == Mode::InOrder { self.waiting.late() } else { 0 };
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.outcome),
        }
    }

    fn tell(&mut self, event: &Event) {
        if self.failed.is_none() {
            self.outcome.told += 1;
            self.failed = (self.tell)(event, &self.guest).err();
        }
    }

    fn take_in(&mut self, event: Event) {
        match self.mode {
            Mode::AsTheyCome => self.tell(&event),
            Mode::Last => self.outcome.passed += u64::from(self.waiting.push(event.tsc, event).is_some()),
            Mode::InOrder | Mode::AtTheEnd => {
                if let Some(first) = self.waiting.push(event.tsc, event) {
                    self.tell(&first);
                }
            }
        }
    }
}

impl Visitor for Stream<'_> {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        let Some(mut event) = Event::new(vcpu, record, self.sites) else { return };
        self.spans.join(&mut event);
        if let Record::Thread(thread) = record
            && !thread.name.is_empty()
        {
            let name: Vec<u8> = thread.name.bytes().collect();
            self.guest.threads.insert(thread.thread, String::from_utf8_lossy(&name).into_owned());
        }
        self.outcome.seen += 1;
        self.outcome.has_sites |= event.kind.has_site();
        self.latest = self.latest.max(event.tsc);
        if self.filter.is_none_or(|filter| filter.matches(&event, &self.guest)) {
            self.take_in(event);
        }
    }

    fn boot(&mut self, session: u32) {
        // What is left is of the boot before, whose clock and threads were others.
        if self.mode == Mode::InOrder {
            self.release(u64::MAX);
            self.restart();
        }
        self.spans.clear();
        self.guest.boot = session;
    }

    fn tables(&mut self, tables: &Tables) {
        (self.guest.boot_tsc, self.guest.tsc_hz) = (tables.header.boot_tsc, tables.header.tsc_hz);
        for thread in tables.threads.iter().filter_map(|slot| slot.entry()) {
            if !thread.name.as_str().is_empty() {
                self.guest.threads.insert(thread.id, thread.name.as_str().to_owned());
            }
        }
    }

    fn at(&mut self, at: HostTime) {
        if self.mode != Mode::InOrder {
            return;
        }
        let now = at.monotonic_ns;
        if self.marks.back().is_none_or(|(then, _)| now.saturating_sub(*then) >= STEP_NS) {
            self.marks.push_back((now, self.latest));
        }
        let mut until = None;
        while let Some((_, latest)) =
            self.marks.pop_front_if(|(then, _)| now.saturating_sub(*then) > WINDOW_NS)
        {
            until = Some(latest);
        }
        if let Some(until) = until {
            self.release(until);
        }
    }

    fn is_done(&self) -> bool {
        self.has_failed()
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::CounterRecord;

    use super::*;

    fn counter(tsc: u64) -> Record<'static> {
        Record::Counter(CounterRecord { tsc, site: 0, thread: 1, value: tsc })
    }

    fn run(feed: impl FnOnce(&mut Stream<'_>)) -> (Vec<u64>, Outcome) {
        let mut told = Vec::new();
        let mut tell = |event: &Event, _: &Guest| {
            told.push(event.tsc);
            Ok(())
        };
        let sites = Sites::default();
        let mut stream = Stream::new(&sites, None, &mut tell);
        feed(&mut stream);
        let outcome = stream.finish().unwrap();
        (told, outcome)
    }

    #[test]
    fn the_last_events_are_kept_whatever_ring_they_come_from() {
        let (told, outcome) = run(|stream| {
            stream.keeps(NonZeroUsize::new(3), false, false);
            // Two rings, one after the other: 0, 2, 4, … and 1, 3, 5, …
            for tsc in (0..20_000).step_by(2).chain((1..20_000).step_by(2)) {
                stream.record(0, &counter(tsc));
            }
        });
        assert_eq!(told, [19_997, 19_998, 19_999]);
        assert_eq!((outcome.passed, outcome.seen, outcome.told, outcome.late), (19_997, 20_000, 3, 0));
    }

    #[test]
    fn events_are_told_in_order_before_the_recording_has_been_read_to_its_end() {
        let (told, outcome) = run(|stream| {
            // Every 10 ms of the host two rings are read, the second one's events in between those of the first.
            for round in 0..200 {
                for (vcpu, first) in [(0, 0), (1, 1)] {
                    stream.at(HostTime { realtime_ns: 0, monotonic_ns: round * 10_000_000 });
                    for tsc in (first..10).step_by(2) {
                        stream.record(vcpu, &counter(round * 10 + tsc));
                    }
                }
            }
            assert!(stream.outcome.told > 1_500, "{:?}", stream.outcome);
        });
        assert!(told.is_sorted() && told.len() == 2_000);
        assert_eq!((outcome.late, outcome.told), (0, 2_000));
    }

    #[test]
    fn a_reader_that_goes_away_ends_it() {
        let mut tell = |_: &Event, _: &Guest| Err(io::ErrorKind::BrokenPipe.into());
        let sites = Sites::default();
        let mut stream = Stream::new(&sites, None, &mut tell);
        stream.keeps(None, true, false);
        stream.record(0, &counter(1));
        assert!(stream.is_done());
        assert_eq!(stream.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
