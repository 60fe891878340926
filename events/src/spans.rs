//! Spans that are open: the record of an end does not repeat what its begin said.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::event::{Event, FieldName};
use crate::kind::EventKind;
use crate::value::Value;

/// Spans that are remembered. The oldest is forgotten beyond: its end was lost, or is far away.
const MOST: usize = 1 << 16;

/// Which span: its site, when it began, and on which thread.
type Key = (u32, u64, u32);

/// Gives the ends of spans the arguments of their begins, where those came before them. (With several rings an end may be read before its
/// begin: of spans that went from vCPU to vCPU.)
#[derive(Debug, Default)]
pub struct Spans {
    open: HashMap<Key, Vec<(FieldName, Value)>>,
    /// In the order in which they came. Has those, too, that have ended since.
    order: VecDeque<Key>,
}

impl Spans {
    /// Remembers a begin; completes an end. Leaves all else as it is.
    pub fn join(&mut self, event: &mut Event) {
        match event.kind {
            EventKind::SpanBegin => self.begin(event),
            EventKind::SpanEnd => self.end(event),
            _ => {}
        }
    }

    /// Forgets all: the guest's clock begins anew.
    pub fn clear(&mut self) {
        self.open.clear();
        self.order.clear();
    }

    fn begin(&mut self, event: &Event) {
        let Some(site) = event.site_id.filter(|_| !event.fields.is_empty()) else { return };
        let key = (site, event.tsc, event.thread);
        if self.order.len() >= MOST {
            if self.open.len() * 2 < MOST {
                let mut seen = HashSet::new();
                self.order.retain(|key| self.open.contains_key(key) && seen.insert(*key));
            } else if let Some(oldest) = self.order.pop_front() {
                self.open.remove(&oldest);
            }
        }
        self.order.push_back(key);
        self.open.insert(key, event.fields.clone());
    }

    fn end(&mut self, event: &mut Event) {
        let begun_on = match event.field("begun_on") {
            Some(Value::Thread(thread)) => *thread,
            _ => event.thread,
        };
        let (Some(site), Some(begin)) = (event.site_id, event.begin()) else { return };
        if let Some(mut fields) = self.open.remove(&(site, begin, begun_on)) {
            fields.append(&mut event.fields);
            event.fields = fields;
        }
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::{EventRecord, Record, SpanEndRecord};

    use super::*;
    use crate::Sites;

    fn begin(tsc: u64, thread: u32) -> Event {
        let args = &[tsc * 10];
        Event::new(0, &Record::SpanBegin(EventRecord { tsc, site: 8, thread, args }), &Sites::default())
            .unwrap()
    }

    fn end(begin: u64, thread: u32, begun_on: u32) -> Event {
        let end = SpanEndRecord { tsc: begin + 5, site: 8, thread, begin, begun_on };
        Event::new(1, &Record::SpanEnd(end), &Sites::default()).unwrap()
    }

    fn joined(spans: &mut Spans, mut event: Event) -> Event {
        spans.join(&mut event);
        event
    }

    #[test]
    fn an_end_has_what_its_own_begin_said() {
        let mut spans = Spans::default();
        for event in [begin(100, 1), begin(100, 2), begin(200, 1)] {
            assert_eq!(joined(&mut spans, event.clone()), event, "a begin stays as it is");
        }
        let argument = |event: &Event| event.field("0").cloned();
        assert_eq!(argument(&joined(&mut spans, end(200, 1, 1))), Some(Value::Unsigned(2_000)));
        // It went to another thread.
        let elsewhere = joined(&mut spans, end(100, 3, 2));
        assert_eq!(argument(&elsewhere), Some(Value::Unsigned(1_000)));
        assert_eq!(elsewhere.field("begun_on"), Some(&Value::Thread(2)));
        assert_eq!(argument(&joined(&mut spans, end(200, 1, 1))), None, "each begin has one end");
        assert_eq!(argument(&joined(&mut spans, end(300, 1, 1))), None, "its begin was lost");
        spans.clear();
        assert_eq!(argument(&joined(&mut spans, end(100, 1, 1))), None);
    }

    #[test]
    fn spans_that_never_end_are_forgotten_and_those_that_do_take_no_room() {
        let mut spans = Spans::default();
        spans.join(&mut begin(1, 9));
        for tsc in 2..5 * MOST as u64 {
            spans.join(&mut begin(tsc, 1));
            spans.join(&mut end(tsc, 1, 1));
        }
        assert!(joined(&mut spans, end(1, 9, 9)).field("0").is_some(), "pushed out by spans that have ended");
        for tsc in 0..3 * MOST as u64 {
            spans.join(&mut begin(tsc, 2));
        }
        assert_eq!((spans.open.len(), spans.order.len()), (MOST, MOST));
        assert!(joined(&mut spans, end(0, 2, 2)).field("0").is_none());
        assert!(joined(&mut spans, end(3 * MOST as u64 - 1, 2, 2)).field("0").is_some());
        // A hostile guest begins the same one again and again.
        let mut spans = Spans::default();
        (0..3 * MOST).for_each(|_| spans.join(&mut begin(1, 1)));
        assert!(spans.order.len() <= MOST && spans.open.len() == 1);
    }
}
