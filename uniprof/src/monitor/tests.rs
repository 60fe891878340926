//! The engine over the embedded recording, and the model over messages that no honest guest sends.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use proptest::prelude::*;
use uniprof_collector::cancel::Cancel;
use uniprof_collector::clock::HostTime;
use uniprof_collector::live_blocks::LiveBlocks;
use uniprof_collector::recording::{Body, ClockPair, Message, RingCounters, RingId, SessionInfo};
use uniprof_flamegraph::Measured;
use uniprof_tui::picture::{Can, Listing};
use uniprof_tui::picture::{Fate, Kind, Picture, Shown, Span, Subject};
use uniprof_tui::{Answer, Pane, Request, SaveAs, Seen};
use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::{Architecture, Geometry, RegionHeader, RingKind};
use uniprof_wire::record::{
    AllocationRecord, CLASSES, Callers, EventRecord, FreeRecord, Record, SampleRecord, WalkEnd,
};
use uniprof_wire::tables::{HeapCallers, HeapEntry};
use uniprof_wire::text::FixedText;

use super::model::Model;
use super::picture::{Around, Wanted, picture};
use super::{Engine, Options};
use crate::input::Input;
use crate::options;
use crate::profile::images::Images;

const FUNCTIONS: Seen = Seen { pane: Pane::Functions, measured: Measured::Cpu };

/// Longer than anything here takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

fn subject() -> Arc<Subject> {
    Arc::new(Subject {
        name: "test".into(),
        kind: Kind::Live,
        pid: None,
        kernel: String::new(),
        build_id: None,
        transport: String::new(),
        accelerator: None,
        symbols: Err(String::new()),
        memory_bytes: None,
        can: Can { control: Ok(()), core: Ok(()) },
    })
}

pub(super) fn drawn(model: &mut Model, span: Span, shown: Shown) -> Picture {
    drawn_of(Kind::Live, model, span, shown)
}

fn drawn_of(kind: Kind, model: &mut Model, span: Span, shown: Shown) -> Picture {
    let around = Around {
        subject: Arc::new(Subject { kind, ..(*subject()).clone() }),
        fate: Fate::Runs,
        runs: true,
        speed: 1.0,
        range: None,
        collector: None,
        switches: Arc::from([]),
        notes: Vec::new(),
        inside: None,
    };
    picture(model, Wanted { span, shown }, around, 1)
}

pub(super) fn header(hz: u64, boot_id: u64) -> RegionHeader {
    RegionHeader {
        architecture: Architecture::X86_64,
        boot_id,
        region_gpa: GuestPhysical(0),
        region_gva: GuestVirtual(0),
        geometry: Geometry::with_ring_bytes(2, 64 << 10).unwrap(),
        tsc_hz: hz,
        boot_tsc: 0,
        boot_wall_ns: 0,
        sites: (GuestVirtual(0), GuestVirtual(0)),
        name: FixedText::new(b"test"),
    }
}

fn region(hz: u64, boot_id: u64, heartbeat: u64) -> Body<'static> {
    let header = header(hz, boot_id);
    let mut words = vec![0_u64; header.geometry.tables_bytes() / 8];
    words[..header.to_words().len()].copy_from_slice(&header.to_words());
    let vcpu = header.geometry.vcpu_table() / 8;
    (words[vcpu], words[vcpu + 1]) = (heartbeat, 1);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Body::Region { at: GuestPhysical(0), bytes: bytes.into() }
}

fn message(body: Body<'static>) -> Message<'static> {
    Message { at: HostTime::default(), session: 0, body }
}

fn arbitrary_body() -> impl Strategy<Value = Body<'static>> {
    let time = prop_oneof![any::<u64>(), 0u64..10_000_000_000];
    let words = proptest::collection::vec(any::<u64>(), 0..40);
    prop_oneof![
        (prop_oneof![Just(0), Just(1), Just(1_000_000_000), any::<u64>()], 0u64..3, time.clone())
            .prop_map(|(hz, boot, heartbeat)| region(hz, boot, heartbeat)),
        (time.clone(), any::<u64>())
            .prop_map(|(tsc, uncertainty_ns)| Body::Clock(ClockPair { tsc, uncertainty_ns })),
        (0u16..3, any::<u64>(), words.clone()).prop_map(|(vcpu, start, words)| Body::Block {
            ring: RingId { vcpu, kind: RingKind::Core },
            start,
            sealed: None,
            words: words.into(),
        }),
        (0u16..3, any::<u64>(), any::<bool>()).prop_map(|(vcpu, head, last)| Body::Counters(RingCounters {
            ring: RingId { vcpu, kind: RingKind::Events },
            head,
            last,
            refused: [7; CLASSES],
            slots: Cow::Owned(vec![3; CLASSES * 4]),
        })),
        words.clone().prop_map(|words| Body::Heap(words.into())),
        words.prop_map(|words| Body::Histograms(words.into())),
    ]
}

