//! Control of guests that run: what collectors ask for, when it takes effect, and that nothing of it outlives them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use uniprof_tests::records::read_records;
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

use crate::guests::start_words;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn state(scene: &Scene, name: &str) -> Value {
    let document = scene.run(&["ctl", name, "--json"]).ok().json();
    assert_matches_its_schema(&document);
    document
}

/// Waits until what is in effect is as `wanted` says.
pub(crate) fn until(scene: &Scene, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + LIMIT;
    loop {
        let now = state(scene, name);
        if wanted(&now) {
            return now;
        }
        assert!(Instant::now() < limit, "{what}: {now}");
        sleep(Duration::from_millis(100));
    }
}

pub(crate) fn rate(state: &Value) -> u64 {
    state["effect"]["rate"].as_u64().expect("a rate")
}

pub(crate) fn has(state: &Value, class: &str) -> bool {
    state["effect"]["classes"].as_array().expect("classes").iter().any(|on| on == class)
}

/// The sites that are on.
pub(crate) fn on(scene: &Scene, name: &str) -> Vec<String> {
    let document = scene.run(&["list", name, "--json"]).ok().json();
    assert_matches_its_schema(&document);
    assert_eq!(document["from"], "memory");
    let sites = document["sites"].as_array().expect("sites").iter();
    let on = sites.filter(|site| site["enabled"] == true);
    on.map(|site| site["name"].as_str().expect("a name").to_owned()).collect()
}

fn end(scene: &Scene, guest: Running, name: &str) {
    scene.run(&["stop", name]).ok();
    guest.wait(LIMIT).ok();
}

/// Two collectors at once each get what they asked for; one that ends takes its part along at once, one that is killed
/// within its lease.
#[test]
fn two_collectors_get_what_they_asked_for_and_leave_nothing_on() {
    let scene = Scene::with_guest();
    let guest = start_quiet(&scene, "web", "kv");
    assert!(on(&scene, "web").is_empty(), "nothing is on by itself");
    let first = scene.start(&["ctl", "web", "rate=199", "events=kv.*,-kv.depth,samples"]);
    let second = scene.start(&["ctl", "web", "rate=49", "events=+off-cpu,+kv.depth"]);
    let both =
        until(&scene, "web", "both", |state| state["askers"].as_array().is_some_and(|all| all.len() == 2));
    assert!(both["askers"].as_array().unwrap().iter().all(|asker| asker["alive"] == true), "{both}");
    let both = until(&scene, "web", "both in effect", |state| rate(state) == 199 && has(state, "off-cpu"));
    assert!(has(&both, "samples") && !has(&both, "events"), "{both}");
    let names = on(&scene, "web");
    assert!(
        names.iter().all(|name| name.starts_with("kv.")) && names.contains(&"kv.depth".into()),
        "{names:?}"
    );

    first.signal(Signal::INT);
    first.wait(LIMIT).ok();
    let one = until(&scene, "web", "one of them", |state| rate(state) == 49);
    assert!(has(&one, "off-cpu") && !has(&one, "samples"), "{one}");
    assert_eq!(on(&scene, "web"), ["kv.depth"]);

    second.signal(Signal::KILL);
    assert_ne!(second.wait(LIMIT).code, 0);
    let none = until(&scene, "web", "nothing", |state| rate(state) == 0);
    assert_eq!(none["effect"]["classes"].as_array().unwrap().len(), 0, "{none}");
    assert!(on(&scene, "web").is_empty());
    let slot = until(&scene, "web", "the lease's end", |state| state["askers"][0]["alive"] == false);
    assert_eq!(slot["askers"][0]["program"], Value::Null, "its slot is still there: {slot}");
    end(&scene, guest, "web");
}

