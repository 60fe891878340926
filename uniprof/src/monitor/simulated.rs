//! A guest that is only simulated: minutes of records at a known rate, fed into the model as fast as it takes them, and what that costs.
//!
//! ```text
//! $ cargo test --release -p uniprof simulated -- --ignored --nocapture
//! ```
//!
//! The share of a core is that of the thread which feeds and draws, at these rates, with as many pictures as it makes in earnest; what simulating costs is in it.
//!
//! Memory is what the kernel counts as resident, so each measurement is made by a process of its own: this test program, started again for one
//! test. A small one belongs to every test run; those with ten minutes of guest time are asked for by name, in a release build.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant};

use uniprof_collector::clock::HostTime;
use uniprof_collector::recording::{Body, ClockPair, Message, RecordingFile, RingId, SessionInfo};
use uniprof_tui::picture::{Shown, Span};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::{RegionHeader, RingKind};
use uniprof_wire::record::{
    AllocationRecord, CallRecord, Callers, EventRecord, LockKind, LockWaitRecord, ParkRecord, Record,
    ResumeRecord, SampleRecord, SpanEndRecord, SwitchReason, WalkEnd,
};
use uniprof_wire::ring::{Block, Source, Writer, read_block};
use uniprof_wire::tables::{ThreadEntry, ThreadState, WaitKind};

use super::cost::{cpu_time, resident};
use super::engine::pause_after;
use super::keep::Keep;
use super::model::Model;
use super::source::Replay;
use super::span::KEPT_SECONDS;
use super::tests::{drawn, header};
use crate::config::Config;
use crate::input::Input;
use crate::options;
use crate::profile;
use crate::profile::images::Images;

const VCPUS: u16 = 2;
const RATE: u64 = 999;
const EVENTS: u64 = 50_000;
const HZ: u64 = 1_000_000_000;
/// How much guest time is written before it is read, as parts of a second.
const STEPS: u64 = 8;
const FRAMES: usize = 16;
/// Bytes of code that are executed.
const HOT: u64 = 64 << 10;
/// Bytes of code for each call.
const CALL: u64 = 32;
const THREADS: u32 = 24;
const SITES: u64 = 20;
/// What the model and its pictures may take when everything is full at once, this program with its kernel's symbols included: 100 MB.
const MOST: u64 = 95 << 20;

/// xorshift64: the same guest in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Between 256 ns and 16 ms, as many of each power of two.
    fn duration(&mut self) -> u64 {
        let power = 8 + self.below(16);
        (1 << power) + self.below(1 << power)
    }
}

/// One ring, written and read here.
struct Ring {
    id: RingId,
    words: Vec<Cell<u64>>,
    position: u64,
}

/// A guest of two vCPUs.
struct Simulated {
    header: RegionHeader,
    rings: Vec<Ring>,
    random: Random,
    /// Distinct stacks.
    stacks: u64,
    text: Range<u64>,
    events: u64,
    step: u64,
    records: u64,
    block: Vec<u64>,
}

impl Simulated {
    fn new(text: Range<u64>, stacks: u64, events: u64) -> Self {
        let header = header(HZ, 7);
        let geometry = header.geometry.ring();
        let ids = (0..VCPUS).flat_map(|vcpu| RingKind::ALL.map(|kind| RingId { vcpu, kind }));
        let rings = ids.map(|id| {
            let words = vec![Cell::new(0); geometry.total_words()];
            Writer::new(&words[..], geometry, header.salt()).format();
            Ring { id, words, position: 0 }
        });
        let random = Random(0x9e37_79b9_7f4a_7c15);
        let block = vec![0; geometry.sub_buffer_words()];
        Self { rings: rings.collect(), header, random, stacks, text, events, step: 0, records: 0, block }
    }

    fn now(&self) -> u64 {
        (self.step + 1) * HZ / STEPS
    }

