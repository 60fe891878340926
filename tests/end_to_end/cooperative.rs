//! A guest that nothing interrupts: its event loop polls, and that is enough for control, samples and a sign of life.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_tests::{Scene, assert_matches_its_schema};

use crate::guests::start_words;

const LIMIT: Duration = Duration::from_secs(60);
/// Percentage points that a share may be off.
const TOLERANCE: f64 = 5.0;

#[test]
fn handlers_of_a_guest_without_a_timer_are_sampled_as_they_work() {
    let scene = Scene::with_guest();
    // The clock counts instructions: a host that takes the vCPU away in the middle of a handler has no part in its share.
    let record =
        ["record", "-F", "499", "-o", "c.uniprof", "--accel", "tcg", "--icount", "shift=0,sleep=off", "--"];
    scene.run(&[&record[..], &["bundled", "workload=cooperative", "seconds=2"]].concat()).ok();
    let report = scene.run(&["report", "c.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    let samples = report["samples"].as_f64().expect("a number");
    assert!(samples > 300.0, "{report:#}");
    let functions = report["functions"].as_array().expect("functions");
    let of = |name: &str| -> f64 {
        let rows = functions.iter().filter(|row| row["name"] == name);
        rows.map(|row| row["total"].as_f64().expect("a number")).sum::<f64>() * 100.0 / samples
    };
    for (name, wanted) in [("handle_read", 50.0), ("handle_write", 30.0), ("handle_expire", 20.0)] {
        assert!((of(name) - wanted).abs() <= TOLERANCE, "{name}: {} of {wanted}\n{report:#}", of(name));
    }
    let vcpu = &report["vcpus"][0];
    let [idle, up] = ["idle_tsc", "up_tsc"].map(|key| vcpu[key].as_f64().expect("a number"));
    assert!((0.03..0.5).contains(&(idle / up)), "it waits for about a tenth of the time: {vcpu}");
    let folded = scene.run(&["export", "c.uniprof", "--format", "folded"]).ok().stdout;
    let stack = folded.lines().find(|line| line.contains("handle_write")).expect("a stack");
    assert!(stack.contains("event_loop;handle_write ") && stack.starts_with("main;"), "{stack}");
}

#[test]
fn a_guest_without_a_timer_hears_and_answers() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "coop", &["workload=cooperative", "uniprof.hz=0"]);
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < LIMIT, "{what}");
            sleep(Duration::from_millis(100));
        }
    };
    let ping = || scene.run(&["ping", "coop", "--json"]);
    until("it is alive", &|| ping().code == 0);
    let document: Value = ping().ok().json();
    assert_matches_its_schema(&document);
    assert_eq!(document["vcpus"][0]["beats"], true, "{document}");
    // Nobody samples, until somebody asks.
    scene.run(&["record", "coop", "-F", "999", "-d", "3", "-o", "live.uniprof"]).ok();
    let report = scene.run(&["report", "live.uniprof", "--json"]).ok().json();
    assert!(report["samples"].as_f64() > Some(50.0), "{report:#}");
    // With registers and stack, in place of frame pointers.
    scene
        .run(&["record", "coop", "-F", "499", "--call-graph", "dwarf", "-d", "2", "-o", "dwarf.uniprof"])
        .ok();
    let folded = scene.run(&["export", "dwarf.uniprof", "--format", "folded"]).ok().stdout;
    assert!(folded.lines().any(|line| line.contains("event_loop;handle_write")), "{folded}");
    scene.run(&["stop", "coop"]).ok();
    guest.wait(LIMIT).ok();
}
