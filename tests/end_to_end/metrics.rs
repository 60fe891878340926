//! The numbers that a guest keeps of itself: histograms, counters and gauges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_collector::dump::{self, OpenOptions};
use uniprof_collector::memory::{GuestMemory, find_region};
use uniprof_collector::paging::AddressSpace;
use uniprof_tests::{Scene, assert_matches_its_schema};
use uniprof_wire::address::GuestPhysical;
use uniprof_wire::site::{self, SiteKind};
use uniprof_wire::tables::{HISTOGRAM_WORDS, Histogram};

/// Of every request, in the workload `kv`.
const ANSWERS: &str = "kv.answer_bytes";
const REQUESTS: u64 = 30_000;

fn named<'a>(rows: &'a Value, name: &str) -> &'a Value {
    let mut rows = rows.as_array().expect("rows").iter();
    rows.find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_report_tells_histograms_counters_and_gauges() {
    let scene = Scene::with_guest();
    let requests = format!("requests={REQUESTS}");
    let line = ["record", "-o", "r.uniprof", "--", "bundled", "workload=kv", &requests];
    scene.run(&line).ok();
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&report);

    let answers = named(&report["histograms"], ANSWERS);
    assert_eq!(answers["count"], REQUESTS, "one for each request: {answers}");
    assert!(answers["file"].as_str().is_some_and(|file| file.ends_with("kv/worker.rs")), "{answers}");
    let [p50, p90, p99, max] =
        ["p50", "p90", "p99", "max"].map(|key| answers[key].as_u64().expect("a number"));
    assert!(
        0 < p50 && p50 < p90 && p90 < p99 && p99 <= max,
        "most answers are short, scans are long: {answers}"
    );
    let mean = answers["mean"].as_f64().expect("a number");
    assert!(p50 as f64 * 0.5 < mean && mean < max as f64, "{answers}");

    let served = named(&report["values"], "kv.served");
    assert_eq!((&served["kind"], served["last"].as_f64()), (&"counter".into(), Some(REQUESTS as f64)));
    let depth = named(&report["values"], "kv.depth");
    assert_eq!(depth["kind"], "gauge");
    assert!(depth["last"].as_f64().is_some_and(|depth| (1.0..20.0).contains(&depth)), "{depth}");

    let text = scene.run(&["report", "r.uniprof"]).ok().stdout;
    assert!(text.contains("P99") && text.contains(ANSWERS) && text.contains("kv.depth"), "{text}");
}

/// Only memory: no ELF file, no symbols, no recording.
#[test]
fn a_dump_alone_tells_which_sites_there_are_and_what_their_histograms_hold() {
    let scene = Scene::with_guest();
    let guest = scene.start(&["run", "--vcpus", "2", "--name", "kv", "bundled", "--", "workload=kv"]);
    let until = Instant::now() + Duration::from_secs(60);
    while !scene.run(&["ps", "kv"]).stdout.contains("kv-1") {
        assert!(Instant::now() < until, "the guest did not show its threads");
        std::thread::sleep(Duration::from_millis(100));
    }
    scene.run(&["dump", "kv", "-o", "kv.core"]).ok();
    scene.run(&["stop", "kv"]).ok();
    guest.wait(Duration::from_secs(20)).ok();

    let dump = dump::open(&scene.path("kv.core"), &OpenOptions::default()).expect("a dump");
    let memory: Arc<dyn GuestMemory> = Arc::clone(&dump.memory);
    let region = find_region(&memory, None).expect("memory").expect("a region");
    let space = AddressSpace::of(Arc::clone(&memory), &dump.cpus[0]);
    let (start, end) = region.header.sites;
    let mut section = vec![0; (end.0 - start.0) as usize];
    space.read(start, &mut section).expect("the section is loaded");
    let sites: Vec<_> = site::sites(&section).collect();
    let event = sites.iter().find(|site| site.name == "kv.miss").expect("an event");
    let args: Vec<_> = event.args().map(|arg| arg.name).collect();
    assert_eq!((event.kind, event.enabled, event.slot), (SiteKind::Event, true, None));
    assert_eq!(args, ["vcpu", "bytes"]);

    let answers = sites.iter().find(|site| site.name == ANSWERS).expect("a histogram");
    assert_eq!((answers.kind, answers.enabled), (SiteKind::Histogram, true));
    let slot = answers.slot.expect("it has a slot") as usize;
    let geometry = region.header.geometry;
    assert!(slot < geometry.histograms() as usize);
    let mut all = Histogram::default();
    for vcpu in 0..2 {
        let at = geometry.histogram_table(vcpu) + slot * HISTOGRAM_WORDS * 8;
        let mut bytes = [0; HISTOGRAM_WORDS * 8];
        memory.read(GuestPhysical(region.at.0 + at as u64), &mut bytes).expect("the region is in the dump");
        let words = bytes.as_chunks::<8>().0;
        let words = std::array::from_fn(|i| u64::from_le_bytes(words[i]));
        let (id, histogram) = Histogram::from_words(&words).expect("in use");
        assert_eq!(id, answers.id);
        all.add(&histogram);
    }
    assert!(all.count > 0);

    let report = scene.run(&["report", "kv.core", "--json"]).json();
    let told = named(&report["histograms"], ANSWERS);
    assert_eq!((told["count"].as_u64(), told["max"].as_u64()), (Some(all.count), Some(all.max)), "{told}");
    assert_eq!(told["p99"].as_u64(), all.quantile(0.99));
}

/// `waits`: a letter's span begins where it is written and ends where it is read.
#[test]
fn a_span_goes_from_thread_to_thread() {
    let scene = Scene::with_guest();
    let line = ["record", "-e", "all", "--vcpus", "2", "-o", "r.uniprof", "--", "bundled", "workload=waits"];
    scene.run(&[&line[..], &["seconds=2"]].concat()).ok();
    let trace = scene.run(&["trace", "r.uniprof", "--json"]).ok().stdout;
    let lines = trace.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let (begins, ends): (Vec<_>, Vec<_>) =
        lines.filter(|line| line["name"] == "waits.mail").partition(|line| line["kind"] == "span_begin");
    assert!(begins.iter().all(|begin| begin["thread_name"] == "writer"), "{begins:?}");
    let read: Vec<_> = ends.iter().filter(|end| end["thread_name"] == "reader").collect();
    assert!(read.len() > 10 && ends.len() <= begins.len(), "{} of {} letters", read.len(), begins.len());
    for end in read {
        assert_eq!(end["args"]["begun_on_name"], "writer", "{end}");
        assert!(end["duration_ns"].as_u64() > Some(0), "{end}");
    }
}
