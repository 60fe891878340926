//! Events counted by name.

use std::collections::BTreeMap;

use uniprof_wire::record::Class;

use crate::event::Event;
use crate::kind::EventKind;
use crate::latencies::Latencies;

/// Names that are told apart; a guest whose events have no known sites can make up billions. What comes after that many is counted under its
/// kind.
const MOST_NAMES: usize = 1 << 16;

/// How often each name came, and how long what has a duration took.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    names: BTreeMap<(EventKind, String), NameSummary>,
    /// The first and the last event's time.
    range: Option<(u64, u64)>,
}

/// What came under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSummary {
    /// Records that came; a span has two.
    pub received: u64,
    /// Of what has a duration, those that are known.
    pub latencies: Latencies,
}

impl Summary {
    /// Takes an event in.
    pub fn add(&mut self, event: &Event) {
        let (first, last) = self.range.unwrap_or((event.tsc, event.tsc));
        self.range = Some((first.min(event.tsc), last.max(event.tsc)));
        let kind = if event.kind == EventKind::SpanEnd { EventKind::SpanBegin } else { event.kind };
        let key = (kind, event.name().into_owned());
        let is_full = self.names.len() >= MOST_NAMES && !self.names.contains_key(&key);
        let key = if is_full { (kind, kind.name().to_owned()) } else { key };
        let sum = self.names.entry(key).or_default();
        sum.received += 1;
        if let Some(ticks) = event.ticks {
            sum.latencies.add(ticks);
        }
    }

    /// By kind, then by name. Beginnings and ends of spans are one: [`EventKind::SpanBegin`].
    pub fn names(&self) -> impl Iterator<Item = (EventKind, &str, &NameSummary)> {
        self.names.iter().map(|((kind, name), sum)| (*kind, name.as_str(), sum))
    }

    /// Ticks from the first event to the last.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.range.map_or(0, |(first, last)| last - first)
    }
}

impl NameSummary {
    /// How many records of this name the guest emitted: known where none of its class was lost, since the guest counts what it loses by class and
    /// not by site.
    #[must_use]
    pub fn emitted(&self, lost_of_class: u64) -> Option<u64> {
        (lost_of_class == 0).then_some(self.received)
    }
}

/// The word for what a name is: beginnings and ends of spans are a span.
impl EventKind {
    /// As [`EventKind::name`], but `span` for both ends of one.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::SpanBegin | Self::SpanEnd => "span",
            kind => kind.name(),
        }
    }

    /// The classes of all kinds, without repetition, in their order.
    pub fn classes() -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(|class| Self::ALL.iter().any(|kind| kind.class() == *class))
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::{EventRecord, Record, SpanEndRecord};
    use uniprof_wire::site::SiteKind;

    use super::*;
    use crate::sites::{Sites, tests::entry};

    #[test]
    fn both_ends_of_a_span_are_one_name_and_its_ends_have_latencies() {
        let sites = Sites::of_section(&entry(SiteKind::Span, "kv.get", &[]));
        let mut summary = Summary::default();
        for begin in [100, 200, 300] {
            let record = Record::SpanBegin(EventRecord { tsc: begin, site: 0, thread: 1, args: &[] });
            summary.add(&Event::new(0, &record, &sites).unwrap());
            let end = SpanEndRecord { tsc: begin + begin / 10, site: 0, thread: 1, begin, begun_on: 1 };
            summary.add(&Event::new(0, &Record::SpanEnd(end), &sites).unwrap());
        }
        let names: Vec<_> = summary.names().collect();
        let [(kind, name, sum)] = names[..] else { panic!("{names:?}") };
        assert_eq!((kind.group(), name, sum.received), ("span", "kv.get", 6));
        let latencies = &sum.latencies;
        assert_eq!((latencies.count(), latencies.quantile(0.5), latencies.max()), (3, 20, 30));
        assert_eq!((summary.ticks(), sum.emitted(0), sum.emitted(1)), (230, Some(6), None));
    }

    #[test]
    fn a_guest_of_endless_names_takes_no_endless_memory() {
        let mut summary = Summary::default();
        for site in 0..(MOST_NAMES as u32 + 10) {
            let record = Record::Event(EventRecord { tsc: 0, site, thread: 1, args: &[] });
            summary.add(&Event::new(0, &record, &Sites::default()).unwrap());
        }
        assert_eq!(summary.names().count(), MOST_NAMES + 1);
        assert_eq!(summary.names().map(|(_, _, sum)| sum.received).sum::<u64>(), MOST_NAMES as u64 + 10);
    }
}
