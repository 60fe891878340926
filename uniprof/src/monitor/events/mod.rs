//! Events: counted by name as they come, the last ones kept; decoded are only those that somebody sees, or that a filter asks for.

mod durations;
mod past;
mod tail;

use rustc_hash::FxHashMap;
use uniprof_events::{Event, EventKind, Filter, Guest};
use uniprof_tui::picture::{EventLine, EventName, Events as Shown};
use uniprof_wire::record::Record;
use uniprof_wire::site::SiteKind;

use self::durations::Durations;
use self::past::Past;
pub(super) use self::tail::Tail;
use super::span::Reach;
use crate::command::trace::told;
use crate::sites::Sites;

/// Names that are told apart; what comes after that many is counted under its kind.
const MOST_NAMES: usize = 256;
/// Lines that are shown.
const MOST_LINES: usize = 1000;

/// What is known of events.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) sites: Sites,
    index: FxHashMap<Key, u16>,
    keys: Vec<Key>,
    all: Vec<Sum>,
    past: Past,
    tail: Tail,
    filtered: Option<Filtered>,
    filter: Result<String, String>,
    number: u64,
}

/// What is counted under one name.
type Key = (EventKind, Option<u32>);

#[derive(Clone, Debug, Default)]
struct Sum {
    count: f64,
    durations: Durations,
    /// Of counters and gauges: when, and the value as a word.
    value: Option<(u64, u64)>,
}

/// What a filter lets through.
#[derive(Debug)]
struct Filtered {
    filter: Filter,
    tail: Tail,
    hidden: u64,
}

impl Events {
    /// None yet, of a guest with these sites.
    pub(super) fn new(sites: Sites) -> Self {
        Self {
            sites,
            index: FxHashMap::default(),
            keys: Vec::new(),
            all: Vec::new(),
            past: Past::default(),
            tail: Tail::default(),
            filtered: None,
            filter: Ok(String::new()),
            number: 0,
        }
    }

    /// None any more, but what is to be told stays chosen.
    pub(super) fn restart(&mut self) {
        let old = std::mem::replace(self, Self::new(Sites::default()));
        self.sites = old.sites;
        self.filter = old.filter;
        self.filtered = old.filtered.map(|old| Filtered { tail: Tail::default(), hidden: 0, ..old });
        // Lines that are selected must not be taken for new ones.
        self.number = old.number;
    }

    /// Takes a record in that is no sample.
    pub(super) fn record(&mut self, quarter: u64, vcpu: u32, record: &Record<'_>, guest: &Guest) {
        self.number += 1;
        if let Some((key, ticks, value)) = sorted(record, &self.sites) {
            let index = self.index_of(key);
            let add = |sum: &mut Sum| {
                sum.count += 1.0;
                ticks.into_iter().for_each(|ticks| sum.durations.add(ticks));
                sum.value = value.max(sum.value);
            };
            add(&mut self.all[usize::from(index)]);
            self.past.at(quarter, index).into_iter().for_each(add);
        }
        self.tail.push(self.number, vcpu, record);
        if let Some(filtered) = &mut self.filtered {
            filtered.take(self.number, vcpu, record, &self.sites, guest);
        }
    }

    fn index_of(&mut self, key: Key) -> u16 {
        if let Some(known) = self.index.get(&key) {
            return *known;
        }
        // Kinds are few, so that these always have room.
        if self.keys.len() >= MOST_NAMES && key.1.is_some() {
            return self.index_of((key.0, None));
        }
        let index = u16::try_from(self.keys.len()).unwrap_or(u16::MAX);
        self.keys.push(key);
        self.all.push(Sum::default());
        self.index.insert(key, index);
        index
    }

    /// Tells only what `text` is true of from now on, and of what is kept; all where it is empty.
    pub(super) fn set_filter(&mut self, text: &str, guest: &Guest) {
        let text = text.trim();
        if text.is_empty() {
            (self.filter, self.filtered) = (Ok(String::new()), None);
            return;
        }
        match Filter::parse(text) {
            Ok(filter) => {
                (self.filter, self.filtered) = (Ok(text.to_owned()), Some(self.through(filter, guest)));
            }
            // What was chosen before goes on to be told.
            Err(error) => self.filter = Err(error.to_string()),
        }
    }

