//! A part of what was kept, as a recording of its own.
//!
//! ```text
//!   kept      ────────────────────────────────────────────────►
//!   file             │tables│counters│heap│ messages │counters│
//!                    from ^                          ^ until
//! ```
//!
//! It begins as if somebody had begun to read the guest then, and ends as if they had ended: nothing before and after counts as lost.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use uniprof_collector::clock::HostTime;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_collector::recording::{Body, Message, RecordingFile, RingCounters, RingId, SessionInfo};
use uniprof_wire::record::Record;
use uniprof_wire::tables::HeapEntry;

use super::heap::{Heap, Step, allocated};
use super::keep::{Keep, Kept, beginning};

/// How much later than the last a message may come that has records of before: one round of all rings, on a machine with much to do.
const ROUND_NS: u64 = 500_000_000;

/// Which part, and what it is told with.
pub(super) struct Cut<'a> {
    /// By the guest's clock; to `u64::MAX` where it goes on to the last that came.
    pub(super) window: Range<u64>,
    /// What the guest counts now, or counted at its end, where that can be seen.
    pub(super) closing: &'a [RingCounters<'static>],
    pub(super) heap: &'a Heap,
    pub(super) session: SessionInfo,
    /// Names and contents of images.
    pub(super) symbols: Vec<(String, Vec<u8>)>,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) bytes: u64,
    /// The latest that was known of the guest's clock before the first message, and after the last.
    pub(super) from: u64,
    pub(super) until: u64,
}

/// Where a part begins.
struct Start<'a> {
    /// The account of all before.
    ledger: Ledger,
    /// What the recording begins with; empty where that is among the messages.
    beginning: Vec<Message<'static>>,
    messages: Vec<&'a Kept>,
    at: HostTime,
    /// The latest that was known of the guest's clock.
    now: u64,
}

impl Start<'_> {
    /// Where the first message comes that has records from `from` on.
    fn find(keep: &Keep, from: u64) -> Option<Start<'_>> {
        let is_in = |kept: &Kept| kept.now >= from;
        let first = keep.segments.iter().position(|segment| segment.messages.last().is_some_and(is_in))?;
        let messages = keep.segments.range(first..).flat_map(|segment| &segment.messages);
        let (skipped, messages): (Vec<&Kept>, Vec<&Kept>) = messages.partition(|kept| !is_in(kept));
        let before = keep.segments[first].beginning.iter().chain(skipped.iter().map(|kept| &kept.message));
        let mut ledger = Ledger::new();
        before.clone().for_each(|message| ledger.feed(message, |_, _| {}));
        let at = before.clone().next_back().or(messages.first().map(|kept| &kept.message))?.at;
        let now = skipped.last().or(messages.first())?.now;
        Some(Start { beginning: beginning(&ledger, before, at), ledger, messages, at, now })
    }
}

