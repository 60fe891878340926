//! Packets of a running guest, as they come.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use uniprof_collector::clock::{Clocks, Looks};
use uniprof_collector::ledger::Ledger;
use uniprof_collector::network::Network;
use uniprof_collector::recording::{Body, Message};
use uniprof_events::{Event, Filter, Guest};
use uniprof_wire::record::Class;
use uniprof_wire::tables::ControlRequest;

use super::MOST_WAITING;
use super::sink::{Outcome, Sink, lost};
use crate::command::net::{PATIENCE, absent, no_network};
use crate::command::trace::follow::Followed;
use crate::command::trace::stream::Stream;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::sites::Sites;

/// How often what is known of the guest's clock is put together anew.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn capture(name: &str, mut sink: Sink<'_>, limit: Option<Duration>) -> anyhow::Result<Outcome> {
    let guest = Followed::open(name)?;
    let Followed { entry, attached, cancel } = &guest;
    let network = attached.network(PATIENCE, cancel)?.ok_or_else(|| absent(name))?;
    if network.interfaces.is_empty() {
        return Err(Failure::error(Exit::NoNetwork, no_network(name, true)));
    }
    sink.network(&network);
    let interfaces = sink.interfaces().map_err(|why| Failure::error(Exit::Usage, why))?;
    if let Some(port) = &attached.port {
        port.record_areas();
    }
    let snaplen = sink.snaplen();
    let wanted =
        ControlRequest { classes: Class::Net.bit(), packet_bytes: snaplen, ..ControlRequest::default() };
    let request = attached.ask(entry, wanted);
    if let Err(error) = &request {
        output::say(format_args!("uniprof: {error}; there are packets only if it records them anyway"));
    }
    output::say(format_args!(
        "uniprof: {interfaces}: up to {snaplen} bytes of each packet; Ctrl-C ends the capture"
    ));
    let token = cancel.clone();
    if let Some(limit) = limit {
        std::thread::spawn(move || {
            token.sleep(limit);
            token.cancel();
        });
    }
    let sites = Sites::default();
    let packets = Filter::parse("kind == packet").map_err(|error| anyhow::anyhow!("{error}"))?;
    let clock = RefCell::new(Clock::new(attached.session_info(entry).guest_started_ns));
    let sink = RefCell::new(sink);
    let hear = |message: &Message<'_>| {
        let is_first = matches!(message.body, Body::Region { .. }) && !clock.borrow().has_begun;
        clock.borrow_mut().feed(message);
        if let Some((at, pair)) = attached.first_pair.filter(|_| is_first) {
            let body = Body::Clock(pair);
            clock.borrow_mut().feed(&Message { at, session: message.session, body });
        }
        if let Body::Network(words) = &message.body {
            sink.borrow_mut().network(&Network::from_words(words));
        }
    };
    let boot_wall_ns = attached.region.header.boot_wall_ns;
    let mut tell = |event: &Event, guest: &Guest| {
        let at = clock.borrow().wall(event, guest, boot_wall_ns);
        let mut sink = sink.borrow_mut();
        sink.packet(event, guest, at)?;
        if sink.is_full() {
            cancel.cancel();
        }
        Ok(())
    };
    let mut ledger = Ledger::new();
    let mut stream = Stream::new(&sites, Some(&packets), &mut tell);
    stream.holds_at_most(MOST_WAITING);
    stream.hears(&hear);
    let has_ended = guest.read(&mut ledger, &mut stream, &mut || sink.borrow_mut().flush())?;
    drop(request);
    let told = stream.finish()?;
    let mut outcome = sink.into_inner().finish(lost(&ledger))?;
    if has_ended {
        outcome.notes.push(format!("guest {name} has ended"));
    }
    if told.late > 0 {
        outcome.notes.push(format!("{} packets came so late that they stand behind later ones", told.late));
    }
    Ok(outcome)
}

/// What is known of the guest's clock so far.
struct Clock {
    looks: Looks,
    clocks: Clocks,
    made: Option<Instant>,
    has_begun: bool,
}

impl Clock {
    fn new(started_ns: u64) -> Self {
        Self { looks: Looks::new(started_ns), clocks: Clocks::default(), made: None, has_begun: false }
    }

    fn feed(&mut self, message: &Message<'_>) {
        self.looks.feed(message);
        self.has_begun |= matches!(message.body, Body::Region { .. });
        let is_due = self.made.is_none_or(|made| made.elapsed() >= CLOCK_EVERY);
        if is_due && matches!(message.body, Body::Clock(_)) {
            self.clocks = self.looks.finish();
            self.made = Some(Instant::now());
        }
    }

    /// By the guest's own word where nothing else is known.
    fn wall(&self, event: &Event, guest: &Guest, boot_wall_ns: u64) -> u64 {
        let known = self.clocks.wall(guest.boot, event.tsc).map(|wall| wall.ns);
        known.unwrap_or_else(|| boot_wall_ns.saturating_add(guest.since_boot_ns(event.tsc).unwrap_or(0)))
    }
}
