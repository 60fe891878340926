//! Control over a virtio-serial port: a guest that shares no memory is asked, changed and shared by several as any other.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

use crate::control::{has, on, rate, until};
use crate::serial::{assert_whole, report};

const LIMIT: Duration = Duration::from_secs(60);

/// A guest that records nothing by itself, and shares no memory.
fn start(scene: &Scene, name: &str, workload: &str) -> Running {
    let workload = format!("workload={workload}");
    let mut line = vec!["run", "--name", name, "--transport", "virtio-serial", "bundled", "--"];
    line.extend([workload.as_str(), "uniprof.hz=0", "uniprof.classes=none"]);
    let running = scene.start(&line);
    let until = Instant::now() + LIMIT;
    while scene.run(&["ctl", name]).code != 0 {
        assert!(Instant::now() < until, "guest {name} does not answer");
        sleep(Duration::from_millis(100));
    }
    running
}

fn end(scene: &Scene, guest: Running, name: &str) {
    scene.run(&["stop", name]).ok();
    guest.wait(LIMIT).ok();
}

#[test]
fn a_guest_without_shared_memory_is_asked_and_shown_over_its_port() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "web", "kv");
    assert!(on(&scene, "web").is_empty(), "nothing is on by itself");
    let asked = scene
        .run(&[
            "ctl",
            "web",
            "rate=199",
            "events=kv.*,-kv.depth,off-cpu",
            "budget=90%",
            "stack=dwarf,4096",
            "--lease",
            "20s",
            "--json",
        ])
        .ok()
        .json();
    assert_matches_its_schema(&asked);
    assert_eq!((rate(&asked), &asked["lasting"]), (199, &true.into()), "{asked}");
    assert!(has(&asked, "off-cpu") && asked["effect"]["budget_percent"] == 90.0, "{asked}");
    assert!(asked["effective_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{asked}");
    // Another process sees what that one has left behind.
    let seen = until(&scene, "web", "the request", |state| state["askers"][0]["alive"] == true);
    let asker = &seen["askers"][0];
    assert_eq!((&asker["rate"], &asker["patterns"]), (&199.into(), &"kv.*,-kv.depth".into()), "{seen}");
    assert_eq!(
        (&asker["lease_ms"], &seen["effect"]["stack_bytes"]),
        (&20_000.into(), &4096.into()),
        "{seen}"
    );
    let names = on(&scene, "web");
    assert!(names.contains(&"kv.get".into()) || names.contains(&"kv.batch".into()), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("kv.") && name != "kv.depth"), "{names:?}");

    // The names come from the guest, so those that there are can be told.
    scene.run(&["ctl", "web", "events=+kv.gte"]).failed_with(2).says(&["`kv.gte`"]);
    scene.run(&["list", "web", "none.*"]).failed_with(1).says(&["none.*", "kv.miss"]);
    let marked = scene.run(&["ctl", "web", "mark=deploy 4711", "flush", "--json"]).ok().json();
    assert_eq!(marked["lasting"], false, "{marked}");
    let held = scene.run(&["ctl", "web", "rate=499", "--for", "1s", "--json"]).ok().json();
    assert_eq!(rate(&held), 499);
    let after = until(&scene, "web", "the first request alone", |state| rate(state) == 199);
    assert_eq!(after["askers"].as_array().map(Vec::len), Some(1), "{after}");
    end(&scene, guest, "web");
}

/// QEMU serves one of them; that one passes on what the others say and are told, and when it is killed another takes its place. Each gets what it
/// asked for, none loses anything, and nothing stays on.
#[test]
fn several_collectors_share_a_port_and_outlive_each_other() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "web", "kv");
    let first = scene.start(&["record", "web", "-F", "199", "-e", "samples,switches", "-o", "a.uniprof"]);
    until(&scene, "web", "the first", |state| rate(state) == 199 && has(state, "switches"));
    let second = scene.start(&["record", "web", "-F", "499", "-e", "samples,kv.miss", "-o", "b.uniprof"]);
    let both = until(&scene, "web", "both", |state| rate(state) == 499 && has(state, "switches"));
    let alive = |state: &serde_json::Value| {
        state["askers"].as_array().unwrap().iter().filter(|asker| asker["alive"] == true).count()
    };
    assert_eq!(alive(&both), 2, "{both}");
    assert_eq!(on(&scene, "web"), ["kv.miss"]);
    let third = scene.run(&["ctl", "web", "events=off-cpu", "--for", "1s", "--json"]).ok().json();
    assert!(has(&third, "off-cpu") && rate(&third) == 499, "{third}");

    // The one that has the port.
    first.signal(Signal::KILL);
    assert_ne!(first.wait(LIMIT).code, 0);
    let one = until(&scene, "web", "the second alone", |state| !has(state, "switches") && alive(state) == 1);
    assert_eq!(rate(&one), 499, "{one}");
    sleep(Duration::from_secs(1));
    second.signal(Signal::INT);
    let said = second.wait(LIMIT).ok().stderr;
    let report = report(&scene, "b.uniprof");
    assert_whole(&report);
    assert!(report["samples"].as_u64() > Some(100), "{report} {said}");
    let none = until(&scene, "web", "nothing", |state| rate(state) == 0);
    assert_eq!(none["effect"]["classes"].as_array().map(Vec::len), Some(0), "{none}");

    // The only one, and killed.
    let last = scene.start(&["record", "web", "-F", "299", "-e", "samples,kv.*", "-o", "c.uniprof"]);
    until(&scene, "web", "the last", |state| rate(state) == 299);
    assert!(!on(&scene, "web").is_empty());
    last.signal(Signal::KILL);
    assert_ne!(last.wait(LIMIT).code, 0);
    until(&scene, "web", "its lease", |state| rate(state) == 0 && alive(state) == 0);
    assert!(on(&scene, "web").is_empty());
    end(&scene, guest, "web");
}