impl Cut<'_> {
    /// Writes the part of `keep`.
    pub(super) fn write(mut self, keep: &Keep, path: &Path) -> anyhow::Result<Written> {
        let start = Start::find(keep, self.window.start);
        let Some(start) = start.filter(|start| start.messages[0].now.min(start.now) < self.window.end) else {
            anyhow::bail!("no record is kept any more of the time that is seen");
        };
        self.session.started_ns = start.at.realtime_ns;
        let mut file = RecordingFile::create(path, &self.session)?;
        for (name, packed) in &self.symbols {
            file.attach(name, crate::attachment::MEDIA_TYPE, packed, start.at.realtime_ns)?;
        }
        for message in &start.beginning {
            file.write(message)?;
        }
        let mut written = Written { bytes: 0, from: start.now, until: start.now };
        self.messages(keep, start, &mut file, &mut written)?;
        written.bytes = file.finish()?;
        Ok(written)
    }

    /// Writes what follows on the beginning.
    fn messages(
        &self,
        keep: &Keep,
        start: Start<'_>,
        file: &mut RecordingFile,
        written: &mut Written,
    ) -> anyhow::Result<()> {
        let Start { mut ledger, beginning, messages, mut at, .. } = start;
        let until = self.window.end;
        let is_whole = beginning.is_empty();
        let mut session = 0;
        // What lives is known from some moment on, which may be later.
        let mut heap = (!is_whole && !self.heap.is_empty()).then_some(self.heap);
        let mut full: Option<u64> = None;
        for Kept { message, now } in messages {
            session = message.session;
            if let Some(heap) = heap.take_if(|heap| heap.begin() <= written.until) {
                let body = Body::Heap(living(heap, written.until).to_words().into());
                file.write(&Message { at, session, body })?;
            }
            // The rings are read one after the other: others may have records of the same time.
            match full {
                Some(full) if message.at.monotonic_ns > full.saturating_add(ROUND_NS) => break,
                Some(_) if !begins_before(&ledger, message, until) => continue,
                _ => {}
            }
            if matches!(&message.body, Body::Counters(counters) if counters.last) {
                continue;
            }
            ledger.feed(message, |_, _| {});
            file.write(message)?;
            (at, written.until) = (message.at, written.until.max(*now));
            if *now >= until {
                full = full.or(Some(at.monotonic_ns));
            }
        }
        for counters in self.ends(keep, &ledger, is_whole) {
            file.write(&Message { at, session, body: Body::Counters(counters) })?;
        }
        file.write(&Message { at, session, body: Body::End(br#"{"reason":"saved"}"#[..].into()) })?;
        Ok(())
    }

    /// Where the account of each ring ends. A ring of which it is not known what was lost at its end, or what was refused meanwhile, has none.
    fn ends(&self, keep: &Keep, ledger: &Ledger, is_whole: bool) -> Vec<RingCounters<'static>> {
        let kept = keep.segments.iter().flat_map(|segment| &segment.messages);
        let told = kept.filter_map(|kept| match &kept.message.body {
            Body::Counters(counters) if counters.last => Some(counters),
            _ => None,
        });
        let closing: BTreeMap<RingId, &RingCounters<'static>> =
            told.chain(self.closing).map(|counters| (counters.ring, counters)).collect();
        let end = |(here, is_read): (RingCounters<'static>, bool)| {
            let closing = *closing.get(&here.ring)?;
            let is_refused = closing.refused != here.refused;
            match self.window.end {
                u64::MAX => (is_whole || !is_refused).then(|| closing.clone()),
                _ => (is_read && !is_refused).then_some(RingCounters { last: true, ..here }),
            }
        };
        ledger.beginnings().filter_map(end).collect()
    }
}

/// Whether it is a block whose first record is of before a moment.
fn begins_before(ledger: &Ledger, block: &Message<'_>, moment: u64) -> bool {
    let mut first = None;
    ledger.clone().feed(block, |_, record| {
        first.get_or_insert(record.tsc());
    });
    first.is_some_and(|tsc| tsc < moment)
}

/// The blocks that lived at a moment.
fn living(heap: &Heap, end: u64) -> LiveBlocks {
    let mut blocks: BTreeMap<u64, HeapEntry> = BTreeMap::new();
    let mut freed: HashMap<u64, u64> = HashMap::new();
    heap.until(end, |step| match step {
        Step::Look(look) => {
            blocks = look.entries.iter().map(|entry| (entry.address.0, *entry)).collect();
            freed.clear();
        }
        Step::Record(_, Record::Allocation(block)) => {
            let entry = allocated(block);
            let known = blocks.entry(block.address.0).or_insert(entry);
            if known.tsc < entry.tsc {
                *known = entry;
            }
        }
        Step::Record(_, Record::Free(free)) => {
            let last = freed.entry(free.address.0).or_default();
            *last = free.tsc.max(*last);
        }
        Step::Record(..) => {}
    });
    blocks.retain(|address, entry| freed.get(address).is_none_or(|freed| *freed < entry.tsc));
    LiveBlocks { entries: blocks.into_values().collect(), torn: 0 }
}

#[cfg(test)]
mod tests {
    use uniprof_collector::recording::Item;
    use uniprof_wire::address::GuestVirtual;
    use uniprof_wire::record::{AllocationRecord, Callers, FreeRecord, WalkEnd};

    use super::*;
    use crate::input::Input;
    use crate::monitor::model::Model;
    use crate::options;
    use crate::profile::images::Images;
    use crate::profile::{self, Source, Times};

    /// The embedded recording, as if its guest ran, with so much room.
    fn watched(room: usize) -> Model {
        let mut model = Model::new(profile::head(&Input::Sample).unwrap().session, Images::default());
        model.keep = Some(Keep::with_room(room));
        let mut source = Source::open(&Input::Sample).unwrap();
        while let Some(item) = source.next().unwrap() {
            if let Item::Message(message) = item {
                model.feed(&message);
            }
        }
        model
    }

    fn write(model: &Model, window: Range<u64>, path: &Path) -> anyhow::Result<Written> {
        let session = model.session.clone();
        let heap = &model.seen.waits.heap;
        let cut = Cut { window, closing: &[], heap, session, symbols: Vec::new() };
        cut.write(model.keep.as_ref().unwrap(), path)
    }

    /// The times of all records but those of threads' names, which a guest may write at any time; and the account.
    fn records(input: &Input) -> (Vec<u64>, Ledger) {
        let (mut ledger, mut all) = (Ledger::new(), Vec::new());
        let mut source = Source::open(input).unwrap();
        while let Some(item) = source.next().unwrap() {
            match item {
                Item::Message(message) => ledger.feed(&message, |_, record| all.push(record.tsc())),
                Item::Gap => panic!("something is missing"),
                Item::Session(_) | Item::Attachment(_) => {}
            }
        }
        assert!(source.damage().is_empty(), "{:?}", source.damage());
        (all, ledger)
    }

    #[test]
    fn what_is_saved_has_the_records_of_its_time_and_nothing_counts_as_lost() {
        let (all, whole) = records(&Input::Sample);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part.uniprof");
        let file = Input::File(path.clone());
        for room in [64 << 20, 640 << 10] {
            let model = watched(room);
            let clock = model.seen.clock;
            let end = clock.seconds(clock.now);
            let keep = model.keep.as_ref().unwrap();
            let kept = clock.seconds(keep.segments[0].messages[0].now);
            assert_eq!(keep.segments[0].beginning.is_empty(), room == 64 << 20, "some of it was dropped");
            let begin = kept.max(end - 1.0);
            for (from, until) in [(0.0, 1.0), (0.4, 1.0), (0.2, 0.7), (0.7, 0.8)] {
                let moment = |share: f64| clock.tsc(begin + (end - begin) * share);
                let window = moment(from)..if until < 1.0 { moment(until) } else { u64::MAX };
                write(&model, window.clone(), &path).unwrap();
                let (part, ledger) = records(&file);
                let count = |all: &[u64]| all.iter().filter(|tsc| window.contains(tsc)).count();
                assert_eq!(count(&part), count(&all), "{from} to {until} of {room}");
                let round = clock.tsc_hz / 4;
                let around = window.start.saturating_sub(round)..window.end.saturating_add(round);
                assert!(part.iter().all(|tsc| around.contains(tsc)), "{from} to {until} of {room}");
                let (total, most) = (ledger.total(), whole.total());
                assert_eq!((total.lost(), total.inconsistent), (0, 0), "{total:?} of {most:?}");
                assert_eq!(ledger.unsettled().count(), 0, "{from} to {until} of {room}");
                let read = profile::read(&file, &options::Symbols::default(), Times::Summed).unwrap();
                assert_eq!(read.figures.notes, [""; 0]);
            }
        }
    }

    #[test]
    fn what_is_seen_of_a_time_that_is_over_is_kept_before_all_else() {
        let mut keep = Keep::with_room(6 << 20);
        keep.see(Some(10..12));
        let words = vec![0; (1 << 20) / 8];
        for now in 0..100 {
            keep.make_room(&Ledger::new());
            let body = Body::Histograms(words.as_slice().into());
            keep.take(&Message { at: HostTime::default(), session: 0, body }, now);
            keep.take(
                &Message { at: HostTime::default(), session: 0, body: Body::Heap(Vec::new().into()) },
                now,
            );
        }
        let kept = keep.segments.iter().flat_map(|segment| &segment.messages).map(|kept| kept.now);
        let mut kept: Vec<u64> = kept.collect();
        kept.dedup();
        assert!(kept.len() <= 8 && [10, 11, 99].iter().all(|now| kept.contains(now)), "{kept:?}");
    }

    #[test]
    fn what_is_not_kept_any_more_is_not_saved() {
        let model = watched(640 << 10);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part.uniprof");
        let first = model.keep.as_ref().unwrap().segments[0].messages[0].now;
        let error = write(&model, 0..first, &path).unwrap_err();
        assert!(error.to_string().contains("no record is kept"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn blocks_that_lived_when_it_begins_come_first() {
        let mut model = watched(64 << 20);
        let clock = model.seen.clock;
        let now = clock.now;
        let callers = Callers { end: WalkEnd::Root, frames: &[7] };
        for (number, address) in [0x1000, 0x2000].map(GuestVirtual).into_iter().enumerate() {
            let tsc = now - clock.tsc_hz + number as u64;
            let record = AllocationRecord { tsc, thread: 1, address, bytes: 8, weight: 100, callers };
            model.record(0, &Record::Allocation(record));
        }
        let free = FreeRecord {
            tsc: now - clock.tsc_hz / 2,
            thread: 1,
            address: GuestVirtual(0x1000),
            bytes: 8,
            weight: 100,
        };
        model.record(0, &Record::Free(free));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part.uniprof");
        write(&model, now - clock.tsc_hz / 4..u64::MAX, &path).unwrap();
        let mut source = Source::open(&Input::File(path)).unwrap();
        let mut begun = false;
        let blocks = loop {
            let Some(Item::Message(message)) =
                source.next().unwrap().filter(|item| !matches!(item, Item::Session(_)))
            else {
                continue;
            };
            match message.body {
                Body::Heap(words) => break LiveBlocks::from_words(&words),
                body => begun |= matches!(body, Body::Block { .. }),
            }
        };
        assert!(!begun);
        let told: Vec<_> = blocks.entries.iter().map(|entry| (entry.address.0, entry.weight)).collect();
        assert_eq!(told, [(0x2000, 100)]);
    }
}
