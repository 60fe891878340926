//! `uniprof trace`: events by name, in order, chosen, summed up, and as they come.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

use crate::guests::start_workload;

const LIMIT: Duration = Duration::from_secs(60);

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a document per line")).collect();
    all.iter().for_each(assert_matches_its_schema);
    all
}

fn times(documents: &[Value]) -> Vec<u64> {
    documents.iter().map(|document| document["tsc"].as_u64().unwrap()).collect()
}

/// How often each name of a kind came.
fn counts(documents: &[Value], kinds: &[&str]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for document in documents.iter().filter(|document| kinds.iter().any(|kind| document["kind"] == *kind)) {
        *counts.entry(document["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn a_recording_is_told_in_order_chosen_from_and_summed_up() {
    let scene = Scene::with_guest();
    let line = ["record", "--vcpus", "2", "-d", "2", "-o", "kv.uniprof", "--", "bundled", "workload=kv"];
    scene.run(&line).ok();
    let trace = |more: &[&str]| scene.run(&[&["trace", "kv.uniprof"], more].concat());

    let told = trace(&["--json"]).ok();
    let all = documents(&told.stdout);
    assert!(times(&all).is_sorted() && !told.stderr.contains("came so late"), "{}", told.stderr);
    let names = counts(&all, &["event", "span_begin", "span_end", "counter"]);
    assert!(["kv.batch", "kv.served", "kv.miss"].iter().all(|name| names.contains_key(*name)), "{names:?}");
    // Arguments have their names and types, ends of spans their durations.
    let miss = all.iter().find(|event| event["name"] == "kv.miss").unwrap();
    assert!(miss["args"]["vcpu"].as_u64() < Some(2) && miss["args"]["bytes"].is_u64(), "{miss}");
    let end = all.iter().find(|event| event["kind"] == "span_end").unwrap();
    assert!(end["duration_ns"].as_u64() > Some(0), "{end}");

    let chosen = documents(&trace(&["--json", "--filter", "kv.miss and vcpu == 1"]).ok().stdout);
    let expected = all.iter().filter(|event| event["name"] == "kv.miss" && event["vcpu"] == 1).count();
    assert!(chosen.len() == expected && expected > 0);
    let slow = documents(&trace(&["--json", "--filter", "kind == span and duration > 100us"]).ok().stdout);
    let expected = all
        .iter()
        .filter(|event| event["kind"] == "span_end" && event["duration_ns"].as_u64().unwrap() > 100_000);
    assert_eq!(slow.len(), expected.count());

    let summary = trace(&["--summary", "--json"]).ok().json();
    assert_matches_its_schema(&summary);
    for row in summary["events"].as_array().unwrap() {
        let kinds = match row["kind"].as_str().unwrap() {
            "span" => vec!["span_begin", "span_end"],
            kind => vec![kind],
        };
        let name = row["name"].as_str().unwrap();
        assert_eq!(row["received"].as_u64(), counts(&all, &kinds).get(name).copied(), "{row}");
        if row["class_lost"] == 0 {
            assert_eq!((&row["emitted"], &row["lost"]), (&row["received"], &0.into()), "{row}");
        }
        if row["kind"] == "span" {
            let [p50, p99, max] = ["p50_ns", "p99_ns", "max_ns"].map(|key| row[key].as_u64().unwrap());
            assert!(0 < p50 && p50 <= p99 && p99 <= max, "{row}");
            assert_eq!(row["count"].as_u64(), counts(&all, &["span_end"]).get(name).copied());
        }
    }
    trace(&["--filter", "nosuch.*"]).failed_with(2).says(&[
        "no event is called nosuch.*; there are: ",
        "kv.batch, ",
        "lock_wait",
    ]);
    let text = trace(&["--summary"]).ok().stdout;
    assert!(text.starts_with("NAME") && text.contains("kv.batch"), "{text}");
    let lines = trace(&["--last", "3"]).ok();
    assert!(lines.stdout.lines().count() == 3 && !lines.stdout.contains('\u{1b}'), "{}", lines.stdout);
}

#[test]
fn what_was_emitted_is_what_the_workload_counted() {
    let scene = Scene::with_guest();
    for (ring, file) in [("64K", "small.uniprof"), ("16M", "large.uniprof")] {
        let words = ["bundled", "workload=burst", "seconds=2"];
        scene.run(&[&["record", "--ring", ring, "-o", file, "--"], &words[..]].concat()).ok();
        let logs = scene.run(&["logs", file, "--from", "console"]).ok().stdout;
        let counted: u64 =
            logs.lines().filter_map(|line| line.split_once(" emitted=")?.1.trim().parse::<u64>().ok()).sum();
        let summary = scene.run(&["trace", file, "--summary", "--json"]).ok().json();
        assert_matches_its_schema(&summary);
        let events = summary["events"].as_array().unwrap();
        let burst = events.iter().find(|row| row["name"] == "burst").expect("the workload's event");
        let [received, class_lost] = ["received", "class_lost"].map(|key| burst[key].as_u64().unwrap());
        // The class has no other name, so that what was lost of the class was lost of this one.
        assert!(counted > 0 && received + class_lost == counted, "{counted} {burst}");
        match class_lost {
            0 => assert_eq!((&burst["emitted"], &burst["lost"]), (&counted.into(), &0.into())),
            _ => assert!(burst["emitted"].is_null() && burst["lost"].is_null(), "{burst}"),
        }
    }
}

#[test]
fn ten_thousand_calls_are_told_with_their_values_and_counted_by_name() {
    let scene = Scene::with_guest();
    let line = ["record", "--vcpus", "2", "--ring", "4M", "-e", "+calls", "-o", "calls.uniprof", "--"];
    scene.run(&[&line[..], &["bundled", "workload=calls"]].concat()).ok();
    let trace = |more: &[&str]| scene.run(&[&["trace", "calls.uniprof"], more].concat()).ok();

    let logs = scene.run(&["logs", "calls.uniprof", "--from", "console"]).ok().stdout;
    let counted: BTreeMap<&str, u64> = logs
        .lines()
        .filter_map(|line| line.split_once("calls: name=")?.1.split_once(" calls="))
        .map(|(name, calls)| (name, calls.trim().parse().expect("a count")))
        .collect();
    assert_eq!(counted.values().sum::<u64>(), 10_000, "{logs}");
    let summary = trace(&["--summary", "--json"]).json();
    assert_matches_its_schema(&summary);
    let rows: Vec<&Value> =
        summary["events"].as_array().unwrap().iter().filter(|row| row["kind"] == "call").collect();
    assert_eq!(rows.len(), counted.len());
    for row in rows {
        let calls = counted[row["name"].as_str().unwrap()];
        assert_eq!([&row["emitted"], &row["received"], &row["count"]].map(Value::as_u64), [Some(calls); 3]);
        assert_eq!(row["lost"], 0, "{row}");
    }
    for (filter, expected) in [
        ("kind == call", 10_000),
        ("fs.open and arg.path ~ /data/file-* and arg.result >= 3", 1_000),
        ("fs.open and arg.path == \"/data/file-0042\"", 1),
        ("fs.write and arg.bytes ~ 636f6e74656e7473* and arg.result == 21", 1_000),
        ("fs.write and arg.result == 4", 1_000),
        ("fs.read and arg.size == 8 and arg.result == 8", 1_000),
        ("fs.read and arg.fd == 999 and arg.result == -9", 1_000),
        ("fs.seek and arg.position < 0 and arg.result == -22", 1_000),
        ("arg.result < 0", 2_000),
        // It has none.
        ("fs.close and not arg.result == 0", 1_000),
    ] {
        let told = trace(&["--json", "--filter", filter]).stdout;
        assert_eq!(told.lines().count(), expected, "{filter}");
    }
    documents(&trace(&["--json", "--filter", "class == calls"]).stdout);
    let stats = trace(&["--stats", "--json"]).json();
    assert_matches_its_schema(&stats);
    assert_eq!((&stats["total"]["calls"], &stats["total"]["errors"]), (&10_000.into(), &2_000.into()));
    let text = trace(&["--stats"]).stdout;
    assert!(text.starts_with("% time     seconds  usecs/call     calls    errors call\n"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.ends_with("10000      2000 total")), "{text}");
}

#[test]
fn mistakes_in_a_filter_are_pointed_at() {
    let scene = Scene::new();
    let told = scene.run(&["trace", "sample", "--filter", "kv.* and arg.bytes >"]).failed_with(2).stderr;
    assert!(told.contains("column 21: expected a value") && told.contains("found the end\n"), "{told}");
    let column = |mark| told.lines().find_map(|line| line.strip_prefix("  ")?.find(mark));
    assert_eq!((column("kv.*"), column("^")), (Some(0), Some(20)), "{told}");
    scene
        .run(&["trace", "sample", "--filter", "kind == spam"])
        .failed_with(2)
        .says(&["there is no kind `spam`", "span_begin"]);
    let told = scene.run(&["trace", "sample", "--filter", "vcpu == 99"]).ok();
    assert!(
        told.stdout.is_empty() && told.stderr.contains("none of 4 events matches the filter"),
        "{told:?}"
    );
    scene.run(&["trace", "sample", "--follow"]).failed_with(2).says(&["no running guest", "uniprof ls"]);
    scene.run(&["trace", "sample", "--stats"]).failed_with(1).says(&["calls were not recorded", "-e +calls"]);
}

/// Waits until `running` has printed more than `lines` lines.
fn wait_for_lines(running: &Running, lines: usize) {
    let until = Instant::now() + LIMIT;
    while running.so_far().lines().count() <= lines {
        assert!(Instant::now() < until, "no events come");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_running_guest_is_followed_until_it_ends_or_somebody_has_seen_enough() {
    let scene = Scene::with_guest();
    let guest = start_workload(&scene, "web", &["--vcpus", "2"], "workload=kv");
    let seen = scene.start(&["trace", "web", "--follow", "--json", "--filter", "kv.*"]);
    wait_for_lines(&seen, 10);
    seen.signal(Signal::INT);
    let seen = seen.wait(LIMIT).ok();
    let all = documents(&seen.stdout);
    let late = seen.stderr.contains("came so late");
    assert!(all.iter().all(|event| event["name"].as_str().unwrap().starts_with("kv.")));
    assert!(late || times(&all).is_sorted(), "{}", seen.stderr);

    // What it does not record by itself it is asked for meanwhile; also without its registry, as the QEMU that it is.
    let pid = scene.qemus()[0];
    for target in ["web".to_owned(), format!("pid:{pid}")] {
        let asked = scene.start(&[
            "trace",
            &target,
            "-f",
            "-e",
            "+off-cpu",
            "--json",
            "--filter",
            "class == off-cpu",
        ]);
        wait_for_lines(&asked, 3);
        asked.signal(Signal::INT);
        let asked = documents(&asked.wait(LIMIT).ok().stdout);
        assert!(!asked.is_empty() && asked.iter().all(|event| event["class"] != "events"), "{asked:?}");
    }

    // One that has begun before the guest ends sees its end.
    let summed = scene.start(&["trace", "web", "--follow", "--summary", "--json"]);
    let told = scene.start(&["trace", "web", "-f", "--filter", "kind == span"]);
    wait_for_lines(&told, 10);
    scene.run(&["stop", "web"]).ok();
    let told = told.wait(LIMIT).ok().says(&["guest web has ended"]);
    assert!(told.stdout.contains("kv.batch ended after "), "{}", told.stdout);
    let summary = summed.wait(LIMIT).ok().json();
    assert_matches_its_schema(&summary);
    assert!(summary["events"].as_array().is_some_and(|rows| !rows.is_empty()), "{summary}");
    guest.wait(LIMIT).ok();
}

/// Writes over every occurrence of `what`.
fn replace(bytes: &mut [u8], what: &[u8], with: &[u8]) {
    assert_eq!(what.len(), with.len());
    let places: Vec<usize> =
        bytes.windows(what.len()).enumerate().filter(|(_, word)| *word == what).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + with.len()].copy_from_slice(with));
}

#[test]
fn names_come_from_memory_where_no_elf_file_has_them() {
    let scene = Scene::with_guest();
    scene.run(&["kernel", "-o", "k.elf"]).ok();
    let mut kernel = std::fs::read(scene.path("k.elf")).expect("the kernel");
    // The section is loaded all the same; only its name is another.
    replace(&mut kernel, b"uniprof_sites\0", b"uniprof_other\0");
    // A build-id that is not that of the kernel which is built in.
    let note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let at = kernel.windows(note.len()).position(|word| word == note).expect("a build-id") + note.len();
    kernel[at] ^= 0xff;
    std::fs::write(scene.path("k.elf"), kernel).expect("the kernel is written");

    let guest = start_kernel(&scene, "web");
    scene.run(&["dump", "web", "-o", "web.core"]).ok();
    for input in ["web", "web.core"] {
        let told = scene.run(&["trace", input, "--json", "--filter", "kv.miss", "--last", "5"]).ok();
        let all = documents(&told.stdout);
        assert!(!all.is_empty(), "{input}: {}", told.stderr);
        assert!(
            all.iter().all(|event| event["args"]["bytes"].is_u64() && event["file"].is_string()),
            "{all:?}"
        );
    }
    let listed = scene.run(&["list", "web.core", "kv.*", "--json"]).ok().json();
    assert_matches_its_schema(&listed);
    assert_eq!(listed["from"], "memory");
    let miss = listed["sites"].as_array().unwrap().iter().find(|site| site["name"] == "kv.miss").unwrap();
    assert_eq!((&miss["enabled"], &miss["args"][1]["name"]), (&true.into(), &"bytes".into()), "{miss}");
    scene.run(&["stop", "web"]).ok();
    guest.wait(LIMIT).ok();
}

/// Starts `k.elf` and waits until its workload has told something.
fn start_kernel(scene: &Scene, name: &str) -> Running {
    let running = scene.start(&["run", "k.elf", "--name", name, "--", "workload=kv"]);
    let until = Instant::now() + LIMIT;
    while !scene.run(&["trace", name, "--last", "1"]).stdout.contains("kv-0") {
        assert!(Instant::now() < until, "guest {name} does not come up");
        sleep(Duration::from_millis(100));
    }
    running
}
