//! What happened when, for trace viewers: states of threads, spans, calls, interrupts, counters, log lines.

use std::collections::{BTreeMap, HashMap};

use uniprof_collector::clock::HostTime;
use uniprof_events::waits::{Interval, State, States};
use uniprof_events::{Event, EventKind, Field, Value};
use uniprof_flamegraph::{Mark, Moment, Timeline, Track, Unit};
use uniprof_wire::record::Record;

use super::Figures;
use super::open::{Source, find_images, head};
use super::walk::{Visitor, walk};
use crate::config::Config;
use crate::input::Input;
use crate::sites::Sites;
use crate::{options, output};

/// Events that are kept at most: a viewer does not bear more.
const MOST: usize = 4 << 20;

/// Reads everything but samples.
pub(crate) fn timeline(input: &Input, symbols: &options::Symbols) -> anyhow::Result<Timeline> {
    let head = head(input)?;
    let images = find_images(&head, symbols, &Config::load()?)?;
    let sites = Sites::of(images.symbolizers().map(|(_, symbolizer)| &**symbolizer.image()));
    let mut happened = Happened { sites, ..Happened::default() };
    let figures = walk(Source::open(input)?, head.session, &mut happened)?;
    Ok(happened.finish(&figures))
}

#[derive(Default)]
struct Happened {
    sites: Sites,
    events: Vec<Event>,
    states: States,
    begun_on: HashMap<(u32, u64), u32>,
    /// Lines of the console, and when they were read.
    console: Vec<(u64, String)>,
}

impl Visitor for Happened {
    fn console(&mut self, at: HostTime, bytes: &[u8]) {
        if self.console.len() < MOST {
            self.console.push((at.realtime_ns, output::printable(&String::from_utf8_lossy(bytes))));
        }
    }

    fn record(&mut self, vcpu: u32, record: &Record<'_>) {
        self.states.record(vcpu, record);
        if self.events.len() >= MOST {
            return;
        }
        match record {
            Record::SpanEnd(end) if end.begun_on != end.thread => {
                self.begun_on.insert((end.thread, end.tsc), end.begun_on);
                self.events.extend(Event::new(vcpu, record, &self.sites));
            }
            Record::SpanEnd(_)
            | Record::Event(_)
            | Record::Counter(_)
            | Record::Log(_)
            | Record::Mark(_)
            | Record::Interrupt(_)
            | Record::LockWait(_)
            | Record::Call(_) => self.events.extend(Event::new(vcpu, record, &self.sites)),
            _ => {}
        }
    }
}

/// What of the console and of the clock is told, by the guest's clock like everything else.
fn of_the_host(console: Vec<(u64, String)>, figures: &Figures) -> Vec<Moment> {
    let Some(map) = figures.clocks.last() else { return Vec::new() };
    let moment = |tsc, track, category, name, details| {
        let at = figures.at(tsc);
        Moment { track, at, mark: Mark::Instant, name, category, details }
    };
    let line = |(at, text)| Some(moment(map.tsc(at)?, Track::Console, "console", text, Vec::new()));
    let mut moments: Vec<Moment> = console.into_iter().filter_map(line).collect();
    moments.extend(map.pauses().map(|pause| {
        let [long, off] = [pause.ns, pause.bound_ns].map(|ns| Unit::Nanoseconds.short(ns));
        let details = vec![
            ("after".to_owned(), super::clock::wall_text(pause.after_ns)),
            ("ns".to_owned(), pause.ns.to_string()),
            ("bound_ns".to_owned(), pause.bound_ns.to_string()),
        ];
        moment(pause.tsc.0, Track::Clock, "pause", format!("paused for {long} (± {off})"), details)
    }));
    moments
}

impl Happened {
    fn finish(mut self, figures: &Figures) -> Timeline {
        let mut moments: Vec<Moment> = Vec::new();
        let events = std::mem::take(&mut self.events);
        moments.extend(events.iter().filter_map(|event| self.moment(event, figures)));
        self.states(figures, &mut moments);
        moments.extend(of_the_host(self.console, figures));
        let mut threads: BTreeMap<u32, String> = figures.threads.clone();
        threads.entry(0).or_insert_with(|| "no thread".into());
        Timeline { moments, threads }
    }

    fn moment(&self, event: &Event, figures: &Figures) -> Option<Moment> {
        let thread = Track::Thread(event.thread);
        let end = figures.at(event.tsc);
        let slice = Mark::Slice { end };
        let began = event.begin().map_or(end, |tsc| figures.at(tsc));
        let across = || self.begun_on.contains_key(&(event.thread, event.tsc));
        let (track, at, mark, category) = match event.kind {
            EventKind::SpanEnd if across() => {
                (Track::Across(event.name().into_owned()), began, slice, "span")
            }
            EventKind::SpanEnd => (thread, began, slice, "span"),
            EventKind::Call => (thread, began, slice, "call"),
            EventKind::LockWait => (thread, began, slice, "lock wait"),
            EventKind::Interrupt => (Track::Interrupts(event.vcpu), began, slice, "interrupt"),
            EventKind::Event => (thread, end, Mark::Instant, "event"),
            EventKind::Log => (thread, end, Mark::Instant, "log"),
            EventKind::Mark => (thread, end, Mark::Instant, "mark"),
            EventKind::Counter | EventKind::Gauge => {
                let value = event.fields().find_map(|field| number(field.value))?;
                (Track::Counter(event.name().into_owned()), end, Mark::Value(value), "counter")
            }
            _ => return None,
        };
        let name = event.text().map_or_else(|| event.name().into_owned(), str::to_owned);
        let detail = |field: Field<'_>| (field.name.into_owned(), field.value.to_string());
        let details = if event.text().is_some() { Vec::new() } else { event.fields().map(detail).collect() };
        Some(Moment { track, at, mark, name, category, details })
    }

    /// What every thread was in between two switches: running, ready, or waiting.
    fn states(&mut self, figures: &Figures, moments: &mut Vec<Moment>) {
        let Some(window) = figures.window else { return };
        let states = std::mem::take(&mut self.states);
        if states.is_empty() {
            return;
        }
        states.finish(window, &figures.last_threads, &mut |Interval { thread, from, to, state }| {
            let (at, mark) = (figures.at(from), Mark::Slice { end: figures.at(to) });
            let name = match state {
                State::Running(vcpu) => format!("running on vCPU {vcpu}"),
                State::Ready => "ready".to_owned(),
                State::Blocked => "blocked".to_owned(),
                State::Sleeping => "sleeping".to_owned(),
            };
            let (track, category) = (Track::State(thread), "state");
            moments.push(Moment { track, at, mark, name, category, details: Vec::new() });
        });
    }
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::Unsigned(value) => Some(value as f64),
        Value::Signed(value) => Some(value as f64),
        Value::Float(value) => Some(value),
        Value::Bool(value) => Some(f64::from(u8::from(value))),
        _ => None,
    }
}