proptest! {
    #[test]
    fn no_messages_break_the_model(
        bodies in proptest::collection::vec(arbitrary_body(), 1..30),
        records in proptest::collection::vec((any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()), 0..60),
        at in any::<f64>(),
    ) {
        let mut model = Model::new(SessionInfo::default(), Images::default());
        for body in bodies {
            model.feed(&message(body));
        }
        for (tsc, site, thread, frame) in records {
            // As the ledger hands them out: whole, whatever they say.
            let sample = SampleRecord {
                tsc, thread, rip: frame, rsp: 0, rbp: 0, weight: tsc, missed: 1, end: WalkEnd::Root, stack: &[], frames: &[frame, 1],
            };
            model.record(site, &Record::Sample(sample));
            model.record(site, &Record::Event(EventRecord { tsc, site, thread, args: &[frame] }));
        }
        for span in [Span::All, Span::Last(at), Span::Decay(at), Span::Last(1.0)] {
            for shown in [Shown::Now, Shown::At(at), Shown::At(3.0)] {
                let drawn = drawn(&mut model, span, shown);
                prop_assert!(drawn.overview.history.len() <= 60);
                prop_assert!(drawn.overview.vcpus.iter().all(|vcpu| (0.0..=1.0).contains(&vcpu.busy)));
            }
        }
    }
}

#[test]
fn a_guest_that_boots_anew_begins_anew() {
    let mut model = Model::new(SessionInfo::default(), Images::default());
    model.feed(&message(region(1_000_000_000, 5, 3_000_000_000)));
    let sample = SampleRecord {
        tsc: 3_100_000_000,
        thread: 1,
        rip: 1,
        rsp: 0,
        rbp: 0,
        weight: 5,
        missed: 0,
        end: WalkEnd::Root,
        stack: &[],
        frames: &[],
    };
    model.record(0, &Record::Sample(sample));
    assert_eq!(drawn(&mut model, Span::All, Shown::Now).overview.samples, 1);
    model.feed(&message(region(1_000_000_000, 6, 10_000_000)));
    let drawn = drawn(&mut model, Span::All, Shown::Now);
    assert_eq!((drawn.overview.samples, drawn.time.at), (0, 0.01));
}

#[test]
fn what_has_ended_is_not_told_to_record_and_what_is_not_known_is_not_zero() {
    let mut model = Model::new(SessionInfo::default(), Images::default());
    assert_eq!(drawn(&mut model, Span::All, Shown::Now).rate, None, "its tables have not come");
    model.feed(&message(region(1_000_000_000, 5, 3_000_000_000)));
    for kind in [Kind::Live, Kind::Recording, Kind::Core] {
        let drawn = drawn_of(kind, &mut model, Span::All, Shown::Now);
        assert_eq!(drawn.rate, Some(0));
        let reasons = [
            drawn.lock_rows.map(|_| ()),
            drawn.events.map(|_| ()),
            drawn.off_cpu.map(|_| ()),
            drawn.locks.map(|_| ()),
        ];
        for reason in reasons.map(Result::unwrap_err) {
            assert_eq!(reason.contains("with e"), kind == Kind::Live, "{kind:?}: {reason}");
        }
    }
}

