//! `uniprof top`: one look at guests that run, at recordings and dumps, as scripts get it.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

use crate::guests::start_line as start;

const LIMIT: Duration = Duration::from_secs(60);

fn top(scene: &Scene, target: &str) -> Value {
    let document = scene.run(&["top", target, "--once", "--json"]).ok().json();
    assert_matches_its_schema(&document);
    document
}

fn end(scene: &Scene, guest: Running, name: &str) {
    scene.run(&["stop", name]).ok();
    guest.wait(LIMIT).ok();
}

/// Looks until what is seen is as `wanted` says.
fn until(scene: &Scene, target: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + LIMIT;
    loop {
        let now = top(scene, target);
        if wanted(&now) {
            return now;
        }
        assert!(Instant::now() < limit, "{what}: {now:#}");
        sleep(Duration::from_millis(100));
    }
}

/// What can be compared of a document's functions.
fn functions(document: &Value) -> BTreeMap<String, (u64, u64)> {
    let functions = document["functions"].as_array().expect("functions").iter();
    let number = |function: &Value, key: &str| function[key].as_u64().expect("a number");
    functions
        .map(|function| {
            let name = function["name"].as_str().expect("a name").to_owned();
            (name, (number(function, "self"), number(function, "total")))
        })
        .collect()
}

#[test]
fn a_recording_is_summed_as_report_and_ps_do() {
    let scene = Scene::new();
    let seen = top(&scene, "sample");
    let report = scene.run(&["report", "sample", "--json"]).ok().json();
    assert_eq!(functions(&seen), functions(&report));
    assert_eq!(seen["overview"]["samples"], report["samples"]);
    assert_eq!((&seen["kind"], &seen["fate"]), (&"recording".into(), &"end-of-recording".into()));
    let ps = scene.run(&["ps", "sample", "--json"]).ok().json();
    for (ours, theirs) in seen["threads"].as_array().unwrap().iter().zip(ps["threads"].as_array().unwrap()) {
        for key in ["id", "name", "state", "vcpu", "cpu_seconds", "since_seconds"] {
            assert_eq!(ours[key], theirs[key], "{key} of {ours}");
        }
    }
}

#[test]
fn a_guest_that_runs_is_seen_after_a_second() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "web", &["--vcpus", "2", "--", "workload=ratio", "seconds=100"]);
    let seen = until(&scene, "web", "samples of both threads", |seen| {
        seen["overview"]["samples"].as_u64() > Some(20)
            && seen["functions"].as_array().is_some_and(|all| all.len() > 3)
    });
    assert_eq!((&seen["kind"], &seen["fate"], &seen["rate"]), (&"live".into(), &"runs".into(), &99.into()));
    let total =
        |name: &str| functions(&seen).iter().find(|(known, _)| known.ends_with(name)).map_or(0, |(_, n)| n.1);
    assert!(total("ratio_sixty") > 0, "{seen:#}");
    let threads = seen["threads"].as_array().unwrap();
    let worker = threads.iter().find(|thread| thread["name"] == "ratio-0").expect("a thread of the workload");
    assert!(worker["function"].is_string() || worker["state"] != "running", "{worker}");
    let busy: f64 = threads.iter().filter_map(|thread| thread["cpu_share"].as_f64()).sum();
    let idle: f64 =
        seen["overview"]["vcpus"].as_array().unwrap().iter().filter_map(|vcpu| vcpu["idle"].as_f64()).sum();
    assert!((1.5..2.5).contains(&(busy + idle)), "two vCPUs' time: {seen:#}");
    let text = scene.run(&["top", "--once"]).ok().stdout;
    assert!(["web: runs", "FUNCTION", "ratio-0"].iter().all(|word| text.contains(word)), "{text}");
    // What it was asked for goes with whoever asked.
    let limit = Instant::now() + LIMIT;
    while scene.run(&["ctl", "web", "--json"]).ok().json()["askers"]
        .as_array()
        .is_some_and(|all| !all.is_empty())
    {
        assert!(Instant::now() < limit, "the request stays");
        sleep(Duration::from_millis(100));
    }
    end(&scene, guest, "web");
}

