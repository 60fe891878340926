//! Loss is a figure, never a silence.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use uniprof_tests::Scene;

/// The counts that the `burst` workload keeps itself and prints: `burst: vcpu=0 emitted=N`.
fn own_counts(logs: &str) -> Vec<u64> {
    logs.lines().filter_map(|line| line.split_once(" emitted=")?.1.trim().parse().ok()).collect()
}

fn sum(report: &Value, class: &str, key: &str) -> u64 {
    let vcpus = report["vcpus"].as_array().unwrap();
    vcpus.iter().map(|vcpu| vcpu["by_class"][class][key].as_u64().unwrap_or(0)).sum()
}

#[test]
fn what_a_stopped_collector_misses_is_counted_to_the_record() {
    let scene = Scene::with_guest();
    let line = [
        "record",
        "-e",
        "all",
        "-F",
        "199",
        "--vcpus",
        "2",
        "--ring",
        "64K",
        "-o",
        "b.uniprof",
        "--",
        "bundled",
        "workload=burst",
        "seconds=5",
    ];
    let recording = scene.start(&line);
    sleep(Duration::from_millis(1500));
    recording.signal(Signal::STOP);
    sleep(Duration::from_secs(3));
    recording.signal(Signal::CONT);
    recording.wait(Duration::from_secs(60)).ok();

    let report = scene.run(&["report", "b.uniprof", "--json"]).ok().json();
    let logs = scene.run(&["logs", "b.uniprof", "--from", "console"]).ok().stdout;
    let counts = own_counts(&logs);
    assert_eq!(counts.len(), 2, "{logs}");
    let [emitted, received, lost] = ["emitted", "received", "lost"].map(|key| sum(&report, "events", key));
    assert_eq!(emitted, counts.iter().sum::<u64>(), "the guest's own count");
    assert!(lost > 0 && received > 0, "{report}");
    assert_eq!(emitted, received + lost);
    // A collector that was stopped between two looks at clocks can't tell that from a clock that jumped.
    let mut notes = report["notes"].as_array().expect("notes").iter().filter_map(Value::as_str);
    assert!(notes.all(|note| note.starts_with("the guest's clock")), "{report}");
    let text = scene.run(&["report", "b.uniprof"]).ok().stdout;
    assert!(text.contains("overwritten"), "{text}");
}

#[test]
fn samples_survive_a_burst_of_events() {
    let scene = Scene::with_guest();
    let line = [
        "record",
        "-e",
        "all",
        "-F",
        "199",
        "--ring",
        "64K",
        "-o",
        "b.uniprof",
        "--",
        "bundled",
        "workload=burst",
        "seconds=4",
    ];
    scene.run(&line).ok();
    let report = scene.run(&["report", "b.uniprof", "--json"]).ok().json();
    assert!(sum(&report, "samples", "received") > 100, "{report}");
    assert_eq!(sum(&report, "samples", "lost"), 0, "{report}");
}