    /// A part of a second.
    fn step(&mut self, take: &mut impl FnMut(&Message<'_>)) {
        let at = HostTime { monotonic_ns: self.now() + HZ, realtime_ns: self.now() };
        let mut feed = |body: Body<'_>| take(&Message { at, session: 0, body });
        if self.step.is_multiple_of(STEPS / 2) {
            feed(self.tables());
        }
        feed(Body::Clock(ClockPair { tsc: self.now(), uncertainty_ns: 1000 }));
        for index in 0..self.rings.len() {
            let (rate, kind) = match self.rings[index].id.kind {
                RingKind::Core => (RATE, RingKind::Core),
                RingKind::Events => (self.events / u64::from(VCPUS), RingKind::Events),
            };
            let count = rate * (self.step + 1) / STEPS - rate * self.step / STEPS;
            for number in 0..count {
                let tsc = self.step * HZ / STEPS + number * HZ / STEPS / count;
                self.write(index, kind, tsc);
                // Before a ring is full.
                if number % 256 == 255 {
                    self.read(index, &mut feed);
                }
            }
            self.read(index, &mut feed);
        }
        self.step += 1;
    }

    fn write(&mut self, index: usize, kind: RingKind, tsc: u64) {
        self.records += 1;
        let mut frames = [0; FRAMES];
        let thread = 1 + self.random.below(THREADS.into()) as u32;
        if kind == RingKind::Core {
            self.stack(&mut frames);
        } else {
            let shape = self.random.below(40);
            frames.iter_mut().zip(1..).for_each(|(frame, n)| *frame = self.text.start + shape * 64 + n * 512);
        }
        let ring = &self.rings[index];
        let writer = Writer::new(&ring.words[..], self.header.geometry.ring(), self.header.salt());
        let record = match kind {
            RingKind::Core => sample(tsc, thread, &frames),
            RingKind::Events => other(tsc, thread, &frames[..8], &mut self.random),
        };
        writer.write_record(&record).expect("nothing is in the way");
    }

    /// Of a call tree in which each function has three callees, in the kernel's own code.
    fn stack(&mut self, frames: &mut [u64; FRAMES]) {
        let mut choices = self.random.below(self.stacks);
        let mut way = 1;
        for frame in frames.iter_mut().rev() {
            way = way * 4 + choices % 4;
            choices /= 4;
            *frame = self.text.start
                + way.wrapping_mul(0x9e37_79b1) % ((self.text.end - self.text.start) / CALL) * CALL;
        }
    }

    fn read(&mut self, index: usize, feed: &mut impl FnMut(Body<'_>)) {
        let Ring { id, words, position } = &mut self.rings[index];
        let geometry = self.header.geometry.ring();
        while let Block::Copied { start, end, sealed } =
            read_block(&&words[..], geometry, Source::Live, *position, &mut self.block)
        {
            let words = Cow::Borrowed(&self.block[..(end - start) as usize]);
            feed(Body::Block { ring: *id, start, sealed, words });
            *position = end;
        }
    }

    fn tables(&mut self) -> Body<'static> {
        let mut words = vec![0; self.header.geometry.tables_bytes() / 8];
        words[..self.header.to_words().len()].copy_from_slice(&self.header.to_words());
        for vcpu in 0..usize::from(VCPUS) {
            let at = (self.header.geometry.vcpu_table() / 8) + vcpu * uniprof_wire::tables::VCPU_WORDS;
            (words[at], words[at + 1]) = (self.now(), 1);
        }
        for id in 1..=THREADS {
            let entry = ThreadEntry {
                id,
                state: if id <= VCPUS.into() { ThreadState::Running } else { ThreadState::Blocked },
                cpu_time: self.now() / 2,
                ..ThreadEntry::default()
            };
            let at = self.header.geometry.thread_table() / 8
                + (id as usize - 1) * uniprof_wire::tables::THREAD_WORDS;
            words[at] = 2;
            let entry = entry.to_words();
            words[at + 1..at + 1 + entry.len()].copy_from_slice(&entry);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Body::Region { at: GuestPhysical(0), bytes: bytes.into() }
    }
}

fn sample(tsc: u64, thread: u32, frames: &[u64]) -> Record<'_> {
    Record::Sample(SampleRecord {
        tsc,
        thread,
        rip: frames[0],
        rsp: 0x7000,
        rbp: 0x7100,
        weight: HZ / RATE,
        missed: 0,
        end: WalkEnd::Root,
        stack: &[],
        frames,
    })
}

/// What a guest records besides, each as often as a server might.
fn other<'a>(tsc: u64, thread: u32, frames: &'a [u64], random: &mut Random) -> Record<'a> {
    let site = (random.below(SITES) * 8) as u32;
    let begin = tsc.saturating_sub(random.duration()).max(1);
    let callers = Callers { end: WalkEnd::Root, frames };
    match random.below(20) {
        0..4 => Record::Event(EventRecord { tsc, site, thread, args: &frames[..2] }),
        4..10 => Record::SpanEnd(SpanEndRecord { tsc, site, thread, begin, begun_on: 0 }),
        10..14 => Record::Call(CallRecord { tsc, site, thread, begin, args: &frames[..2] }),
        14 | 15 => Record::Park(ParkRecord {
            tsc,
            thread,
            reason: SwitchReason::Blocked,
            wait: WaitKind::Event,
            waits_for: GuestVirtual(frames[0]),
            waits_on: 0,
            callers,
        }),
        16 => Record::Resume(ResumeRecord {
            tsc,
            thread,
            reason: SwitchReason::Blocked,
            parked: begin,
            woken: begin,
            waker: 1,
            callers,
        }),
        17 => Record::LockWait(LockWaitRecord {
            tsc,
            thread,
            kind: LockKind::Blocking,
            lock: GuestVirtual(0x40_0000 + u64::from(site)),
            begin,
            owner: 1,
            callers,
        }),
        _ => Record::Allocation(AllocationRecord {
            tsc,
            thread,
            address: GuestVirtual(0x100_0000 + random.below(1 << 20) * 16),
            bytes: 64,
            weight: 64,
            callers,
        }),
    }
}

