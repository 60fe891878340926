//! Packets of a recording, or of what the rings of a dump still hold.

use std::cell::RefCell;
use std::time::Duration;

use uniprof_collector::clock::HostTime;
use uniprof_collector::network::Network;
use uniprof_collector::tables::Tables;
use uniprof_events::{Event, Filter, Guest};
use uniprof_wire::record::{Class, Record};

use super::MOST_WAITING;
use super::sink::{Outcome, Sink};
use crate::command::net::no_network;
use crate::command::trace::stream::Stream;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::profile::walk::{Visitor, walk};
use crate::profile::{self, Source};
use crate::sites::Sites;

pub(super) fn copy(given: &Input, sink: Sink<'_>, limit: Option<Duration>) -> anyhow::Result<Outcome> {
    let input = profile::recover(given)?;
    let head = profile::head(&input)?;
    let clocks = profile::clock::clocks(&input)?;
    let limit_ns = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    let sites = Sites::default();
    let packets = Filter::parse("kind == packet").map_err(|error| anyhow::anyhow!("{error}"))?;
    let sink = RefCell::new(sink);
    let mut tell = |event: &Event, guest: &Guest| {
        let wall = clocks.wall(guest.boot, event.tsc).map(|wall| wall.ns);
        let at = wall.unwrap_or_else(|| guest.since_boot_ns(event.tsc).unwrap_or(0));
        let mut sink = sink.borrow_mut();
        if sink.since_first(at) > limit_ns { Ok(()) } else { sink.packet(event, guest, at) }
    };
    let mut stream = Stream::new(&sites, Some(&packets), &mut tell);
    stream.keeps(None, false, head.is_recovered());
    stream.holds_at_most(MOST_WAITING);
    let mut copy = Copy { stream, sink: &sink };
    let figures = walk(Source::open(&input)?, head.session, &mut copy)?;
    let told = copy.stream.finish()?;
    if told.told == 0 && !sink.borrow().has_interfaces() {
        return Err(Failure::error(Exit::NoNetwork, no_network("the guest", true)));
    }
    if told.told == 0 && figures.recorded() & Class::Net.bit() == 0 {
        let why = "there are no packets in it: they are recorded with `uniprof record -e +net`, or `uniprof pcap` of the running guest";
        return Err(Failure::error(Exit::Failed, why));
    }
    let sink = sink.into_inner();
    sink.interfaces().map_err(|why| Failure::error(Exit::Usage, why))?;
    let lost = figures.class(Class::Net).lost();
    let is_full = sink.is_full();
    let mut outcome = sink.finish(lost)?;
    // Of what was not read to its end nothing can be said.
    if !is_full {
        outcome.notes.extend(figures.notes);
    }
    Ok(outcome)
}

/// Passes on, and looks at interfaces.
struct Copy<'a, 's, 'w> {
    stream: Stream<'s>,
    sink: &'a RefCell<Sink<'w>>,
}

impl Visitor for Copy<'_, '_, '_> {
    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        self.stream.record(vcpu, record);
    }

    fn tables(&mut self, tables: &Tables) {
        self.stream.tables(tables);
    }

    fn network(&mut self, network: &Network) {
        self.sink.borrow_mut().network(network);
    }

    fn boot(&mut self, session: u32) {
        self.stream.boot(session);
    }

    fn at(&mut self, at: HostTime) {
        self.stream.at(at);
    }

    fn is_done(&self) -> bool {
        self.stream.is_done() || self.sink.borrow().is_full()
    }
}