    /// What a filter lets through of what is kept.
    fn through(&self, filter: Filter, guest: &Guest) -> Filtered {
        let mut filtered = Filtered { filter, tail: Tail::default(), hidden: 0 };
        let mut kept = Vec::new();
        self.tail.newest_first(|one| {
            match Event::new(one.vcpu, &one.record, &self.sites) {
                Some(event) if filtered.filter.matches(&event, guest) => {
                    kept.push((one.number, one.vcpu, owned(&one.record)))
                }
                Some(_) => filtered.hidden += 1,
                None => {}
            }
            kept.len() < MOST_LINES
        });
        for (number, vcpu, (kind, words)) in kept.iter().rev() {
            if let Ok(record) = Record::decode(*kind, words) {
                filtered.tail.push(*number, *vcpu, &record);
            }
        }
        filtered
    }

    /// What came, without what is to be told of it.
    pub(super) fn copy(&self) -> Self {
        Self {
            index: self.index.clone(),
            keys: self.keys.clone(),
            all: self.all.clone(),
            past: self.past.clone(),
            tail: self.tail.clone(),
            number: self.number,
            ..Self::new(Sites::default())
        }
    }

    /// Has come what a copy has; what is to be told stays chosen.
    pub(super) fn restore(&mut self, copy: &Self, guest: &Guest) {
        let old = std::mem::replace(self, copy.copy());
        (self.sites, self.filter) = (old.sites, old.filter);
        self.filtered = old.filtered.map(|old| self.through(old.filter, guest));
    }

    /// About as many bytes as it takes.
    pub(super) fn bytes(&self) -> usize {
        self.past.bytes() + self.tail.bytes()
    }

    /// Whether anything came at all.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What is to be seen of a span.
    pub(super) fn shown(&self, reach: &Reach, until: u64, guest: &Guest) -> Shown {
        Shown {
            tail: self.lines(until, guest),
            names: self.names(reach, guest),
            filter: self.filter.clone(),
            hidden: self.filtered.as_ref().map_or(0, |filtered| filtered.hidden),
        }
    }

    /// The last lines up to a moment, the oldest first.
    fn lines(&self, until: u64, guest: &Guest) -> Vec<EventLine> {
        let tail = self.filtered.as_ref().map_or(&self.tail, |filtered| &filtered.tail);
        let mut events: Vec<(u64, Event)> = Vec::new();
        tail.newest_first(|kept| {
            if kept.record.tsc() <= until {
                events.extend(
                    Event::new(kept.vcpu, &kept.record, &self.sites).map(|event| (kept.number, event)),
                );
            }
            events.len() < MOST_LINES
        });
        events.sort_by_key(|(number, event)| (event.tsc, *number));
        events.iter().map(|(number, event)| line(*number, event, guest)).collect()
    }

    fn names(&self, reach: &Reach, guest: &Guest) -> Vec<EventName> {
        let last = reach.last();
        let sums: FxHashMap<u16, Sum> = if reach.is_all() && last >= self.past.newest() {
            (0..).zip(self.all.iter().cloned()).collect()
        } else {
            self.past.within(reach)
        };
        let second = reach.second();
        let rate = |index| second.clone().map(|quarter| self.past.count(quarter, index)).sum();
        let mut names: Vec<EventName> = sums
            .iter()
            .filter(|(_, sum)| sum.count >= 0.5)
            .map(|(index, sum)| self.name(*index, sum, rate(*index), guest))
            .collect();
        names.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (a.kind, &a.name).cmp(&(b.kind, &b.name))));
        names
    }

    fn name(&self, index: u16, sum: &Sum, rate: f64, guest: &Guest) -> EventName {
        let (kind, site) = self.keys[usize::from(index)];
        let known = site.and_then(|id| self.sites.get(id));
        let ns = |ticks| guest.nanoseconds(ticks).unwrap_or(0);
        let durations = &sum.durations;
        let latency = || [ns(durations.quantile(0.5)), ns(durations.quantile(0.99)), ns(durations.max())];
        let value = sum.value.map(|(_, word)| {
            known
                .and_then(|site| site.values(&[word]).next().map(|(_, value)| number(&value)))
                .flatten()
                .unwrap_or(word as f64)
        });
        EventName {
            name: match (known, site) {
                (Some(site), _) => site.name.clone(),
                (None, Some(id)) => format!("site {id}"),
                (None, None) if kind.has_site() => format!("[other {}s]", kind.group()),
                (None, None) => kind.name().to_owned(),
            },
            kind: kind.group(),
            count: sum.count.round() as u64,
            rate,
            latency_ns: (!durations.is_empty()).then(latency),
            histogram: durations.by_power(ns),
            value,
        }
    }
}