#[test]
fn the_heap_of_a_recording_has_sites_that_say_what_its_flame_graph_says_and_how_they_grew() {
    const SECOND: u64 = 1_000_000_000;
    let mut model = Model::new(SessionInfo::default(), Images::default());
    model.feed(&message(region(SECOND, 5, SECOND)));
    let entry = |tsc, address, caller| HeapEntry {
        address: GuestVirtual(address),
        bytes: 10,
        weight: 1000,
        tsc,
        thread: 1,
        callers: HeapCallers::new(&[caller]),
    };
    // Two blocks live when the recording begins; then one goes, and four come in as many seconds.
    let blocks = LiveBlocks { entries: vec![entry(5, 0x1000, 0xaaaa), entry(6, 0x2000, 0xaaaa)], torn: 0 };
    model.feed(&message(Body::Heap(blocks.to_words().into())));
    // A sign of life: records that are much later than that are lies.
    model.feed(&message(region(SECOND, 5, 5 * SECOND)));
    for second in 1..=4 {
        let tsc = second * SECOND + SECOND / 2;
        let callers = Callers { end: WalkEnd::Root, frames: &[0xbbbb] };
        let address = GuestVirtual(0x10_0000 * second);
        let allocation = AllocationRecord { tsc, thread: 1, address, bytes: 10, weight: 3000, callers };
        model.record(0, &Record::Allocation(allocation));
    }
    let free =
        FreeRecord { tsc: 5 * SECOND, thread: 1, address: GuestVirtual(0x1000), bytes: 10, weight: 1000 };
    model.record(1, &Record::Free(free));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heap.svg");
    let seen = drawn(&mut model, Span::All, Shown::Now);
    super::save::drawing(&seen, SaveAs::Svg, Measured::LiveHeap, &path).unwrap();
    let drawing = std::fs::read_to_string(&path).unwrap();
    assert!(drawing.contains("test: 13.0 kB live bytes in 5 sampled blocks"), "{}", &drawing[..2000]);
    assert!(super::save::drawing(&seen, SaveAs::Svg, Measured::Cpu, &path).is_err(), "there are no samples");
    let mut sites = |span| {
        let drawn = drawn(&mut model, span, Shown::Now);
        let memory = drawn.memory.unwrap();
        let total: u64 = memory.sites.iter().map(|site| site.bytes).sum();
        assert_eq!(drawn.heap.unwrap().total().weight, total, "as `flame --heap`");
        let told = memory
            .sites
            .iter()
            .map(|site| (site.function.clone(), site.blocks, site.bytes, (site.growth_rate * 4.0).round()));
        told.collect::<Vec<_>>()
    };
    let site = |name: &str, blocks, bytes, growth| (name.to_owned(), blocks, bytes, growth);
    // The recording begins at 1 s: four seconds in all.
    assert_eq!(
        sites(Span::All),
        [site("0xbbbb", 1200, 12_000, 12_000.0), site("0xaaaa", 100, 1000, -1000.0)]
    );
    assert_eq!(
        sites(Span::Last(1.0)),
        [site("0xbbbb", 1200, 12_000, 12_000.0), site("0xaaaa", 100, 1000, -4000.0)]
    );
    let before = drawn(&mut model, Span::Last(1.0), Shown::At(2.6)).memory.unwrap();
    let told: Vec<_> = before.sites.iter().map(|site| (site.bytes, site.growth_rate.round())).collect();
    assert_eq!(told, [(6000, 3000.0), (2000, 0.0)]);
}

struct Seat {
    ask: Sender<Request>,
    answers: Receiver<Answer>,
    engine: thread::JoinHandle<anyhow::Result<()>>,
}

impl Seat {
    fn at_the_sample() -> Self {
        let options = Options {
            rate: None,
            events: None,
            symbols: options::Symbols::default(),
            path_map: Vec::new(),
            cancel: Cancel::new(),
        };
        let engine = Engine::open(&Input::Sample, &options).unwrap();
        let (ask, asked) = unbounded();
        let (tell, answers) = unbounded();
        let engine = thread::spawn(move || engine.serve(&asked, &tell));
        Self { ask, answers, engine }
    }

    fn until<T>(&self, wanted: impl Fn(&Answer) -> Option<T>) -> T {
        let limit = std::time::Instant::now() + LIMIT;
        loop {
            assert!(std::time::Instant::now() < limit, "what is wanted does not come");
            let answer = self.answers.recv_timeout(LIMIT).expect("an answer");
            if let Some(wanted) = wanted(&answer) {
                return wanted;
            }
        }
    }

    fn picture(&self, wanted: impl Fn(&Picture) -> bool) -> Arc<Picture> {
        self.until(|answer| match answer {
            Answer::Picture(picture) if wanted(picture) => Some(Arc::clone(picture)),
            _ => None,
        })
    }

