//! The guest's network stack against frames of every bad kind: it answers or drops, and still serves those who behave.

use std::time::{Duration, Instant};

use uniprof_tests::Scene;
use uniprof_tests::frames::{Client, Fuzzer, Segment};
use uniprof_tests::web::until_said;

const FRAMES: u32 = 20_000;
/// More than the guest has room for.
const FLOOD: u16 = 3_000;
const PATIENCE: Duration = Duration::from_secs(60);

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const STATS: &[u8] = b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Asks until there is an answer.
fn ask(segment: &Segment, request: &[u8], ports: &mut std::ops::RangeFrom<u16>) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let port = ports.next().expect("ports enough");
        let said = Client::new(segment).ask(request, port, Duration::from_secs(10));
        let said = String::from_utf8_lossy(&said).into_owned();
        if said.starts_with("HTTP/1.1 200 ") {
            return said;
        }
        assert!(Instant::now() < until, "the guest does not answer: {said:?}");
    }
}

fn open_connections(stats: &str) -> u32 {
    let number = stats.split_once("\"now\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{stats}"))
}

#[test]
fn frames_of_every_kind_do_no_harm_on_q35() {
    frames_of_every_kind("q35", 1);
}

#[test]
fn frames_of_every_kind_do_no_harm_on_microvm() {
    frames_of_every_kind("microvm", 2);
}

fn frames_of_every_kind(machine: &str, seed: u64) {
    let scene = Scene::with_guest();
    let segment = Segment::new(&scene.path(""));
    let net = segment.argument();
    let line = ["run", "bundled", "--machine", machine, "--vcpus", "2", "--net", &net, "--", "workload=http"];
    let mut guest = scene.start(&line);
    until_said(&guest, "http: listening on");
    let mut ports = 20_000..;
    ask(&segment, HEALTH, &mut ports);

    Fuzzer::new(&segment, seed).run(FRAMES);
    // A client who means well, on a line that spoils frames: what he gets is his own affair.
    for number in 0..20 {
        let mut client = Client::spoilt(&segment, seed + number, 4);
        client.ask(HEALTH, ports.next().expect("ports enough"), Duration::from_secs(1));
    }
    ask(&segment, HEALTH, &mut ports);

    Fuzzer::new(&segment, seed).flood(FLOOD);
    let said = ask(&segment, STATS, &mut ports);
    let stats: serde_json::Value =
        said.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).expect("JSON");
    println!("{stats}");
    let number = |path: &str| {
        stats.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{path}: {stats}"))
    };
    for reason in ["malformed", "checksum", "no-listener", "not-for-us", "other"] {
        assert!(number(&format!("/packets/drops/{reason}")) > 0, "{reason}: {stats}");
    }
    assert!(number("/packets/in") > u64::from(FRAMES), "{stats}");
    assert!(number("/connections/most_at_once") <= 1_023 && number("/connections/refused") > 0, "{stats}");
    // Who never said more has been forgotten. Some of the fuzzer's have got far enough to be taken for idle clients, who may stay for longer.
    let until = Instant::now() + PATIENCE;
    while open_connections(&ask(&segment, STATS, &mut ports)) > 300 {
        assert!(Instant::now() < until, "half-open connections stay: {stats}");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(!guest.has_ended(), "{}", guest.so_far());
    guest.signal(rustix::process::Signal::INT);
    guest.wait(PATIENCE).ok();
}
