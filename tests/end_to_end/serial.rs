//! The second transport: records over a virtio-serial port, no memory shared.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_tests::Scene;

use crate::guests::start_workload;

const SERIAL: [&str; 2] = ["--transport", "virtio-serial"];
/// Percentage points that a share may be off.
const TOLERANCE: f64 = 4.0;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn report(scene: &Scene, file: &str) -> Value {
    scene.run(&["report", file, "--json"]).ok().json()
}

/// What each of the three functions has of what all three have, in per cent.
fn shares(report: &Value) -> [f64; 3] {
    let functions = report["functions"].as_array().unwrap();
    let total = |name: &str| -> f64 {
        let of = |row: &&Value| row["name"].as_str().unwrap().rsplit("::").next() == Some(name);
        functions.iter().filter(of).map(|row| row["total"].as_f64().unwrap()).sum()
    };
    let totals = ["ratio_sixty", "ratio_thirty", "ratio_ten"].map(total);
    totals.map(|one| one * 100.0 / totals.iter().sum::<f64>())
}

fn sum(report: &Value, class: &str, key: &str) -> u64 {
    let vcpus = report["vcpus"].as_array().unwrap();
    vcpus.iter().map(|vcpu| vcpu["by_class"][class][key].as_u64().unwrap_or(0)).sum()
}

/// Histograms and the heap come over a port, too: nothing is missing.
fn assert_nothing_strange(report: &Value) {
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(0), "{report}");
}

/// Nothing is lost, and nothing is strange.
pub(crate) fn assert_whole(report: &Value) {
    for vcpu in report["vcpus"].as_array().unwrap() {
        assert_eq!((&vcpu["lost"], &vcpu["emitted"]), (&0.into(), &vcpu["received"]), "{report}");
    }
    assert_nothing_strange(report);
}

#[test]
fn both_transports_and_machines_record_the_same() {
    let scene = Scene::with_guest();
    let ways: [&[&str]; 3] =
        [&["--transport", "shm"], &SERIAL, &["--transport", "virtio-serial", "--machine", "microvm"]];
    let mut found = Vec::new();
    for way in ways {
        let mut line = vec!["record", "-F", "499", "-d", "6", "--vcpus", "2", "-o", "r.uniprof"];
        line.extend(way);
        line.extend(["--", "bundled", "workload=ratio"]);
        scene.run(&line).ok();
        let report = report(&scene, "r.uniprof");
        assert_whole(&report);
        assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
        assert_eq!(report["vcpus"].as_array().unwrap().len(), 2);
        let shares = shares(&report);
        for (share, wanted) in shares.iter().zip([60.0, 30.0, 10.0]) {
            assert!((share - wanted).abs() <= TOLERANCE, "{way:?}: {shares:?}");
        }
        let mut threads: Vec<String> = report["threads"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|thread| Some(thread["name"].as_str()?.to_owned()))
            .filter(|name| name.starts_with("ratio-"))
            .collect();
        threads.sort();
        found.push((threads, report["image"].clone(), report["rate"].clone()));
        fs::remove_file(scene.path("r.uniprof")).unwrap();
    }
    assert_eq!(found[0], found[1], "shared memory and virtio-serial");
    assert_eq!(found[0], found[2], "PCI and memory-mapped");
}

/// What lies behind the rings: histograms, and sampled blocks of the heap that are older than the recording.
#[test]
fn histograms_and_the_heap_are_the_same_over_both_transports() {
    let scene = Scene::with_guest();
    let mut answers = Vec::new();
    for way in [&["--transport", "shm"], &SERIAL] {
        let mut line = vec!["record", "-o", "kv.uniprof"];
        line.extend(way);
        line.extend(["--", "bundled", "workload=kv", "requests=20000"]);
        scene.run(&line).ok();
        let report = report(&scene, "kv.uniprof");
        let rows = report["histograms"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == "kv.answer_bytes").expect("the histogram");
        assert_eq!(row["count"], 20_000, "one for each request: {row}");
        answers.push([&row["mean"], &row["p50"], &row["p99"], &row["max"]].map(Value::clone));
        fs::remove_file(scene.path("kv.uniprof")).unwrap();

        let running = start_workload(&scene, "kv", way, "workload=kv");
        scene.run(&["record", "kv", "-d", "1", "-e", "+heap", "-o", "heap.uniprof"]).ok();
        scene.run(&["stop", "kv"]).ok();
        running.wait(LIMIT).ok();
        let heap = scene.run(&["report", "heap.uniprof", "--heap", "--json"]).ok().json();
        let store = |stack: &&Value| stack["frames"].to_string().contains("workload::kv");
        let older = heap["stacks"].as_array().unwrap().iter().filter(store).count();
        assert!(older > 0, "{way:?}: the store was filled before the recording: {heap}");
        fs::remove_file(scene.path("heap.uniprof")).unwrap();
    }
    assert_eq!(answers[0], answers[1]);
}