impl Filtered {
    fn take(&mut self, number: u64, vcpu: u32, record: &Record<'_>, sites: &Sites, guest: &Guest) {
        let Some(event) = Event::new(vcpu, record, sites) else { return };
        if self.filter.matches(&event, guest) {
            self.tail.push(number, vcpu, record);
        } else {
            self.hidden += 1;
        }
    }
}

fn owned(record: &Record<'_>) -> (uniprof_wire::record::Kind, Vec<u64>) {
    let mut all = Vec::new();
    record.encode(|at, words| {
        all.resize(at, 0);
        all.extend_from_slice(words);
    });
    (record.kind(), all)
}

/// What a record is counted under, how long it took, and its value; `None` for the beginnings of what has an end.
#[expect(clippy::type_complexity, reason = "three things that are looked at at once")]
fn sorted(record: &Record<'_>, sites: &Sites) -> Option<(Key, Option<u64>, Option<(u64, u64)>)> {
    let tsc = record.tsc();
    let since = |begin: u64| (begin != 0).then(|| tsc.saturating_sub(begin));
    let bare = |kind, ticks| Some(((kind, None), ticks, None));
    match record {
        Record::Sample(_) | Record::Snapshot(_) | Record::SpanBegin(_) => None,
        Record::Event(event) => Some(((EventKind::Event, Some(event.site)), None, None)),
        Record::SpanEnd(end) => Some(((EventKind::SpanEnd, Some(end.site)), since(end.begin), None)),
        Record::Counter(counter) => {
            let is_gauge = sites.get(counter.site).is_some_and(|site| site.kind == SiteKind::Gauge);
            let kind = if is_gauge { EventKind::Gauge } else { EventKind::Counter };
            Some(((kind, Some(counter.site)), None, Some((tsc, counter.value))))
        }
        Record::Call(call) => Some(((EventKind::Call, Some(call.site)), since(call.begin), None)),
        Record::Switch(_) => bare(EventKind::Switch, None),
        Record::Log(_) => bare(EventKind::Log, None),
        Record::Mark(_) => bare(EventKind::Mark, None),
        Record::Thread(_) => bare(EventKind::Thread, None),
        Record::Park(_) => bare(EventKind::Park, None),
        Record::Resume(resume) => bare(EventKind::Resume, since(resume.parked)),
        Record::Wake(_) => bare(EventKind::Wake, None),
        Record::LockWait(wait) => bare(EventKind::LockWait, since(wait.begin)),
        Record::LockHold(hold) => bare(EventKind::LockHold, since(hold.since)),
        Record::Interrupt(interrupt) => bare(EventKind::Interrupt, since(interrupt.begin)),
        Record::Allocation(_) => bare(EventKind::Allocation, None),
        Record::Free(_) => bare(EventKind::Free, None),
        Record::Packet(_) => bare(EventKind::Packet, None),
        Record::Connection(_) => bare(EventKind::Connection, None),
    }
}

fn number(value: &uniprof_wire::site::Value<'_>) -> Option<f64> {
    value.to_string().parse().ok()
}

fn line(number: u64, event: &Event, guest: &Guest) -> EventLine {
    let name = event.name().into_owned();
    let told = told(event, guest);
    let text = told.strip_prefix(&name).map_or(told.as_str(), str::trim_start).to_owned();
    EventLine {
        number,
        at: guest.seconds(event.tsc),
        vcpu: event.vcpu,
        thread: if event.thread == 0 { String::new() } else { guest.thread(event.thread).into_owned() },
        name,
        text,
    }
}

#[cfg(test)]
mod tests {
    use uniprof_events::Site;
    use uniprof_tui::picture::Span;
    use uniprof_wire::record::{EventRecord, SpanEndRecord, SwitchReason, SwitchRecord};

    use super::*;

    fn guest() -> Guest {
        Guest { tsc_hz: 1_000_000_000, threads: [(1, "kv-0".to_owned())].into(), ..Guest::default() }
    }

    fn events() -> Events {
        let site = |id, kind, name: &str| Site {
            id,
            kind,
            name: name.into(),
            file: String::new(),
            line: 0,
            enabled: false,
            slot: None,
            args: Vec::new(),
        };
        Events::new(
            [site(0, SiteKind::Span, "kv.get"), site(8, SiteKind::Event, "kv.put")].into_iter().collect(),
        )
    }

