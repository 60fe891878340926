//! What `trace` says, Perfetto and the Firefox Profiler say as well: event for event, on one clock.

use std::collections::BTreeMap;

use serde_json::Value;
use uniprof_tests::{Scene, consumers};

/// How many there were, when the first one began and when the last one ended, in nanoseconds since the guest's boot.
#[derive(Clone, Copy, Debug)]
struct Seen {
    count: u64,
    first: u64,
    last: u64,
}

/// From kind and name.
type Found = BTreeMap<(String, String), Seen>;

/// Times are rounded by each format in its own way.
const ROUNDING_NS: u64 = 2_000;

fn add(found: &mut Found, kind: &str, name: &str, begin: u64, end: u64) {
    let seen = found.entry((kind.to_owned(), name.to_owned())).or_insert(Seen {
        count: 0,
        first: u64::MAX,
        last: 0,
    });
    *seen = Seen { count: seen.count + 1, first: seen.first.min(begin), last: seen.last.max(end) };
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn agree(told: &Found, found: &Found, whose: &str) {
    let keys = |found: &Found| found.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(told), keys(found), "{whose}");
    for (key, told) in told {
        let found = found[key];
        assert_eq!(found.count, told.count, "{whose}: {key:?}");
        let is_near = |a: u64, b: u64| a.abs_diff(b) <= ROUNDING_NS;
        assert!(
            is_near(found.first, told.first) && is_near(found.last, told.last),
            "{whose}: {key:?} {told:?} {found:?}"
        );
    }
}

/// The events of `trace --json` that exports have a place for.
fn of_trace(scene: &Scene) -> (Found, Vec<Value>) {
    let all = scene.run(&["trace", "t.uniprof", "--json"]).ok().stdout;
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
    let mut found = Found::new();
    for event in &all {
        let kind = match text(&event["kind"]) {
            "span_end" => "span",
            "lock_wait" => "lock wait",
            "gauge" => "counter",
            kind @ ("event" | "call" | "interrupt" | "log" | "mark" | "counter") => kind,
            _ => continue,
        };
        let end = (event["seconds"].as_f64().unwrap() * 1e9).round() as u64;
        let begin = end - event["duration_ns"].as_u64().unwrap_or(0);
        let name = event["text"].as_str().unwrap_or_else(|| text(&event["name"]));
        add(&mut found, kind, name, begin, end);
    }
    (found, all)
}

/// What has no event in `trace`: lines of the console, and states, which lie between two switches.
fn set_apart(found: &mut Found, kind: &str) -> Found {
    let (apart, rest) = std::mem::take(found).into_iter().partition(|((of, _), _)| of == kind);
    *found = rest;
    apart
}

fn of_perfetto(scene: &Scene) -> (Found, Value) {
    scene.run(&["export", "t.uniprof", "--format", "perfetto", "-o", "t.trace"]).ok();
    let trace =
        scene.run_command(&mut consumers::python(scene, "perfetto_trace.py", &["t.trace"])).ok().json();
    let mut found = Found::new();
    for event in trace["events"].as_array().unwrap() {
        let [begin, end] = [2, 3].map(|column| event[column].as_u64().unwrap());
        add(&mut found, text(&event[0]), text(&event[1]), begin, end);
    }
    (found, trace)
}

fn of_firefox(scene: &Scene) -> (Found, u64) {
    let profile = scene.run(&["export", "t.uniprof", "--format", "firefox", "-o", "-"]).ok().json();
    let ns = |value: &Value| (value.as_f64().unwrap() * 1e6).round() as u64;
    let (mut found, mut samples) = (Found::new(), 0);
    for thread in profile["threads"].as_array().unwrap() {
        samples += thread["samples"]["length"].as_u64().unwrap();
        let markers = &thread["markers"];
        for (index, data) in markers["data"].as_array().unwrap().iter().enumerate() {
            if data["type"] == "uniprof" {
                let name = markers["name"][index].as_u64().unwrap() as usize;
                let name = text(&profile["shared"]["stringArray"][name]);
                let [begin, end] = ["startTime", "endTime"].map(|column| ns(&markers[column][index]));
                add(&mut found, text(&data["kind"]), name, begin, end);
            }
        }
    }
    for counter in profile["counters"].as_array().unwrap() {
        for time in counter["samples"]["time"].as_array().unwrap() {
            add(&mut found, "counter", text(&counter["name"]), ns(time), ns(time));
        }
    }
    (found, samples)
}

#[test]
fn perfetto_and_firefox_agree_with_trace_event_for_event() {
    let scene = Scene::with_guest();
    let line =
        ["record", "-F", "199", "-d", "2", "--vcpus", "2", "--ring", "4M", "-e", "+off-cpu,irq,locks,calls"];
    scene.run(&[&line[..], &["-o", "t.uniprof", "--", "bundled", "workload=kv"]].concat()).ok();

    let (told, all) = of_trace(&scene);
    for kind in ["span", "counter", "interrupt", "log", "event"] {
        assert!(told.keys().any(|(of, _)| of == kind), "there is no {kind}: {:?}", told.keys());
    }
    let (mut perfetto, trace) = of_perfetto(&scene);
    let (mut firefox, samples) = of_firefox(&scene);
    let [states, console] =
        ["state", "console"].map(|kind| (set_apart(&mut perfetto, kind), set_apart(&mut firefox, kind)));
    // A pause of a host that stops QEMU; none of `trace`'s events.
    let pauses = (set_apart(&mut perfetto, "pause"), set_apart(&mut firefox, "pause"));
    agree(&told, &perfetto, "Perfetto");
    agree(&told, &firefox, "Firefox");
    agree(&states.0, &states.1, "states");
    agree(&console.0, &console.1, "the console");
    agree(&pauses.0, &pauses.1, "pauses");

    // Every switch to a thread begins a time in which it runs, unless the two are in the same moment.
    let running: u64 = states
        .0
        .iter()
        .filter(|((_, name), _)| name.starts_with("running"))
        .map(|(_, seen)| seen.count)
        .sum();
    let switches = all.iter().filter(|event| event["kind"] == "switch").count() as u64;
    assert!(running > 0 && running <= switches, "{running} {switches}");
    let lines =
        scene.run(&["logs", "t.uniprof", "--from", "console", "--json"]).ok().stdout.lines().count() as u64;
    assert_eq!(console.0.values().map(|seen| seen.count).sum::<u64>(), lines);
    assert!(lines > 0);
    // Samples are on the same clock.
    let document = scene.run(&["export", "t.uniprof", "--format", "json"]).ok().json();
    let times = document["timeline"].as_array().unwrap();
    assert_eq!((trace["samples"].as_array().unwrap().len(), samples), (times.len(), times.len() as u64));
    // So is the wall clock: that of Perfetto's snapshots is that of the document.
    let snapshots = trace["snapshots"].as_array().unwrap();
    let points = document["clock"].as_array().unwrap();
    assert_eq!(snapshots.len(), points.len() + 1);
    for (snapshot, point) in snapshots[1..].iter().zip(points) {
        assert_eq!((&snapshot["6"], &snapshot["1"]), (&point["at_ns"], &point["wall_ns"]));
    }
}