#[test]
fn what_cannot_be_seen_is_said() {
    let scene = Scene::with_guest();
    scene.run(&["attach"]).failed_with(2).says(&["--once"]);
    // Somebody else's guest on this host would be the only one.
    let listed = scene.run(&["ls", "--json"]).ok().json();
    if listed["guests"].as_array().is_some_and(Vec::is_empty) {
        scene.run(&["attach", "--once"]).failed_with(3).says(&["no guest runs here", "uniprof run"]);
    }
    scene.run(&["top", "nobody", "--once"]).failed_with(3);
    let one = start(&scene, "one", &["--", "workload=idle", "seconds=100"]);
    scene.run(&["kernel", "-o", "wrong.elf"]).ok();
    let two = start(&scene, "two", &["--", "workload=idle", "seconds=100"]);
    scene.run(&["attach", "--once"]).failed_with(3).says(&["one", "two"]);
    // This binary is no image that a guest runs.
    let wrong = uniprof_tests::uniprof().display().to_string();
    scene.run(&["top", "one", "--once", "--kernel", &wrong]).failed_with(4);
    end(&scene, one, "one");
    end(&scene, two, "two");
}

/// A guest that nobody has prepared for being looked at: what is found in its process's memory.
#[test]
fn a_guest_that_was_started_by_hand_is_seen_by_its_pid() {
    let scene = Scene::with_guest();
    let guest = crate::by_hand::start(&scene, "kv", "region", "");
    let target = format!("pid:{}", guest.pid());
    let seen = until(&scene, &target, "records", |seen| seen["overview"]["received"].as_u64() > Some(0));
    assert_eq!((&seen["transport"], &seen["pid"]), (&"process memory".into(), &guest.pid().into()));
    assert!(seen["notes"].to_string().contains("only read"), "{seen:#}");
    guest.signal(rustix::process::Signal::KILL);
    guest.wait(LIMIT);
}

#[test]
fn a_guest_is_seen_over_its_serial_port() {
    let scene = Scene::with_guest();
    let words = ["--transport", "virtio-serial", "--", "workload=ratio", "seconds=100"];
    let guest = start(&scene, "port", &words);
    let seen = until(&scene, "port", "samples", |seen| seen["overview"]["samples"].as_u64() > Some(10));
    assert_eq!(seen["transport"], "virtio-serial");
    assert!(functions(&seen).keys().any(|name| name.ends_with("ratio::mix")), "{seen:#}");
    end(&scene, guest, "port");
}

/// A dump: what it was at, in one moment, with the threads' stacks from memory.
#[test]
fn a_core_shows_its_last_moment() {
    let scene = Scene::with_guest();
    let line = ["run", "--on-crash", "dump=cores", "bundled", "--", "workload=crash-null"];
    scene.run(&line);
    let cores: Vec<String> = std::fs::read_dir(scene.path("cores"))
        .expect("a folder of cores")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".core"))
        .collect();
    let [core] = &cores[..] else { panic!("{cores:?}") };
    let seen = top(&scene, core);
    assert_eq!((&seen["kind"], &seen["fate"]), (&"core".into(), &"crashed".into()), "{seen:#}");
    assert!(seen["overview"]["received"].as_u64() > Some(0), "{seen:#}");
    let ps = scene.run(&["ps", core, "--json"]).ok().json();
    for (ours, theirs) in seen["threads"].as_array().unwrap().iter().zip(ps["threads"].as_array().unwrap()) {
        for key in ["id", "name", "state", "waits_for", "held_by", "function"] {
            assert_eq!(ours[key], theirs[key], "{key} of {ours}");
        }
    }
}
