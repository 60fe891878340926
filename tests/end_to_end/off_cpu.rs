//! What is not on the CPU: views of workloads that know themselves how long they waited, for whom, and what they lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a workload to its end, with one class of records on.
fn record(scene: &Scene, workload: &str, class: &str, words: &[&str]) {
    let workload = format!("workload={workload}");
    let line = [
        "record",
        "-F",
        "99",
        "--vcpus",
        "2",
        "-e",
        class,
        "--ring",
        "8M",
        "-o",
        "r.uniprof",
        "--",
        "bundled",
    ];
    scene.run(&[&line[..], &[workload.as_str()], words].concat()).ok();
}

/// What the workload printed of itself: the words of each of its lines.
fn told(scene: &Scene, workload: &str) -> Vec<BTreeMap<String, String>> {
    let logs = scene.run(&["logs", "r.uniprof"]).ok().stdout;
    let mark = format!("{workload}: ");
    let lines = logs.lines().filter_map(|line| line.split_once(&mark).map(|(_, words)| words));
    let pairs = |words: &str| {
        let pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let told: Vec<_> = lines.map(pairs).collect();
    assert!(!told.is_empty(), "{logs}");
    told
}

fn number(value: &str) -> f64 {
    value.parse().unwrap_or_else(|_| panic!("{value} is no number"))
}

/// The weight of the stacks in which these functions are, in this order from the root on.
fn weight(report: &Value, functions: &[&str]) -> f64 {
    let stacks = report["stacks"].as_array().expect("stacks").iter();
    let has_all = |stack: &&Value| {
        let mut frames = stack["frames"].as_array().expect("frames").iter().filter_map(Value::as_str);
        functions.iter().all(|function| frames.any(|frame| frame.rsplit("::").next() == Some(function)))
    };
    stacks.filter(has_all).map(|stack| stack["weight"].as_u64().expect("a weight") as f64).sum()
}

#[test]
fn blocked_time_is_on_the_stack_that_waited() {
    let scene = Scene::with_guest();
    record(&scene, "waits", "off-cpu", &["seconds=3"]);
    let report = scene.run(&["report", "r.uniprof", "--off-cpu", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    assert_eq!(
        (&report["unit"], &report["lost_stacks"], &report["disordered"]),
        (&"nanoseconds".into(), &0.into(), &0.into())
    );
    let hz = report["tsc_hz"].as_f64().expect("the clock's rate");
    for line in told(&scene, "waits") {
        let known = number(&line["tsc"]) / hz * 1e9;
        let measured = weight(&report, &[&line["function"]]);
        assert!((0.95..=1.01).contains(&(measured / known)), "{line:?}: {measured} of {known} ns");
    }
    let ended_by = |function: &str| {
        let mut stacks = report["stacks"].as_array().expect("stacks").iter();
        let stack = stacks.find(|stack| stack["frames"].to_string().contains(function)).expect("a stack");
        stack["ended_by"][0]["name"].as_str().expect("a waker").to_owned()
    };
    assert_eq!(ended_by("waits_sleep"), "woken by an interrupt");
    assert_eq!(ended_by("waits_event"), "woken by writer");
    assert_eq!(ended_by("waits_lock"), "woken by auditor");
    assert!(report["run_queue"]["count"].as_u64() > Some(100));
    for thread in report["threads"].as_array().expect("threads").iter().chain([&report]) {
        the_parts_add_up_to_the_life(thread);
    }

    // The waker's stack is on top: who writes the mail wakes the reader.
    let wakeups = scene.run(&["report", "r.uniprof", "--wakeup", "--json"]).ok().json();
    assert_matches_its_schema(&wakeups);
    let events = weight(&report, &["waits_event"]);
    assert!(weight(&wakeups, &["waits_event", "write_mail"]) > 0.95 * events, "{wakeups:#}");

    // Pictures and files of it, in its unit; what was not recorded names what it needs.
    scene.run(&["flame", "r.uniprof", "--off-cpu"]).ok();
    let picture = std::fs::read_to_string(scene.path("r.off-cpu.svg")).expect("the picture");
    assert!(
        picture.contains("blocked time in") && picture.contains("waits_event") && picture.contains("µs, "),
        "{picture}"
    );
    let folded = scene.run(&["export", "r.uniprof", "--off-cpu", "--format", "folded"]).ok().stdout;
    let sum: f64 = folded.lines().filter_map(|line| line.rsplit(' ').next()).map(number).sum();
    assert_eq!(sum, report["weight"].as_f64().expect("a weight"));
}

/// Blocked time is of parks and resumes, the other two of switches, and none of them is what the others leave.
fn the_parts_add_up_to_the_life(of: &Value) {
    let time = &of["time"];
    let [running, blocked, runnable, life] = ["running_ns", "blocked_ns", "runnable_ns", "life_ns"]
        .map(|part| time[part].as_f64().expect("a time"));
    // Threads that live for a millisecond are all rounding.
    let margin = (0.05 * life).max(1e6);
    assert!((running + blocked + runnable - life).abs() <= margin, "{of:#}");
    assert!(running > 0.0, "{of:#}");
}

#[test]
fn the_holder_of_a_lock_is_to_blame() {
    let scene = Scene::with_guest();
    record(&scene, "locks", "locks", &["seconds=3"]);
    let report = scene.run(&["report", "r.uniprof", "--locks", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    let hz = report["tsc_hz"].as_f64().expect("the clock's rate");
    for line in told(&scene, "locks") {
        let known = number(&line["tsc"]) / hz * 1e9;
        let measured = weight(&report, &[&line["holder"], &line["waiter"]]);
        assert!((0.95..=1.05).contains(&(measured / known)), "{line:?}: {measured} of {known} ns");
    }
}

#[test]
fn the_stack_that_leaks_is_first() {
    let scene = Scene::with_guest();
    // So often that nearly every block of 64 KiB is in the sample: what is tested is the view, not statistics.
    record(&scene, "leak", "heap", &["seconds=3", "uniprof.heap=16384"]);
    let report = scene.run(&["report", "r.uniprof", "--heap", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    assert_eq!(report["unit"], "bytes");
    let first = report["stacks"][0]["frames"].to_string();
    assert!(first.contains("leak_forget"), "{first}");
    let told = told(&scene, "leak");
    let [known, ticks] = ["bytes", "tsc"].map(|key| number(&told[0][key]));
    let seconds = ticks / report["tsc_hz"].as_f64().expect("the clock's rate");
    let [measured, known] = [weight(&report, &["leak_forget"]), known].map(|bytes| bytes / seconds);
    assert!((0.9..=1.1).contains(&(measured / known)), "{measured} of {known} bytes a second");
    let rate = scene.run(&["export", "r.uniprof", "--heap", "--format", "folded"]).ok().stdout;
    assert!(rate.lines().next().is_some_and(|line| line.contains("leak_forget")), "{rate}");
    // What is given back is in what was allocated, and not in what lives.
    let allocated = scene.run(&["report", "r.uniprof", "--heap=allocated", "--json"]).ok().json();
    assert!(
        weight(&allocated, &["leak_serve"]) > 20.0 * weight(&report, &["leak_serve"]).max(1e5),
        "{allocated:#}"
    );
}

/// What a recording that comes late has no record of is in the guest's table, and so it is in a dump and in the guest itself.
#[test]
fn blocks_that_are_older_than_the_recording_are_live_bytes() {
    let scene = Scene::with_guest();
    let line = ["run", "bundled", "--name", "leaky", "--memory", "1G", "--", "workload=leak", "seconds=200"];
    let guest = scene.start(&[&line[..], &["uniprof.heap=16384"]].concat());
    let limit = Instant::now() + LIMIT;
    while scene.run(&["ps", "leaky"]).stdout.is_empty() {
        assert!(Instant::now() < limit, "the guest did not show its threads");
    }
    let bytes = |report: &Value| weight(report, &["leak_forget"]);
    let live = |input: &str| {
        let report = scene.run(&["report", input, "--heap", "--json"]).ok().json();
        assert_matches_its_schema(&report);
        assert!(report["stacks"][0]["frames"].to_string().contains("leak_forget"), "{report:#}");
        bytes(&report)
    };
    // Nobody asked for the class of the heap: this is the table alone.
    let mut before = 0.0;
    while before < 2e6 {
        assert!(Instant::now() < limit, "only {before} bytes leaked");
        let report = scene.run(&["report", "leaky", "--heap", "--json"]);
        before = if report.code == 0 { bytes(&report.json()) } else { 0.0 };
    }
    scene.run(&["record", "leaky", "-F", "99", "-e", "heap", "-d", "1", "-o", "late.uniprof"]).ok();
    let recorded = live("late.uniprof");
    let allocated = scene.run(&["report", "late.uniprof", "--heap=allocated", "--json"]).ok().json();
    assert!(
        recorded >= before && bytes(&allocated) <= recorded - before,
        "{before} {recorded} {allocated:#}"
    );
    let text = scene.run(&["report", "late.uniprof", "--heap"]).ok().stdout;
    assert!(text.contains("allocated before the recording") && text.contains("own count"), "{text}");
    // Only while it was recorded is it known on which vCPU.
    let refused = scene.run(&["flame", "late.uniprof", "--heap", "--vcpu", "0"]);
    assert!(refused.code == 2 && refused.stderr.contains("--heap=allocated"), "{refused:?}");

    scene.run(&["dump", "leaky", "-o", "leaky.core"]).ok();
    let dumped = live("leaky.core");
    let census = scene.run(&["heap", "leaky.core", "--no-leaks", "--json"]).ok().json();
    let site = census["sites"]
        .as_array()
        .expect("sites")
        .iter()
        .find(|site| site["function"].as_str().is_some_and(|function| function.ends_with("leak_forget")));
    assert_eq!(site.expect("the leak")["estimated_bytes"].as_f64(), Some(dumped));
    assert!(dumped >= recorded, "{dumped} {recorded}");
    scene.run(&["stop", "leaky"]).ok();
    guest.wait(LIMIT).ok();
}