/// What led to a crash, and what was said of it, goes out before the machine ends: from the drain's own share of time, on a vCPU that others keep
/// busy, and after that by polling.
#[test]
fn a_guest_that_panics_sends_its_last_events_and_why() {
    const WHY: &str = "ledger out of balance: account 17";
    let scene = Scene::with_guest();
    let line = ["record", "-o", "c.uniprof", "--", "bundled", "workload=crash-panic"];
    let said = scene.run(&[&line[..1], &SERIAL, &line[1..]].concat()).ok().stderr;
    assert!(said.contains("panicked") && said.contains(WHY), "{said}");
    let report = report(&scene, "c.uniprof");
    assert_whole(&report);
    let trace = scene.run(&["trace", "c.uniprof", "--json", "--last", "200"]).ok().stdout;
    let events: Vec<Value> = trace.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let is_why = |event: &Value| event["text"].as_str().is_some_and(|text| text.contains(WHY));
    let said = events.iter().rposition(is_why).expect("the panic's own line of the log");
    assert!(
        events[said..].iter().all(|event| event["kind"] == "log"),
        "nothing goes on behind it: {events:?}"
    );
    // Twenty-five requests go well, and one does not.
    let requests = scene.run(&["trace", "c.uniprof", "--json", "--filter", "http.request"]).ok().stdout;
    assert_eq!(requests.lines().filter(|line| line.contains("span_begin")).count(), 26);
    assert_eq!(requests.lines().filter(|line| line.contains("span_end")).count(), 25);
    let tables = uniprof_tests::records::read_records(&scene.path("c.uniprof"), |_, _| {});
    let crashes = &tables.tables().expect("the tables").crashes;
    let record = crashes.iter().find_map(|slot| slot.entry()).expect("the crash's own record");
    assert!(String::from_utf8_lossy(record.message.bytes()).contains(WHY), "{record:?}");
}

#[test]
fn a_flood_of_events_on_the_only_vcpu_is_counted_to_the_record() {
    let scene = Scene::with_guest();
    let mut line = vec!["record", "-F", "199", "--ring", "64K", "-o", "b.uniprof"];
    line.extend(SERIAL);
    line.extend(["--", "bundled", "workload=burst", "seconds=4"]);
    scene.run(&line).ok();
    let report = report(&scene, "b.uniprof");
    let logs = scene.run(&["logs", "b.uniprof", "--from", "console"]).ok().stdout;
    let own: Vec<u64> =
        logs.lines().filter_map(|line| line.split_once(" emitted=")?.1.trim().parse().ok()).collect();
    let [emitted, received, lost] = ["emitted", "received", "lost"].map(|key| sum(&report, "events", key));
    assert_eq!(own, [emitted], "the guest's own count: {report}");
    assert_eq!(emitted, received + lost);
    // The vCPU is never idle: what came, came in the port's own share of time.
    assert!(lost > 0 && received > 10_000, "{report}");
    assert!(sum(&report, "samples", "received") > 0, "{report}");
    assert_eq!(sum(&report, "samples", "lost"), 0, "{report}");
    assert_nothing_strange(&report);
}