/// The kernel of the embedded recording, and where the part of its code lies that is executed. (What debug information says of the rest is never read.)
fn kernel() -> (Images, Range<u64>) {
    let head = profile::head(&Input::Sample).unwrap();
    let images = profile::find_images(&head, &options::Symbols::default(), &Config::default()).unwrap();
    let (_, symbolizer) = images.symbolizers().next().unwrap();
    let text = symbolizer.image().executable_ranges().into_iter().max_by_key(|range| range.end - range.start);
    let text = text.unwrap();
    (images, text.start..text.end.min(text.start + HOT))
}

/// Whether this is the process that is to measure. If not, that has run when this returns.
fn is_alone(test: &str) -> bool {
    const MARK: &str = "UNIPROF_SIMULATED";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let words = ["--exact", test, "--include-ignored", "--nocapture"];
    let status = Command::new(std::env::current_exe().unwrap()).args(words).env(MARK, "1").status();
    assert!(status.unwrap().success(), "{test}");
    false
}

/// What a run came to.
struct Cost {
    /// Bytes that were resident before anything came, and at the end of each second of the guest's.
    before: u64,
    resident: Vec<u64>,
    distinct: usize,
    /// Time of a CPU.
    per_record: Duration,
    /// The most that one picture took, and all of them, of that many.
    picture: Duration,
    pictures: Duration,
    drawn: u32,
    /// Of a core, with the pictures that the engine makes.
    share: f64,
}

/// Of so many seconds, each `every`th of which is looked at.
fn cost(stacks: u64, events: u64, seconds: u64, every: u64) -> Cost {
    let (images, text) = kernel();
    let mut guest = Simulated::new(text, stacks, events);
    let mut model = Model::new(SessionInfo::default(), images);
    model.keep = Some(Keep::default());
    let mut cost = Cost {
        before: resident().unwrap(),
        resident: Vec::new(),
        distinct: 0,
        per_record: Duration::ZERO,
        picture: Duration::ZERO,
        pictures: Duration::ZERO,
        drawn: 0,
        share: 0.0,
    };
    let mut fed = Duration::ZERO;
    // Who looks has the last picture while the next is made.
    let mut seen = Vec::new();
    for second in 0..seconds {
        let begin = cpu_time();
        (0..STEPS).for_each(|_| guest.step(&mut |message| model.feed(message)));
        fed += cpu_time() - begin;
        let spans = [Span::All, Span::Last(10.0), Span::Decay(10.0), Span::Last(1.0)];
        cost.resident.push(resident().unwrap());
        if second % every != 0 {
            continue;
        }
        let begin = cpu_time();
        seen.push(drawn(&mut model, spans[(second / every) as usize % spans.len()], Shown::Now));
        let took = cpu_time() - begin;
        cost.picture = cost.picture.max(took);
        cost.pictures += took;
        cost.drawn += 1;
        if seen.len() > 2 {
            seen.remove(0);
        }
    }
    assert_eq!(model.ledger.total().received, guest.records, "every record has come");
    let picture = cost.pictures / cost.drawn;
    let between = pause_after(picture) + picture;
    cost.share = fed.as_secs_f64() / seconds as f64 + picture.as_secs_f64() / between.as_secs_f64();
    cost.per_record = fed / u32::try_from(guest.records).unwrap();
    cost.distinct = model.seen.stacks.distinct();
    cost
}

