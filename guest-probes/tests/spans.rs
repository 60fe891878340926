//! Spans: nested, handed from thread to thread, and of sites that are off; the ring is read back as a host would.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use uniprof_probes as probe;
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Record, Records};
use uniprof_wire::ring::{self, Block, Source};
use uniprof_wire::site;
use uniprof_wire::tables::ControlRequest;

mod machine;

probe::region!(bytes = 1 << 20);

/// A span's record. An end names its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Begin { name: String, thread: u32, tsc: u64 },
    End { name: String, thread: u32, begun: (u32, u64) },
}

/// Every record so far.
fn told() -> Vec<Told> {
    let header = machine::header();
    let geometry = header.geometry;
    let ring_words = machine::ring(RingKind::Events);
    let mut out = vec![0; geometry.ring().sub_buffer_words()];
    let Block::Copied { start, end, .. } =
        ring::read_block(&ring_words, geometry.ring(), Source::Live, 0, &mut out)
    else {
        return Vec::new();
    };
    let section = machine::section();
    let name = |id: u32| site::sites(section).find(|site| site.id == id).expect("a site").name.to_owned();
    Records::new(&out[..(end - start) as usize], start, header.salt())
        .map(|found| match found.record.expect("intact") {
            Record::SpanBegin(begin) => {
                Told::Begin { name: name(begin.site), thread: begin.thread, tsc: begin.tsc }
            }
            Record::SpanEnd(end) => {
                Told::End { name: name(end.site), thread: end.thread, begun: (end.begun_on, end.begin) }
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Asks for classes as a collector does, and lets the guest look.
fn ask_for(classes: u64) {
    static RENEWALS: AtomicU64 = AtomicU64::new(0);
    let renewals = RENEWALS.fetch_add(1, Ordering::Relaxed);
    let asked = ControlRequest { owner: 1, renewals, lease_ms: 60_000, classes, ..Default::default() };
    machine::request(3, &asked);
    machine::pass(1_000_000);
    probe::poll();
}

/// One test, because the probes of a process are one.
#[test]
fn spans() {
    machine::set_thread(1);
    drop(probe::span!("early"));
    let config = probe::Config { tsc_hz: 1_000_000, classes: 0, ..probe::Config::new(region_memory()) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    ask_for(probe::Class::Span.bit());
    spans_nest();
    a_span_goes_from_thread_to_thread();
    spans_that_are_off_tell_nothing_wherever_they_go();
}

fn spans_nest() {
    let recursive = |depth: u32| {
        fn at(depth: u32) {
            let _span = probe::span!("level", depth = depth);
            if depth < 3 {
                at(depth + 1);
            }
        }
        at(depth);
    };
    recursive(1);
    let told = told();
    let begins: Vec<u64> = told
        .iter()
        .filter_map(|told| match told {
            Told::Begin { tsc, .. } => Some(*tsc),
            Told::End { .. } => None,
        })
        .collect();
    let ends: Vec<u64> = told
        .iter()
        .filter_map(|told| match told {
            Told::End { begun, .. } => Some(begun.1),
            Told::Begin { .. } => None,
        })
        .collect();
    assert_eq!(begins.len(), 3);
    assert_eq!(ends, begins.iter().rev().copied().collect::<Vec<_>>(), "the innermost ends first");
}

fn a_span_goes_from_thread_to_thread() {
    let before = told().len();
    let (to_worker, requests) = mpsc::channel::<probe::SpanId>();
    let worker = std::thread::spawn(move || {
        machine::set_thread(2);
        for request in requests {
            let _whole = probe::Span::adopt(request);
            let _part = probe::span!("serve");
        }
    });
    // Two requests of one site at once: only thread and beginning tell them apart.
    let requests = [1u32, 2].map(|id| probe::span!("request", id = id).detach());
    assert_ne!(requests[0], requests[1]);
    for request in requests.into_iter().rev() {
        to_worker.send(request).unwrap();
    }
    drop(to_worker);
    worker.join().unwrap();

    let told = told().split_off(before);
    let [first, second] = [0, 1].map(|at| match &told[at] {
        Told::Begin { name, thread: 1, tsc } if name == "request" => *tsc,
        other => panic!("{other:?}"),
    });
    let ends: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            Told::End { name, thread, begun } => Some((name.as_str(), *thread, begun.0, begun.1)),
            Told::Begin { .. } => None,
        })
        .collect();
    let served: Vec<u64> = told[2..]
        .iter()
        .filter_map(|told| match told {
            Told::Begin { tsc, .. } => Some(*tsc),
            Told::End { .. } => None,
        })
        .collect();
    let wanted = [
        ("serve", 2, 2, served[0]),
        ("request", 2, 1, second),
        ("serve", 2, 2, served[1]),
        ("request", 2, 1, first),
    ];
    assert_eq!(ends, wanted);
}

fn spans_that_are_off_tell_nothing_wherever_they_go() {
    let begun = probe::span!("cut.short");
    ask_for(0);
    let count = told().len();
    let off = probe::span!("cut.short.not");
    let id = off.detach();
    drop(probe::Span::adopt(id));
    assert_eq!(told().len(), count, "nothing of it was told");
    drop(begun);
    assert_eq!(told().len(), count + 1, "one that had begun is told to its end");
}