    fn said(&self) -> (bool, String) {
        self.until(|answer| match answer {
            Answer::Said { done, text } => Some((*done, text.clone())),
            _ => None,
        })
    }

    fn listing(&self) -> Arc<Listing> {
        self.until(|answer| match answer {
            Answer::Listing(listing) => Some(Arc::clone(listing)),
            _ => None,
        })
    }

    fn ask(&self, request: Request) {
        self.ask.send(request).unwrap();
    }

    fn end(self) {
        self.ask(Request::Quit);
        self.engine.join().unwrap().unwrap();
    }
}

#[test]
fn a_recording_is_played_stands_still_and_goes_back() {
    let seat = Seat::at_the_sample();
    let first = seat.picture(|_| true);
    let (begin, end) = first.time.range;
    assert!(end - begin > 0.9, "{:?}", first.time);
    seat.ask(Request::Show(Shown::Now));
    let last = seat.picture(|picture| matches!(picture.fate, Fate::EndOfRecording(_)));
    assert_eq!(last.overview.samples, 1264, "as `report sample` counts");
    seat.ask(Request::Speed(0.0));
    seat.ask(Request::Show(Shown::At(begin + 0.5)));
    // A slow machine shows some of the way there.
    let before = Cell::new(f64::NAN);
    let middle = seat.picture(|picture| {
        let stands = before.replace(picture.time.at) == picture.time.at;
        stands && picture.fate == Fate::Runs && (picture.time.at - begin - 0.5).abs() < 0.2
    });
    assert!((100..1264).contains(&middle.overview.samples), "{}", middle.overview.samples);
    assert!(!middle.time.runs);
    // It stands still.
    seat.ask(Request::Span(Span::Last(0.25)));
    let still = seat.picture(|picture| picture.span == Span::Last(0.25));
    assert_eq!(still.time.at, middle.time.at);
    assert!(still.overview.samples < middle.overview.samples);
    seat.ask(Request::Speed(50.0));
    seat.picture(|picture| matches!(picture.fate, Fate::EndOfRecording(_)));
    seat.end();
}

#[test]
fn a_recording_has_listings_and_is_saved_as_pictures_and_text() {
    let seat = Seat::at_the_sample();
    seat.ask(Request::Show(Shown::Now));
    seat.picture(|picture| matches!(picture.fate, Fate::EndOfRecording(_)));
    let dir = tempfile::tempdir().unwrap();
    for (kind, name, begins) in [
        (SaveAs::Svg, "x.svg", "<?xml"),
        (SaveAs::Html, "x.html", "<!doctype html>"),
        (SaveAs::Text, "x.txt", "uniprof-sample-kernel: end-of-recording"),
    ] {
        let path = dir.path().join(name);
        seat.ask(Request::Save(kind, Some(path.clone()), FUNCTIONS));
        let (done, said) = seat.said();
        assert!(done, "{said}");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.to_lowercase().starts_with(&begins.to_lowercase()), "{}", &text[..80]);
    }
    // What is there stays; the table that is seen comes first.
    let there = dir.path().join("x.txt");
    let before = std::fs::read(&there).unwrap();
    let threads = Seen { pane: Pane::Threads, ..FUNCTIONS };
    seat.ask(Request::Save(SaveAs::Text, Some(there.clone()), threads));
    let (_, said) = seat.said();
    assert!(said.contains("x-2.txt") && said.contains("x.txt was there already"), "{said}");
    assert_eq!(std::fs::read(there).unwrap(), before);
    let place = |text: &[u8], word| String::from_utf8_lossy(text).find(word).expect(word);
    let after = std::fs::read(dir.path().join("x-2.txt")).unwrap();
    assert!(place(&before, "FUNCTION") < place(&before, "CPU TIME"));
    assert!(place(&after, "CPU TIME") < place(&after, "FUNCTION"));
    for request in [Request::Save(SaveAs::Recording, None, FUNCTIONS), Request::Core, Request::Rate(9)] {
        seat.ask(request);
        assert!(!seat.said().0);
    }
    let function = "uniprof_sample_kernel::sched::run::make_runnable";
    seat.ask(Request::Listing(Some(function.into())));
    let listing = seat.listing();
    assert_eq!(listing.function, function);
    assert!(listing.samples > 100, "{listing:?}");
    seat.end();
}