#[test]
fn a_guest_that_runs_takes_wishes_over_its_port() {
    let scene = Scene::with_guest();
    let running = start_workload(&scene, "web", &SERIAL, "workload=ratio");
    let mut rates = Vec::new();
    for (more, file) in [(&["-F", "997"][..], "a.uniprof"), (&[][..], "b.uniprof")] {
        let mut line = vec!["record", "web", "-d", "3", "-o", file];
        line.extend(more);
        scene.run(&line).ok();
        rates.push(report(&scene, file)["rate"].as_u64());
    }
    assert_eq!(rates, [Some(997), Some(99)], "asked for, and withdrawn");
    scene.run(&["record", "web", "--transport", "shm"]).failed_with(3).says(&["shares no memory"]);
    scene.run(&["stop", "web"]).ok();
    running.wait(LIMIT).ok();
    let running = start_workload(&scene, "other", &[], "workload=ratio");
    let mut line = vec!["record", "other"];
    line.extend(SERIAL);
    scene.run(&line).failed_with(3).says(&["uniprof run --transport virtio-serial"]);
    scene.run(&["stop", "other"]).ok();
    running.wait(LIMIT).ok();
}

/// The guest's socket, moved aside, with somebody unreliable in its place.
fn port_of(scene: &Scene, name: &str) -> PathBuf {
    let command = scene.command::<&str>(&[]);
    let runtime = command.get_envs().find(|(key, _)| *key == "XDG_RUNTIME_DIR").and_then(|(_, dir)| dir);
    PathBuf::from(runtime.unwrap()).join("uniprof").join(name).join("port")
}

/// Passes bytes on from the guest and spoils some: garbage in between, pieces left out, and twice the line is cut in the middle of a piece.
fn spoil(listener: &UnixListener, real: &Path, over: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let (mut reads, mut cuts) = (0_u32, 0);
    // The account is closed over a good line: how long that takes over a bad one is a matter of luck.
    let calm = Instant::now() + Duration::from_secs(8);
    while !over.load(Ordering::Relaxed) {
        let Ok((host, _)) = listener.accept() else {
            sleep(Duration::from_millis(5));
            continue;
        };
        host.set_nonblocking(false).unwrap();
        let guest = UnixStream::connect(real).unwrap();
        let (mut from_host, mut to_guest) = (host.try_clone().unwrap(), guest.try_clone().unwrap());
        let talk = thread::spawn(move || std::io::copy(&mut from_host, &mut to_guest));
        guest.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (mut guest, mut host) = (guest, host);
        let mut bytes = vec![0; 16 << 10];
        let begun = Instant::now();
        while !over.load(Ordering::Relaxed) {
            let Ok(count) = guest.read(&mut bytes) else { continue };
            reads += 1;
            let piece = &bytes[..count];
            let passed = match reads % 10 {
                _ if count == 0 => break,
                _ if Instant::now() > calm => host.write_all(piece),
                3 => host
                    .write_all(b"\xf7up\x1e\x01 noise, and more noise")
                    .and_then(|()| host.write_all(piece)),
                6 => host.write_all(&piece[..count / 2]),
                _ => host.write_all(piece),
            };
            if passed.is_err() {
                break;
            }
            if cuts < 2 && begun.elapsed() > Duration::from_secs(2) {
                cuts += 1;
                let _ = host.write_all(&piece[..count / 3]);
                break;
            }
        }
        // Both ends: the thread that copies ends with them.
        let _ = host.shutdown(std::net::Shutdown::Both);
        let _ = guest.shutdown(std::net::Shutdown::Both);
        let _ = talk.join();
    }
}

#[test]
fn garbage_halves_and_a_line_that_breaks_cost_nothing() {
    let scene = Scene::with_guest();
    let running = start_workload(&scene, "web", &SERIAL, "workload=ratio");
    let port = port_of(&scene, "web");
    let real = port.with_file_name("real");
    fs::rename(&port, &real).unwrap();
    let listener = UnixListener::bind(&port).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let spoiler = {
        let over = Arc::clone(&over);
        thread::spawn(move || spoil(&listener, &real, &over))
    };
    let recorded = scene.run(&["record", "web", "-F", "499", "-d", "10", "-o", "w.uniprof"]);
    over.store(true, Ordering::Relaxed);
    spoiler.join().unwrap();
    let said = recorded.ok().stderr;
    // Whether a frame of records is hit, and asked for again, is a matter of time: the conversation's own tests have that.
    for trouble in ["were no frames", "2 times the serial port was connected anew"] {
        assert!(said.contains(trouble), "{trouble}: {said}");
    }
    let report = report(&scene, "w.uniprof");
    assert_whole(&report);
    assert!(report["samples"].as_u64().unwrap() > 500, "{report}");
    scene.run(&["stop", "web"]).ok();
    running.wait(LIMIT).ok();
}
