//! What is asked for: words of the command line, and the request that they make.

use uniprof_collector::control::Asker;
use uniprof_wire::record::MAX_PACKET_BYTES;
use uniprof_wire::tables::ControlRequest;
use uniprof_wire::text::FixedText;

use crate::selection::{Selection, class_names};
use crate::values::{Budget, CallGraph, Hertz};

/// Bytes that a mark may have.
const MARK_BYTES: usize = 64;

/// The words of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    rate: Option<Hertz>,
    pub(super) events: Option<Selection>,
    stack: Option<CallGraph>,
    packets: Option<u32>,
    budget: Option<Budget>,
    mark: Option<String>,
    flush: bool,
}

impl Ask {
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut ask = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "rate" => ask.rate = Some(value.parse()?),
                "events" => ask.events = Some(Selection::added(value)?),
                "stack" => ask.stack = Some(value.parse()?),
                "packets" => ask.packets = Some(packets(value)?),
                "budget" => ask.budget = Some(value.parse()?),
                "mark" => ask.mark = Some(mark(value)?),
                "flush" if word == "flush" => ask.flush = true,
                _ => {
                    return Err(format!(
                        "`{word}` is nothing that can be asked for; words are rate=, events=, stack=, packets=, budget=, \
                         mark= and flush"
                    ));
                }
            }
        }
        Ok(ask)
    }

    /// Whether there is no word.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks for something that has to be held.
    pub(super) fn is_lasting(&self) -> bool {
        self.rate.is_some()
            || self.events.is_some()
            || self.stack.is_some()
            || self.packets.is_some()
            || self.budget.is_some()
    }

    pub(super) fn request(&self) -> ControlRequest {
        let events = self.events.as_ref();
        ControlRequest {
            rate: self.rate.map_or(0, |rate| rate.0),
            classes: events.map_or(0, |events| events.classes),
            patterns: FixedText::new(events.map_or(&[], |events| events.patterns.as_bytes())),
            snapshot_bytes: self.stack.map_or(0, CallGraph::snapshot_bytes),
            packet_bytes: self.packets.unwrap_or(0),
            budget_ppm: self.budget.map_or(0, |budget| budget.0),
            mark: self.mark.is_some().into(),
            mark_text: FixedText::new(self.mark.as_deref().unwrap_or_default().as_bytes()),
            flush: self.flush.into(),
            ..ControlRequest::default()
        }
    }
}

/// Bytes of each packet.
fn packets(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| (1..=MAX_PACKET_BYTES as u32).contains(bytes));
    bytes.ok_or_else(|| format!("of each packet 1 to {MAX_PACKET_BYTES} bytes can be recorded, not `{text}`"))
}

fn mark(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MARK_BYTES || text.contains('\0') {
        return Err(format!("a mark is a text of 1 to {MARK_BYTES} bytes, not {}", text.len()));
    }
    Ok(text.to_owned())
}

/// Millionths as a percentage, as it is typed.
pub(super) fn percent(ppm: u32) -> f64 {
    f64::from(ppm) / 10_000.0
}

/// A request of anybody, as the words that would make it.
pub(super) fn words(asker: &Asker) -> String {
    let request = &asker.request;
    let mut words = Vec::new();
    if request.rate > 0 {
        words.push(format!("rate={}", request.rate));
    }
    let mut events: Vec<String> = class_names(request.classes).into_iter().map(str::to_owned).collect();
    let patterns = String::from_utf8_lossy(request.patterns.bytes());
    events.extend(patterns.split(',').filter(|pattern| !pattern.is_empty()).map(str::to_owned));
    if !events.is_empty() {
        words.push(format!("events={}", events.join(",")));
    }
    if request.snapshot_bytes > 0 {
        words.push(format!("stack=dwarf,{}", request.snapshot_bytes));
    }
    if request.packet_bytes > 0 {
        words.push(format!("packets={}", request.packet_bytes));
    }
    if request.budget_ppm > 0 {
        words.push(format!("budget={}%", percent(request.budget_ppm)));
    }
    if request.mark > 0 {
        words.push(format!("mark={:?}", String::from_utf8_lossy(request.mark_text.bytes())));
    }
    if request.flush > 0 {
        words.push("flush".into());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::Class;

    use super::*;

    fn parsed(words: &[&str]) -> Result<Ask, String> {
        Ask::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_make_a_request_and_a_request_makes_words() {
        let all = [
            "rate=99",
            "events=locks,net.*,-net.raw",
            "stack=dwarf,16384",
            "packets=96",
            "budget=1%",
            "mark=a b",
            "flush",
        ];
        let ask = parsed(&all).unwrap();
        let request = ask.request();
        assert_eq!((request.rate, request.classes), (99, Class::Lock.bit()));
        assert_eq!(
            (request.snapshot_bytes, request.budget_ppm, request.mark, request.flush),
            (16384, 10_000, 1, 1)
        );
        assert_eq!(request.packet_bytes, 96);
        assert!(parsed(&["packets=0"]).is_err() && parsed(&["packets=4096"]).is_err());
        let told = words(&Asker { slot: 0, request, alive: true });
        assert_eq!(told, all.join(" ").replace("mark=a b", "mark=\"a b\""));
        assert!(ask.is_lasting() && !ask.is_nothing());
        assert!(!parsed(&["mark=x", "flush"]).unwrap().is_lasting());
        assert!(parsed(&[]).unwrap().is_nothing());
    }

    #[test]
    fn a_word_that_cannot_be_asked_for_is_refused() {
        for word in
            ["speed=9", "rate=0", "rate", "events=", "stack=lbr", "budget=1", "mark=", "flush=1", "99"]
        {
            assert!(parsed(&[word]).is_err(), "{word}");
        }
        assert!(parsed(&["speed=9"]).unwrap_err().contains("rate=, events="));
    }
}
