//! What is told of a server under load, against what the server and its clients counted themselves.

use std::time::Duration;

use serde_json::Value;
use uniprof_load::{Kind, Load, Mix, Plan, Tally};
use uniprof_tests::Scene;
use uniprof_tests::web::{WebServer, route};

/// Full load for so long. A minute was seen, too: docs/performance.md.
const SECONDS: u64 = 20;

/// A load that runs for a time, and what the server says of it afterwards.
fn drive(guest: &WebServer, plan: Plan) -> (Tally, Value) {
    let load = Load::start(plan).expect("threads");
    std::thread::sleep(Duration::from_secs(seconds()));
    let tally = load.stop();
    assert_eq!(tally.failures, Default::default());
    (tally, guest.stats())
}

fn seconds() -> u64 {
    std::env::var("UNIPROF_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

#[test]
fn spans_say_what_the_server_measured_and_every_request_is_counted() {
    let scene = Scene::with_guest();
    let guest =
        WebServer::record(&scene, &["-o", "load.uniprof", "-F", "999", "--ring", "4M", "--vcpus", "2"]);
    let mix = Mix::new(&[(Kind::Get, 60), (Kind::Put, 20), (Kind::Delete, 5), (Kind::Scan, 15)]);
    let (tally, stats) = drive(&guest, Plan { connections: 8, mix, ..Plan::new(guest.address) });
    guest.stop();

    for (kind, asked) in &tally.routes {
        let told = route(&stats, kind.method(), kind.route()).expect("a route that was asked for");
        assert_eq!(told["requests"], asked.answered(), "{kind:?}");
        for (status, count) in &asked.statuses {
            assert_eq!(told["statuses"][status.to_string()], *count, "{kind:?}");
        }
    }
    for kind in tally.routes.keys() {
        let told = &route(&stats, kind.method(), kind.route()).expect("as above")["latency_ns"];
        let spans = spans_of(&scene, "load.uniprof", *kind);
        println!("{kind:?}: {spans}\n  the server: {told}");
        for percentile in ["p50", "p99"] {
            let [ours, its] = [&spans[format!("{percentile}_ns")], &told[percentile]]
                .map(|value| value.as_f64().expect("a number"));
            assert!((ours / its - 1.0).abs() <= 0.10, "{kind:?} {percentile}: {ours} ns against {its} ns");
        }
    }
    let report = scene.run(&["report", "load.uniprof", "--json"]).ok().json();
    assert!(report["named_share"].as_f64().expect("a share") >= 0.95, "{report}");
}

/// The latencies of the requests of one kind, as the spans have them.
fn spans_of(scene: &Scene, recording: &str, kind: Kind) -> Value {
    let filter =
        format!("http.request and arg.route == '{}' and arg.method == '{}'", kind.route(), kind.method());
    let summary = scene.run(&["trace", recording, "--summary", "--json", "--filter", &filter]).ok().json();
    let mut events = summary["events"].as_array().expect("events").iter();
    let found = events.find(|event| event["kind"] == "span");
    found.unwrap_or_else(|| panic!("no spans: {summary}")).clone()
}

#[test]
fn the_time_of_a_handler_that_sleeps_is_explained_off_cpu() {
    let scene = Scene::with_guest();
    let guest = WebServer::record(&scene, &["-o", "slow.uniprof", "-e", "+off-cpu", "--vcpus", "2"]);
    let plan = Plan { mix: Mix::new(&[(Kind::Slow(25), 1)]), ..Plan::new(guest.address) };
    let (tally, stats) = drive(&guest, plan);
    guest.stop();
    let slow = route(&stats, "GET", "/slow").expect("it was asked for");
    assert_eq!(slow["requests"], tally.answered());
    let spent = slow["latency_ns"]["sum"].as_f64().expect("a sum");
    let folded =
        scene.run(&["export", "slow.uniprof", "--off-cpu", "--format", "folded", "-o", "-"]).ok().stdout;
    let below_the_handler: f64 = folded
        .lines()
        .filter(|line| line.contains(";http_slow;"))
        .map(|line| line.rsplit_once(' ').expect("a count").1.parse::<f64>().expect("a number"))
        .sum();
    println!("{below_the_handler} of {spent} ns");
    assert!((0.95..=1.02).contains(&(below_the_handler / spent)), "{below_the_handler} of {spent}");
}

/// Instructions of so many requests.
struct Instructions {
    /// Of the server, its TCP/IP stack among it: all but the client.
    server: f64,
    /// Of the client and its TCP/IP stack, a thread of the same kernel: its CPU time.
    client: f64,
}

/// From the line `http: requests=N tsc=T client=C`.
fn instructions(told: &str) -> Option<Instructions> {
    let line = told.lines().find_map(|line| line.split_once("http: requests=")?.1.split_once(" tsc="))?.1;
    let (all, client) = line.split_once(" client=")?;
    let [all, client]: [f64; 2] = [all.parse().ok()?, client.trim().parse().ok()?];
    Some(Instructions { server: all - client, client })
}

/// Instructions: under `-icount` the same work counts the same. The client is a thread of the guest, so that the host's pace has no part in it.
/// The aim is of the server alone.
#[test]
fn sampling_and_every_span_of_a_request_cost_two_percent() {
    let scene = Scene::with_guest();
    let cost = |words: &[&str]| {
        let line = ["run", "bundled", "--accel", "tcg", "--icount", "shift=0,sleep=off", "--"];
        let told = scene
            .run(&[&line[..], &["workload=http", "client=own", "requests=20000"], words].concat())
            .ok()
            .stdout;
        instructions(&told).unwrap_or_else(|| panic!("the workload does not tell its cost: {told}"))
    };
    let off = cost(&["uniprof.classes=none", "uniprof.hz=0", "uniprof.heap=0"]);
    let more = |what: &str, classes: &str, hz: &str| {
        let on = cost(&[classes, hz, "uniprof.heap=0"]);
        let server = on.server / off.server - 1.0;
        let all = (on.server + on.client) / (off.server + off.client) - 1.0;
        println!(
            "{what}: {:+.2} % of the server's {:.0} instructions a request, {:+.2} % with its client's {:.0}",
            server * 100.0,
            off.server / 20_000.0,
            all * 100.0,
            off.client / 20_000.0
        );
        server
    };
    let samples = more("999 Hz", "uniprof.classes=samples", "uniprof.hz=999");
    let both = more("999 Hz and spans", "uniprof.classes=samples,spans", "uniprof.hz=999");
    more("and events", "uniprof.classes=samples,spans,events", "uniprof.hz=999");
    // Were it nothing at all, then nothing was recorded.
    assert!(samples > 0.0 && both > samples && both <= 0.02, "{samples} {both}");
}