#[test]
fn who_keeps_the_port_from_others_is_named() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "web", "idle");
    let holder = scene.start(&["record", "web", "-F", "99", "-o", "a.uniprof"]);
    until(&scene, "web", "the recorder", |state| rate(state) == 99);
    let pid = format!("record (pid {})", holder.pid());
    let limit = Instant::now() + LIMIT;
    // Whoever asked last may still have the port: the recorder takes it within a moment.
    let refused = loop {
        holder.signal(Signal::STOP);
        let asked = scene.run(&["ctl", "web"]);
        if asked.code != 0 {
            break asked;
        }
        assert!(Instant::now() < limit, "the recorder never has the port");
        holder.signal(Signal::CONT);
        sleep(Duration::from_millis(200));
    };
    refused.failed_with(1).says(&["uniprof", &pid, "end it"]);
    holder.signal(Signal::CONT);
    until(&scene, "web", "an answer", |state| rate(state) == 99);
    holder.signal(Signal::INT);
    holder.wait(LIMIT).ok();
    end(&scene, guest, "web");
}

/// Waits until `running` has printed more than `lines` lines.
fn wait_for_lines(running: &Running, lines: usize) {
    let until = Instant::now() + LIMIT;
    while running.so_far().lines().count() <= lines {
        assert!(Instant::now() < until, "no events come: {}", running.so_far());
        sleep(Duration::from_millis(50));
    }
}

/// Events of a guest that records nothing by itself, because whoever follows asks for them; over its port, and besides through a recording that
/// somebody else is writing.
#[test]
fn events_are_followed_over_a_port_and_through_a_recording_that_grows() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "web", "kv");
    let followed = scene.start(&["trace", "web", "--follow", "-e", "kv.miss", "--json"]);
    wait_for_lines(&followed, 10);
    let recorder = scene.start(&["record", "web", "-F", "99", "-e", "kv.batch", "-o", "r.uniprof"]);
    until(&scene, "web", "the recorder", |state| rate(state) == 99);
    let limit = Instant::now() + LIMIT;
    while scene.run(&["trace", "r.uniprof", "--last", "1"]).code != 0 {
        assert!(Instant::now() < limit, "the recording does not begin");
        sleep(Duration::from_millis(100));
    }
    let grown = scene.start(&["trace", "r.uniprof", "--follow", "--filter", "kv.batch"]);
    wait_for_lines(&grown, 10);
    scene.run(&["trace", "r.uniprof", "--follow", "-e", "kv.*"]).failed_with(2).says(&["uniprof ctl"]);
    followed.signal(Signal::INT);
    let names: Vec<String> = followed
        .wait(LIMIT)
        .ok()
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["name"].to_string())
        .filter(|name| name.contains("kv."))
        .collect();
    assert!(names.iter().any(|name| name.contains("kv.miss")), "{names:?}");
    recorder.signal(Signal::INT);
    recorder.wait(LIMIT).ok();
    // Its end is the recording's.
    let told = grown.wait(LIMIT).ok();
    assert!(told.stdout.contains("kv.batch ended after "), "{}", told.stdout);
    let whole = scene.run(&["trace", "r.uniprof", "--filter", "kv.batch"]).ok().stdout;
    assert_eq!(told.stdout.lines().count(), whole.lines().count(), "nothing is missing: {}", told.stderr);
    scene.run(&["trace", "r.uniprof", "--follow"]).failed_with(2).says(&["does not grow any more"]);
    end(&scene, guest, "web");
}
