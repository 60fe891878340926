//! A guest's times on the wall lie within the bound that is said of them, through a pause; what is known of the order of events on
//! different vCPUs.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use uniprof_tests::{Qmp, Running, Scene, assert_matches_its_schema};

const LIMIT: Duration = Duration::from_secs(60);
/// Long against whatever a loaded machine delays.
const PAUSE: Duration = Duration::from_secs(2);

/// From when to when something happened, in nanoseconds since 1970.
type Span = (u64, u64);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// When the guest was stopped, and when it went on.
struct Stopped {
    stop: Span,
    cont: Span,
}

fn ask(qmp: &mut Qmp, command: &str) -> Span {
    let before = now();
    qmp.ask(command, json!({}));
    (before, now())
}

fn pause(scene: &Scene, name: &str) -> Stopped {
    let path: PathBuf = scene.path(&format!("../run/uniprof/{name}/qmp"));
    let mut qmp = Qmp::connect(&path.canonicalize().expect("a control socket"));
    let stop = ask(&mut qmp, "stop");
    sleep(PAUSE);
    Stopped { stop, cont: ask(&mut qmp, "cont") }
}

/// Puts a mark among the records, which happens while the command runs.
fn mark(scene: &Scene, name: &str, text: &str) -> Span {
    let until = Instant::now() + LIMIT;
    loop {
        let before = now();
        let ended = scene.run(&["ctl", name, &format!("mark={text}")]);
        if ended.code == 0 {
            return (before, now());
        }
        assert!(Instant::now() < until, "{ended:?}");
        sleep(Duration::from_millis(100));
    }
}

fn wait_for_file(scene: &Scene, file: &str) {
    let until = Instant::now() + LIMIT;
    let bytes = || std::fs::metadata(scene.path(file)).map_or(0, |meta| meta.len());
    while bytes() < 100_000 {
        assert!(Instant::now() < until, "{file} does not grow");
        sleep(Duration::from_millis(50));
    }
}

fn end(recording: Running) {
    // What comes after a pause is recorded, too.
    sleep(Duration::from_millis(500));
    recording.signal(Signal::INT);
    recording.wait(LIMIT).ok();
}

fn report(scene: &Scene) -> Value {
    let report = scene.run(&["report", "c.uniprof", "--json"]).ok().json();
    assert_matches_its_schema(&report);
    report
}

/// Everything that was recorded, with its time on the wall and the bound of that.
fn events(scene: &Scene) -> Vec<(Value, u64, u64)> {
    let ended = scene.run(&["trace", "c.uniprof", "--json"]).ok();
    assert!(ended.stderr.contains("the guest was paused for "), "{}", ended.stderr);
    let number =
        |document: &Value, key: &str| document[key].as_u64().unwrap_or_else(|| panic!("{key}: {document}"));
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a document"));
    lines
        .map(|document| (number(&document, "wall_ns"), number(&document, "wall_bound_ns"), document))
        .map(|(wall, bound, document)| (document, wall, bound))
        .collect()
}

fn check_pause(report: &Value, events: &[(Value, u64, u64)], stopped: &Stopped) {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{}", report["clock"]));
    let clock = &report["clock"];
    let pauses = clock["pauses"].as_array().unwrap();
    let longest = pauses.iter().max_by_key(|pause| pause["ns"].as_u64()).expect("a pause");
    let [long, off] = ["ns", "bound_ns"].map(|key| number(&longest[key]));
    let least = stopped.cont.0 - stopped.stop.1;
    let most = stopped.cont.1 - stopped.stop.0;
    assert!(long + off >= least && long <= most + off, "{longest}: {least} to {most}");
    assert!(off < long / 4, "{longest}");
    assert!(report["notes"].to_string().contains("the guest was paused for "), "{}", report["notes"]);
    let (all, running) = (number(&clock["bound_ns"]), number(&clock["running_bound_ns"]));
    assert!(running < all && all >= long / 2 - off, "{clock}");

    let (mut before, mut after) = (0, 0);
    let last = number(&longest["after_tsc"]);
    for (event, wall, bound) in events {
        let is_inside = wall - bound > stopped.stop.1 && wall + bound < stopped.cont.0;
        assert!(!is_inside, "the guest stood still at {wall} ± {bound}: {event}");
        if event["tsc"].as_u64().unwrap() <= last {
            before += 1;
            assert!(wall - bound <= stopped.stop.1, "{wall} ± {bound} {:?}: {event}", stopped.stop);
        } else {
            after += 1;
            // Those behind the last sign of life before the pause are in no doubt but that.
            assert!(wall + bound >= stopped.stop.0, "{wall} ± {bound} {:?}: {event}", stopped.cont);
        }
    }
    assert!(before > 100 && after > 100, "{before} {after}");
}

#[test]
fn times_on_the_wall_hold_through_a_pause() {
    let scene = Scene::with_guest();
    let line =
        ["record", "--vcpus", "2", "-e", "+off-cpu", "-o", "c.uniprof", "--name", "clock", "--", "bundled"];
    let recording = scene.start(&[&line[..], &["workload=kv"]].concat());
    // The guest hears of it once its recorder has begun.
    let first = mark(&scene, "clock", "before the pause");
    wait_for_file(&scene, "c.uniprof.partial");
    let second = mark(&scene, "clock", "just before the pause");
    let stopped = pause(&scene, "clock");
    let third = mark(&scene, "clock", "after the pause");
    end(recording);

    let (report, events) = (report(&scene), events(&scene));
    check_pause(&report, &events, &stopped);
    for (text, (from, to)) in
        [("before the pause", first), ("just before the pause", second), ("after the pause", third)]
    {
        // A mark before the recorder's first round may be overwritten.
        let found = events.iter().find(|(event, ..)| event["kind"] == "mark" && event["text"] == text);
        let Some((event, wall, bound)) = found else {
            assert_eq!(text, "before the pause");
            continue;
        };
        assert!(wall + bound >= from && wall - bound <= to, "{from} to {to}, not {wall} ± {bound}: {event}");
    }
    // All vCPUs of an emulated guest read one counter, so the truth is known: no difference.
    let leads = report["clock"]["vcpus"].as_array().unwrap();
    assert_eq!(leads.len(), 1, "{leads:?}");
    let [least, most] =
        ["least_ns", "most_ns"].map(|key| leads[0][key].as_i64().expect("wake-ups both ways"));
    assert!(least <= 0 && 0 <= most, "{leads:?}");
    assert_eq!(report["clock"]["order_bound_ns"].as_u64(), Some((-least).max(most) as u64));

    let text = scene.run(&["trace", "c.uniprof", "--clock", "wall", "--last", "1"]).ok().stdout;
    assert!(text.starts_with("20") && text[..27].ends_with('Z') && text.contains("  vcpu"), "{text}");
    let text = scene.run(&["report", "c.uniprof"]).ok().stdout;
    assert!(
        text.contains("wall-clock times to ") && text.contains("order of events on different vCPUs to "),
        "{text}"
    );
}

#[test]
fn a_pause_is_seen_over_a_serial_port_too() {
    let scene = Scene::with_guest();
    let line = [
        "record",
        "--transport",
        "virtio-serial",
        "--vcpus",
        "2",
        "-o",
        "c.uniprof",
        "--name",
        "clock",
        "--",
    ];
    let recording = scene.start(&[&line[..], &["bundled", "workload=kv"]].concat());
    wait_for_file(&scene, "c.uniprof.partial");
    let stopped = pause(&scene, "clock");
    end(recording);
    check_pause(&report(&scene), &events(&scene), &stopped);
}
