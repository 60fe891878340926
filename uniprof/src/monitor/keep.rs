//! The last messages as they came: what a recording of what is seen is made of.

use std::collections::VecDeque;
use std::ops::Range;

use uniprof_collector::clock::HostTime;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::recording::{Body, Message};

/// Bytes of messages that are kept: four seconds of 50,000 events a second, minutes of a guest that does less.
const MOST: usize = 12 << 20;
/// Of so many segments, the oldest of which is dropped at once.
const SEGMENTS: usize = 6;

/// The last messages of a boot of a guest that runs.
pub(super) struct Keep {
    /// The oldest first; never empty.
    pub(super) segments: VecDeque<Segment>,
    bytes: usize,
    most: usize,
    /// By the guest's clock, what is seen of a time that is over: kept before all else.
    seen: Option<Range<u64>>,
}

/// Messages that follow on each other.
#[derive(Default)]
pub(super) struct Segment {
    /// What a recording that begins with the first of them has to begin with. Empty where reading began with it.
    pub(super) beginning: Vec<Message<'static>>,
    pub(super) messages: Vec<Kept>,
    bytes: usize,
}

/// A message, and the latest that was known of the guest's clock after it.
pub(super) struct Kept {
    pub(super) message: Message<'static>,
    pub(super) now: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Keep {
    pub(super) fn with_room(most: usize) -> Self {
        Self { segments: VecDeque::from([Segment::default()]), bytes: 0, most, seen: None }
    }

    /// A message comes, after those of which `ledger` is the account.
    pub(super) fn make_room(&mut self, ledger: &Ledger) {
        let Some(segment) = self.segments.back().filter(|segment| segment.bytes >= self.most / SEGMENTS)
        else {
            return;
        };
        let at = segment.messages.last().map_or_else(HostTime::default, |kept| kept.message.at);
        let beginning = beginning(ledger, segment.all(), at);
        let bytes = beginning.iter().map(bytes).sum();
        self.segments.push_back(Segment { beginning, messages: Vec::new(), bytes });
        self.bytes += bytes;
        while self.bytes > self.most && self.segments.len() > 1 {
            let old = self.segments.len() - 1;
            let first = self.segments.range(..old).position(|segment| !self.is_seen(segment)).unwrap_or(0);
            self.bytes -= self.segments.remove(first).map_or(0, |segment| segment.bytes);
        }
    }

    /// What is seen of a time that is over; `None`: the present is seen.
    pub(super) fn see(&mut self, seen: Option<Range<u64>>) {
        self.seen = seen;
    }

    fn is_seen(&self, segment: &Segment) -> bool {
        let (Some(seen), [first, .., last]) = (&self.seen, &segment.messages[..]) else { return false };
        first.now < seen.end && seen.start <= last.now
    }

    /// Keeps a message; `now` is the latest that is known of the guest's clock after it.
    pub(super) fn take(&mut self, message: &Message<'_>, now: u64) {
        let message = message.clone().into_owned();
        let bytes = bytes(&message);
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes;
            segment.messages.push(Kept { message, now });
            self.bytes += bytes;
        }
    }
}

impl Segment {
    /// What it begins with, and all of its messages.
    fn all(&self) -> impl DoubleEndedIterator<Item = &Message<'static>> + Clone {
        self.beginning.iter().chain(self.messages.iter().map(|kept| &kept.message))
    }
}

/// What a recording that begins after the messages of `ledger` has to begin with, as if somebody began to read the guest then: the latest tables among
/// what came `before`, where each ring stands, and with what later values are compared.
pub(super) fn beginning<'a>(
    ledger: &Ledger,
    before: impl DoubleEndedIterator<Item = &'a Message<'static>> + Clone,
    at: HostTime,
) -> Vec<Message<'static>> {
    let latest = |is_of: fn(&Body<'_>) -> bool| before.clone().rfind(|message| is_of(&message.body)).cloned();
    let Some(region) = latest(|body| matches!(body, Body::Region { .. })) else { return Vec::new() };
    let session = region.session;
    let rings =
        ledger.beginnings().map(|(counters, _)| Message { at, session, body: Body::Counters(counters) });
    let mut all = vec![region];
    all.extend(rings);
    all.extend(latest(|body| matches!(body, Body::Histograms(_))));
    all.extend(latest(|body| matches!(body, Body::Network(_))));
    all
}

/// What a message takes, about.
fn bytes(message: &Message<'_>) -> usize {
    size_of::<Kept>()
        + match &message.body {
            Body::Region { bytes, .. } | Body::Console { bytes, .. } | Body::End(bytes) => bytes.len(),
            Body::Block { words, .. }
            | Body::Histograms(words)
            | Body::Heap(words)
            | Body::Network(words) => words.len() * 8,
            Body::Counters(counters) => counters.slots.len() * 8,
            Body::Clock(_) => 0,
        }
}
