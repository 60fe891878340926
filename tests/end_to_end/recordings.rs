//! Recordings after accidents, and elsewhere.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use uniprof_tests::{Running, Scene};

const LIMIT: Duration = Duration::from_secs(60);
/// More than the kernel's image, which stands at the beginning, and some records behind it.
const SOME_RECORDS: u64 = 5_000_000;

fn start(scene: &Scene, name: &str) -> Running {
    scene.start(&["record", "-F", "997", "-o", name, "--", "bundled", "workload=kv"])
}

/// Waits until the recording has grown to `bytes` in its partial file.
fn wait_for_size(scene: &Scene, name: &str, bytes: u64) {
    let until = Instant::now() + LIMIT;
    let partial = scene.path(&format!("{name}.partial"));
    while fs::metadata(&partial).map_or(0, |meta| meta.len()) < bytes {
        assert!(Instant::now() < until, "{} does not grow to {bytes} bytes", partial.display());
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn killed_at_any_moment_all_but_the_last_chunk_is_there() {
    let scene = Scene::with_guest();
    let recording = start(&scene, "k.uniprof");
    wait_for_size(&scene, "k.uniprof", SOME_RECORDS);
    recording.signal(Signal::KILL);
    let killed = recording.wait(LIMIT);
    assert_eq!(killed.code, 128 + 9);
    assert_eq!(scene.files(), ["k.uniprof.partial"], "no half-written file under the final name");
    for name in ["k.uniprof", "k.uniprof.partial"] {
        let report = scene.run(&["report", name, "--json"]).ok().json();
        assert!(report["samples"].as_u64().unwrap() > 100, "{report}");
        assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
        assert!(report["notes"][0].as_str().unwrap().contains("cut off"), "{report}");
    }
    // The memory that it shared with its guest goes when somebody looks for guests.
    scene.run(&["ls"]).ok();
}

#[test]
fn ctrl_c_ends_a_recording_well() {
    let scene = Scene::with_guest();
    let recording = start(&scene, "c.uniprof");
    wait_for_size(&scene, "c.uniprof", SOME_RECORDS);
    recording.signal(Signal::INT);
    recording.wait(LIMIT).ok();
    assert_eq!(scene.files(), ["c.uniprof"]);
    let report = scene.run(&["report", "c.uniprof", "--json"]).ok().json();
    assert!(
        report["samples"].as_u64().unwrap() > 100 && report["notes"].as_array().unwrap().is_empty(),
        "{report}"
    );
}

#[test]
fn damaged_recordings_are_read_as_far_as_they_go() {
    let scene = Scene::with_guest();
    // With much more of records than of the kernel's image, which stands at the beginning.
    let line = ["record", "-F", "997", "-d", "6", "-o", "g.uniprof", "--", "bundled", "workload=kv"];
    scene.run(&line).ok();
    let good = fs::read(scene.path("g.uniprof")).unwrap();
    assert!(good.len() as u64 > SOME_RECORDS, "{} bytes", good.len());
    let samples = |name: &str| {
        let report = scene.run(&["report", name, "--json"]).ok().json();
        (report["samples"].as_u64().unwrap(), report["notes"].to_string())
    };
    let (all, notes) = samples("g.uniprof");
    assert_eq!(notes, "[]");

    fs::write(scene.path("truncated.uniprof"), &good[..good.len() * 3 / 4]).unwrap();
    let (some, notes) = samples("truncated.uniprof");
    assert!(some > 0 && some < all && notes.contains("cut off"), "{some} of {all}: {notes}");

    let mut corrupt = good.clone();
    let middle = corrupt.len() * 2 / 3;
    for byte in &mut corrupt[middle..middle + 100] {
        *byte ^= 0x5a;
    }
    fs::write(scene.path("corrupt.uniprof"), &corrupt).unwrap();
    let (some, notes) = samples("corrupt.uniprof");
    assert!(some > 0 && some < all && notes.contains("damaged"), "{some} of {all}: {notes}");

    fs::write(scene.path("empty.uniprof"), b"").unwrap();
    scene.run(&["report", "empty.uniprof"]).failed_with(1).says(&["empty.uniprof", "empty"]);
    fs::write(scene.path("foreign.uniprof"), b"PERFILE2 and then something else").unwrap();
    scene
        .run(&["flame", "foreign.uniprof"])
        .failed_with(1)
        .says(&["foreign.uniprof", "neither a recording nor"]);
    assert!(!scene.path("foreign.svg").exists());
    scene.run(&["report", "none.uniprof"]).failed_with(1).says(&["none.uniprof", "uniprof record"]);
}

/// Cuts at many places, among them inside every kind of record: never a panic, and never a hang.
#[test]
fn any_prefix_of_a_recording_is_met_with_a_sentence_or_a_report() {
    let scene = Scene::with_guest();
    scene.run(&["record", "-d", "1", "-o", "g.uniprof", "--", "bundled", "workload=ratio"]).ok();
    let good = fs::read(scene.path("g.uniprof")).unwrap();
    for step in 0..24 {
        let length = good.len() * step / 24 + step * 37 % 11;
        fs::write(scene.path("cut.uniprof"), &good[..length.min(good.len())]).unwrap();
        let ended = scene.run(&["report", "cut.uniprof"]);
        match ended.code {
            0 => {}
            1 => drop(ended.says(&[])),
            other => panic!("exit code {other} at {length} bytes: {}", ended.stderr),
        }
    }
}

#[test]
fn a_recording_opens_elsewhere_with_its_own_symbols() {
    let scene = Scene::with_guest();
    scene.run(&["kernel", "-o", "mine.elf"]).ok();
    scene
        .run(&["record", "-F", "199", "-d", "2", "-o", "r.uniprof", "--", "mine.elf", "workload=ratio"])
        .ok();
    fs::remove_file(scene.path("mine.elf")).unwrap();
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
    let symbols = scene.run(&["symbols", "r.uniprof"]).ok().stdout;
    assert!(symbols.contains("attached to the recording"), "{symbols}");
    assert!(symbols.contains(report["image"]["build_id"].as_str().unwrap()), "{symbols}");
    // Left out, the input is the newest recording here.
    scene.run(&["flame"]).ok();
    assert!(scene.path("r.svg").is_file());
}