    fn put(events: &mut Events, at_ms: u64) {
        let record = Record::Event(EventRecord { tsc: at_ms * 1_000_000, site: 8, thread: 1, args: &[] });
        events.record(at_ms / 250, 0, &record, &guest());
    }

    fn get(events: &mut Events, at_ms: u64, took_ns: u64) {
        let tsc = at_ms * 1_000_000;
        let end = SpanEndRecord { tsc, site: 0, thread: 1, begin: tsc - took_ns, begun_on: 1 };
        events.record(at_ms / 250, 1, &Record::SpanEnd(end), &guest());
    }

    #[test]
    fn names_have_counts_rates_and_latencies_of_the_span() {
        let mut events = events();
        (0..10).for_each(|n| put(&mut events, 1000 + n * 50));
        (0..100).for_each(|n| get(&mut events, 5000 + n, 1000 + n * 10));
        (0..4).for_each(|n| put(&mut events, 6100 + n));
        let told = |span, quarter| -> Vec<(String, u64, f64)> {
            let shown = events.shown(&Reach::new(span, quarter), u64::MAX, &guest());
            shown.names.iter().map(|name| (name.name.clone(), name.count, name.rate)).collect()
        };
        assert_eq!(told(Span::All, 24), [("kv.get".into(), 100, 100.0), ("kv.put".into(), 14, 0.0)]);
        assert_eq!(told(Span::All, 7), [("kv.put".into(), 10, 10.0)], "what came later does not count");
        assert_eq!(told(Span::Last(1.0), 24)[0], ("kv.put".into(), 4, 0.0));
        let shown = events.shown(&Reach::new(Span::All, 24), u64::MAX, &guest());
        let [p50, p99, max] = shown.names[0].latency_ns.unwrap();
        assert!(
            (1490..1700).contains(&p50) && (1980..=1990).contains(&p99) && max == 1990,
            "{p50} {p99} {max}"
        );
        assert_eq!(shown.names[0].histogram, [0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 97], "three are below 1024");
    }

    #[test]
    fn a_filter_holds_back_what_came_and_what_comes_and_a_mistake_is_told() {
        let mut events = events();
        (0..3).for_each(|n| put(&mut events, n));
        (0..3).for_each(|n| get(&mut events, 10 + n, 1000 * (n + 1)));
        events.set_filter("kv.get and duration > 1500ns", &guest());
        get(&mut events, 20, 5000);
        put(&mut events, 21);
        let shown = events.shown(&Reach::new(Span::All, 1), u64::MAX, &guest());
        let lines: Vec<_> =
            shown.tail.iter().map(|line| (line.number, line.name.as_str(), line.thread.as_str())).collect();
        assert_eq!(lines, [(5, "kv.get", "kv-0"), (6, "kv.get", "kv-0"), (7, "kv.get", "kv-0")]);
        assert_eq!((shown.hidden, shown.filter), (5, Ok("kv.get and duration > 1500ns".into())));
        events.set_filter("kv.get and", &guest());
        assert!(events.shown(&Reach::new(Span::All, 1), u64::MAX, &guest()).filter.is_err());
        events.set_filter("", &guest());
        let shown = events.shown(&Reach::new(Span::All, 1), 12_000_000, &guest());
        assert_eq!((shown.tail.len(), shown.hidden), (6, 0), "up to the moment");
    }

    #[test]
    fn the_tail_and_the_names_are_bounded_and_in_order() {
        let mut events = events();
        for n in 0..200_000_u64 {
            let switch = SwitchRecord { tsc: n ^ 1, from: 1, to: 0, reason: SwitchReason::Blocked };
            events.record(0, 0, &Record::Switch(switch), &guest());
            let record = Record::Event(EventRecord { tsc: n, site: n as u32 * 8, thread: 1, args: &[] });
            events.record(0, 0, &record, &guest());
        }
        let shown = events.shown(&Reach::new(Span::All, 0), u64::MAX, &guest());
        assert_eq!(shown.tail.len(), MOST_LINES);
        assert!(shown.tail.is_sorted_by(|a, b| a.at <= b.at));
        assert!(shown.names.len() <= MOST_NAMES + EventKind::ALL.len());
        assert_eq!(shown.names.iter().map(|name| name.count).sum::<u64>(), 400_000);
    }
}