/// How often a guest that nobody asks for anything looks whether somebody does, and marks and flushes that are asked for while it idles.
///
/// A request is in effect at the next look, and known to be at the one after that: with 20 looks in each second of the guest's that takes 100 ms
/// at most. Instructions are its clock here, so that the machine's other work has no part in it.
#[test]
fn a_guest_looks_often_enough_to_hear_within_a_tenth_of_a_second() {
    const SECONDS: [u64; 4] = [1, 2, 3, 4];
    let scene = Scene::with_guest();
    for workload in ["idle", "ratio", "burst"] {
        // The same instructions each time, further and further: so the difference of two runs is what happened in between.
        let looks = SECONDS.map(|seconds| looks_in(&scene, workload, seconds));
        println!("{workload}: {looks:?} looks at these times of the guest (s)");
        for window in looks.windows(2) {
            let (looks, seconds) = (window[1].0 - window[0].0, window[1].1 - window[0].1);
            assert!((0.9..1.1).contains(&seconds), "{workload}: {seconds} s");
            assert!(looks as f64 >= 20.0 * seconds, "{workload}: {looks} looks in {seconds} s");
            assert!(
                looks as f64 <= 60.0 * seconds,
                "{workload}: no more than is needed: {looks} in {seconds} s"
            );
        }
    }
}

/// The guest's own count of its looks in a run of so many seconds, and its clock at its last sign of life, in seconds from boot on.
fn looks_in(scene: &Scene, workload: &str, seconds: u64) -> (u64, f64) {
    let line =
        ["record", "-o", "l.uniprof", "--accel", "tcg", "--icount", "shift=4,sleep=off", "--", "bundled"];
    let words = [format!("workload={workload}"), format!("seconds={seconds}")];
    // What `burst` emits is on by its name, as fast as it goes.
    let quiet = ["uniprof.hz=0", "uniprof.classes=none", "uniprof.events=burst"];
    let words = words.iter().map(String::as_str).chain(quiet);
    // Nothing was recorded, which `record` says, and ends with 1.
    scene.run(&line.into_iter().chain(words).collect::<Vec<_>>());
    let ledger = read_records(&scene.path("l.uniprof"), |_, _| {});
    let tables = ledger.tables().expect("the tables");
    let vcpu = tables.vcpus[0];
    assert_eq!((vcpu.rate, vcpu.classes), (0, 0), "nobody asks for anything");
    (vcpu.looks, (vcpu.heartbeat - tables.header.boot_tsc) as f64 / tables.header.tsc_hz as f64)
}

#[test]
fn an_idle_guest_hears_marks_and_flushes() {
    let scene = Scene::with_guest();
    let guest = start_quiet(&scene, "idle", "idle");
    for number in 0..5 {
        let document = scene.run(&["ctl", "idle", &format!("mark=m{number}"), "flush", "--json"]).ok().json();
        assert_matches_its_schema(&document);
        assert_eq!(document["lasting"], false);
        assert!(document["effective_ms"].as_f64().is_some_and(|time| time > 0.0), "{document}");
    }
    assert!(state(&scene, "idle")["askers"].as_array().unwrap().is_empty(), "done, and withdrawn");
    let trace = scene.run(&["trace", "idle"]).ok().stdout;
    for number in 0..5 {
        let mark = format!("m{number}");
        assert_eq!(
            trace.lines().filter(|line| line.trim_end().ends_with(&mark)).count(),
            1,
            "{mark}: {trace}"
        );
    }
    end(&scene, guest, "idle");
}

/// A request that nobody holds ends by itself.
#[test]
fn a_request_that_is_left_behind_ends_with_its_lease() {
    let scene = Scene::with_guest();
    let guest = start_quiet(&scene, "web", "ratio");
    scene.run(&["ctl", "web", "rate=99", "--lease", "61"]).failed_with(2).says(&["60 s", "--for"]);
    let asked =
        scene.run(&["ctl", "web", "rate=99", "stack=dwarf,4096", "--lease", "2s", "--json"]).ok().json();
    assert_matches_its_schema(&asked);
    assert_eq!((rate(&asked), &asked["lasting"]), (99, &true.into()));
    assert_eq!(asked["askers"][0]["words"], "rate=99 stack=dwarf,4096");
    until(&scene, "web", "the lease's end", |state| rate(state) == 0);
    let ended = scene.run(&["ctl", "web", "rate=77", "--for", "1"]).ok();
    assert!(ended.stdout.contains("77 Hz"), "{}", ended.stdout);
    until(&scene, "web", "the end of what was asked for a second", |state| rate(state) == 0);
    end(&scene, guest, "web");
}