impl Cost {
    fn print(&self, what: &str) {
        let mb =
            |second: usize| self.resident[second.min(self.resident.len()) - 1] as f64 / f64::from(1 << 20);
        println!(
            "{what}: {} stacks told apart, {:?} a record, a picture {:?} at most, {:?} on average, {:.1} % of a core; MiB before, after 10, 25, 60, 300, 330, 600 s: {:.1} {:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
            self.distinct,
            self.per_record,
            self.picture,
            self.pictures / self.drawn,
            self.share * 100.0,
            self.before as f64 / f64::from(1 << 20),
            mb(10),
            mb(25),
            mb(60),
            mb(300),
            mb(330),
            mb(600)
        );
    }

    /// Once the window is full, nothing grows any more.
    fn is_bounded(&self) {
        let full = self.resident[KEPT_SECONDS..KEPT_SECONDS + 30].iter().max().unwrap();
        let after = self.resident[KEPT_SECONDS + 30..].iter().max().unwrap();
        assert!(*after <= full + full / 16, "it goes on growing: {after} after {full}");
        assert!(*after <= MOST, "{after} bytes are resident");
    }
}

#[test]
fn memory_stays_when_the_window_is_full() {
    if is_alone("monitor::simulated::memory_stays_when_the_window_is_full") {
        let cost = cost(2_000, 500, KEPT_SECONDS as u64 + 60, 10);
        cost.print("a guest that does little");
        cost.is_bounded();
    }
}

#[test]
#[ignore = "30 million records: for a release build"]
fn ten_minutes_of_fifty_thousand_events_a_second() {
    if is_alone("monitor::simulated::ten_minutes_of_fifty_thousand_events_a_second") {
        let cost = cost(10_000, EVENTS, 600, 1);
        cost.print("2 x 999 samples, 50,000 events a second, 10,000 stacks");
        cost.is_bounded();
    }
}

#[test]
#[ignore = "30 million records: for a release build"]
fn a_million_stacks() {
    if is_alone("monitor::simulated::a_million_stacks") {
        let many = cost(u64::MAX, EVENTS, 600, 1);
        many.print("1.2 million stacks");
        many.is_bounded();
        // What the first leaves behind in memory is not looked at.
        let few = cost(1_000, EVENTS, 60, 1);
        few.print("1,000 stacks");
        assert!(
            many.per_record <= few.per_record * 4,
            "{:?} a record after {:?}",
            many.per_record,
            few.per_record
        );
        // A picture is made at most every twelve times as long as it takes.
        assert!(
            many.picture <= few.picture * 50,
            "a picture takes {:?} after {:?}",
            many.picture,
            few.picture
        );
    }
}

/// How long a key waits while a long recording is read anew, and how long it takes until its moment is there.
#[test]
#[ignore = "a recording of 400 MB: for a release build"]
fn steps_in_a_long_recording() {
    let (images, text) = kernel();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.uniprof");
    let session = SessionInfo { guest: "long".into(), tsc_hz: HZ, ..SessionInfo::default() };
    let mut file = RecordingFile::create(&path, &session).unwrap();
    let mut guest = Simulated::new(text, 2_000, EVENTS);
    (0..120 * STEPS).for_each(|_| guest.step(&mut |message| file.write(message).unwrap()));
    let bytes = file.finish().unwrap();
    let mut model = Model::new(session, images);
    let mut replay = Replay::open(&Input::File(path)).unwrap();
    replay.set_speed(0.0);
    let mut go = |what: &str, at: Option<f64>| {
        let (begin, mut slice) = (Instant::now(), Duration::ZERO);
        replay.seek(at, &mut model).unwrap();
        loop {
            let begin = Instant::now();
            let pause = replay.step(&mut model).unwrap();
            slice = slice.max(begin.elapsed());
            if pause > Duration::ZERO {
                break;
            }
        }
        let took = begin.elapsed();
        let range = replay.range();
        println!("{what}: {took:?}, a key waits {slice:?} at most");
        (range, took)
    };
    println!("{} MB, {} records", bytes / 1_000_000, guest.records);
    let ((first, last), all) = go("to the end", None);
    let mut most = Duration::ZERO;
    for back in [1.0, 2.0, 3.0, 13.0, 60.0, 61.0, 5.0, 1.0] {
        most = most.max(go(&format!("{back} s before the end"), Some((last - back).max(first))).1);
    }
    println!("{most:?} at most, {all:?} for the whole");
    assert!(most <= all / 2, "{most:?} of {all:?}");
}
