//! Half an hour of load with a recording on: does memory stay bounded on both sides, does anything stall, is everything counted?
//!
//!     cargo bench -p uniprof-tests --bench soak
//!     cargo bench -p uniprof-tests --bench soak -- --minutes 3 --rate 500      at most 500 requests a second
//!
//! Ends with 1 where an answer is no.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use uniprof_load::{Kind, Load, Mix, Plan};
use uniprof_tests::Scene;
use uniprof_tests::process::resident_mib;
use uniprof_tests::web::{WebServer, route};
use uniprof_tests::words::number;

const MINUTES: u64 = 30;
/// How often the state of things is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// What the collector may have, in MiB, and by how much more it and QEMU may have at the end than after the first tenth.
const MOST_MIB: f64 = 100.0;
const MOST_GROWTH_MIB: f64 = 8.0;
const CONNECTIONS: usize = 8;

/// One look.
struct Look {
    answered: u64,
    collector_mib: f64,
    qemu_mib: f64,
    store_bytes: u64,
}

fn main() -> ExitCode {
    let minutes = number("--minutes").unwrap_or(MINUTES);
    let scene = Scene::with_guest();
    let seconds = minutes * 60;
    let guest =
        WebServer::record(&scene, &["-o", "soak.uniprof", "-F", "99", "-e", "+off-cpu", "--vcpus", "2"]);
    // Nothing that leaks, so that the guest's heap has a bound to be held to.
    let mix = [
        (Kind::Get, 60),
        (Kind::Put, 20),
        (Kind::Delete, 5),
        (Kind::Scan, 10),
        (Kind::Slow(2), 2),
        (Kind::Lock(100), 3),
    ];
    let plan = Plan {
        connections: CONNECTIONS,
        requests_per_connection: Some(500),
        rate: number("--rate").map(|rate| rate as f64),
        mix: Mix::new(&mix),
        ..Plan::new(guest.address)
    };
    let load = Load::start(plan).expect("threads");
    let began = Instant::now();
    let mut looks = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(LOOK);
        let look = look(&scene, &guest, load.answered());
        println!(
            "{:6.0} s  {:9} answered  collector {:6.1} MiB  QEMU {:6.1} MiB  in the store {:7} bytes",
            began.elapsed().as_secs_f64(),
            look.answered,
            look.collector_mib,
            look.qemu_mib,
            look.store_bytes
        );
        looks.push(look);
    }
    let tally = load.stop();
    let stats = guest.stats();
    guest.stop();
    let mut verdict = Verdict { good: true };
    verdict.about_memory(&looks);
    verdict.about_stalls(&looks);
    verdict.about_counts(&scene, tally.answered(), &stats);
    verdict.say(tally.failures.is_empty(), format_args!("requests that failed: {:?}", tally.failures));
    if verdict.good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn look(scene: &Scene, guest: &WebServer, answered: u64) -> Look {
    let qemu_mib = scene.qemus().iter().map(|pid| resident_mib(*pid)).sum();
    let store_bytes = guest.stats()["store"]["bytes"].as_u64().expect("the store's size");
    Look { answered, collector_mib: resident_mib(guest.guest().pid()), qemu_mib, store_bytes }
}

struct Verdict {
    good: bool,
}

impl Verdict {
    fn say(&mut self, good: bool, what: std::fmt::Arguments<'_>) {
        println!("{}  {what}", if good { "yes" } else { "NO " });
        self.good &= good;
    }

    fn about_memory(&mut self, looks: &[Look]) {
        let settled = &looks[looks.len() / 10];
        let last = &looks[looks.len() - 1];
        let grew = |of: fn(&Look) -> f64| (of(last), of(last) - of(settled));
        let (now, growth) = grew(|look| look.collector_mib);
        self.say(
            now <= MOST_MIB && growth <= MOST_GROWTH_MIB,
            format_args!("collector: {now:.1} MiB, {growth:+.1} since the first tenth"),
        );
        let (now, growth) = grew(|look| look.qemu_mib);
        self.say(
            growth <= MOST_GROWTH_MIB,
            format_args!("QEMU: {now:.1} MiB, {growth:+.1} since the first tenth"),
        );
    }

    /// Answers between one look and the next.
    fn about_stalls(&mut self, looks: &[Look]) {
        let mut between: Vec<u64> =
            looks.windows(2).map(|pair| pair[1].answered - pair[0].answered).collect();
        between.sort_unstable();
        let (least, median) = (between[0], between[between.len() / 2]);
        self.say(
            least * 4 >= median && least > 0,
            format_args!("answers in {LOOK:?}: at least {least}, {median} in the middle"),
        );
    }

    fn about_counts(&mut self, scene: &Scene, answered: u64, stats: &Value) {
        let served = stats["requests"].as_u64().expect("a number of requests");
        // The guest has also answered those who asked it for its health and its statistics.
        let asked_beside: u64 = ["/healthz", "/stats"]
            .iter()
            .filter_map(|path| route(stats, "GET", path)?["requests"].as_u64())
            .sum();
        self.say(
            served == answered + asked_beside,
            format_args!("the guest served {served}: {answered} of the load, {asked_beside} beside it"),
        );
        let summary = scene.run(&["trace", "soak.uniprof", "--summary", "--json"]).ok().json();
        let mut events = summary["events"].as_array().expect("events").iter();
        let requests = events.find(|event| event["name"] == "http.request").expect("spans of requests");
        let number = |key: &str| requests[key].as_u64().expect("a number");
        let (emitted, received, lost) = (number("emitted"), number("received"), number("lost"));
        // Whoever asked for the statistics was answered, too, after they had been put together.
        self.say(
            emitted == 2 * (served + 1) && emitted == received + lost,
            format_args!(
                "{emitted} begins and ends of requests in the guest, {received} received, {lost} lost"
            ),
        );
        let size = fs::metadata(scene.path("soak.uniprof")).expect("the recording").len();
        println!("     {:.1} MB of recording", size as f64 / 1e6);
    }
}