/// The guest lowers its own rate, says so, and samples again as fast as it is asked to when the budget is gone.
#[test]
fn a_budget_holds_the_rate_down() {
    let scene = Scene::with_guest();
    let guest = start_quiet(&scene, "web", "ratio");
    let without = scene.start(&["ctl", "web", "rate=5000", "events=samples"]);
    until(&scene, "web", "the whole rate", |state| rate(state) == 5000);
    let with = scene.start(&["ctl", "web", "budget=0.5%"]);
    let held = until(&scene, "web", "the budget", |state| {
        rate(state) < 2500 && state["effect"]["throttled"].as_u64().is_some_and(|times| times > 0)
    });
    assert_eq!(held["effect"]["rate_asked"], 5000, "{held}");
    assert_eq!(held["effect"]["budget_percent"], 0.5, "{held}");
    let trace = scene.run(&["trace", "web"]).ok().stdout;
    assert!(trace.contains("0.50 % are allowed: sampling at"), "{trace}");
    with.signal(Signal::INT);
    with.wait(LIMIT).ok();
    until(&scene, "web", "the whole rate again", |state| rate(state) == 5000);
    without.signal(Signal::INT);
    without.wait(LIMIT).ok();
    end(&scene, guest, "web");
}

#[test]
fn what_can_not_be_asked_for_is_refused_with_what_there_is() {
    let scene = Scene::with_guest();
    let guest = start_quiet(&scene, "web", "kv");
    scene.run(&["ctl", "web", "rate=99", "events=kv.gte"]).failed_with(2).says(&[
        "`kv.gte`",
        "did you mean kv.",
        "off-cpu",
    ]);
    scene.run(&["ctl", "web", "events=kv.mis"]).failed_with(2).says(&["did you mean kv.miss"]);
    scene.run(&["ctl", "web", "speed=9"]).failed_with(2).says(&["speed=9", "rate="]);
    scene.run(&["ctl", "nobody"]).failed_with(3).says(&["nobody"]);
    scene.run(&["record", "-d", "1", "-e", "htp.*", "web"]).failed_with(2).says(&["`htp.*`", "web"]);
    scene.run(&["list", "web", "none.*"]).failed_with(1).says(&["none.*", "kv.miss"]);
    assert!(state(&scene, "web")["askers"].as_array().unwrap().is_empty());
    end(&scene, guest, "web");
}

/// `record -e` with names: they are on from boot on, and nothing else is.
#[test]
fn event_sites_are_recorded_by_name() {
    let scene = Scene::with_guest();
    scene.run(&["record", "-e", "kv.gte", "--", "bundled"]).failed_with(2).says(&["`kv.gte`", "classes are"]);
    let line = [
        "record",
        "-d",
        "2",
        "-o",
        "r.uniprof",
        "-e",
        "kv.*,-kv.depth,logs",
        "--budget",
        "50%",
        "--",
        "bundled",
        "workload=kv",
    ];
    scene.run(&line).ok();
    let trace = scene.run(&["trace", "r.uniprof", "--json"]).ok().stdout;
    let events = trace.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut names: Vec<String> = events
        .filter(|event| event["kind"] != "log" && event["kind"] != "mark")
        .map(|event| event["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names.dedup();
    assert!(names.contains(&"kv.batch".into()), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("kv.") && name != "kv.depth"), "{names:?}");
    let listed = scene.run(&["list", "r.uniprof", "kv.*", "--json"]).ok().json();
    assert_matches_its_schema(&listed);
    assert_eq!(listed["from"], "recording");
    let elf = scene.run(&["list", "bundled", "kv.*", "--json"]).ok().json();
    assert_matches_its_schema(&elf);
    assert_eq!(elf["sites"], listed["sites"], "the same names from the ELF file");
}

/// A guest that records nothing by itself.
fn start_quiet(scene: &Scene, name: &str, workload: &str) -> Running {
    start_words(scene, name, &[&format!("workload={workload}"), "uniprof.hz=0", "uniprof.classes=none"])
}
