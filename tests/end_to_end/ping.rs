//! `ping` tells five states apart, each of a real guest.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uniprof_tests::{Qmp, Running, Scene, assert_matches_its_schema};

use crate::guests::start_words;

const LIMIT: Duration = Duration::from_secs(60);

/// What `ping` says, which has to agree with its exit code.
fn ping(scene: &Scene, name: &str) -> Value {
    let ended = scene.run(&["ping", name, "--json"]);
    let codes = [("alive", 0), ("wedged", 10), ("dead", 11), ("paused", 12), ("starved", 13)];
    let document = serde_json::from_str::<Value>(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_matches_its_schema(&document);
    let code = codes.iter().find(|(state, _)| document["state"] == *state).expect("a state").1;
    assert_eq!(ended.code, code, "{document}");
    assert_eq!(ended.stderr, "");
    document
}

/// Pings until the guest is as expected: it may be on its way there.
fn until(scene: &Scene, name: &str, state: &str) -> Value {
    let limit = Instant::now() + LIMIT;
    loop {
        let document = ping(scene, name);
        if document["state"] == state {
            return document;
        }
        assert!(Instant::now() < limit, "it shall be {state}: {document}");
    }
}

fn because(document: &Value) -> &str {
    document["because"].as_str().expect("a sentence")
}

fn end(scene: &Scene, guest: Running, name: &str) {
    scene.run(&["stop", name]).ok();
    guest.wait(LIMIT).ok();
}

fn qemu(scene: &Scene) -> Pid {
    let all = scene.qemus();
    assert_eq!(all.len(), 1, "{all:?}");
    Pid::from_raw(all[0].cast_signed()).expect("a pid")
}

#[test]
fn a_guest_is_alive_busy_or_idle_or_paused() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "idle", &["workload=idle", "uniprof.hz=0"]);
    let idle = until(&scene, "idle", "alive");
    assert_eq!(idle["vcpus"][0]["beats"], true, "{idle}");
    assert!(idle["vcpus"][0]["idle"].as_f64().unwrap() > 0.5, "{idle}");
    // By QEMU.
    let control = scene.path("../run/uniprof/idle/qmp");
    let control: PathBuf = control.canonicalize().expect("a control socket");
    Qmp::connect(&control).ask("stop", json!({}));
    let paused = until(&scene, "idle", "paused");
    assert!(because(&paused).contains("QEMU says paused") && paused["qemu"] == "paused", "{paused}");
    Qmp::connect(&control).ask("cont", json!({}));
    until(&scene, "idle", "alive");
    // By the host.
    kill_process(qemu(&scene), Signal::STOP).unwrap();
    let stopped = ping(&scene, "idle");
    kill_process(qemu(&scene), Signal::CONT).unwrap();
    assert_eq!((&stopped["state"], &stopped["process"]), (&"paused".into(), &"stopped".into()), "{stopped}");
    assert!(because(&stopped).contains("is stopped, by a signal"), "{stopped}");
    until(&scene, "idle", "alive");
    end(&scene, guest, "idle");
}

#[test]
fn a_vcpu_that_spins_with_its_interrupts_off_is_wedged() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "spin", &["workload=crash-spin"]);
    until(&scene, "spin", "wedged");
    // It may have hung while it was looked at.
    let wedged = ping(&scene, "spin");
    assert!(because(&wedged).contains("interrupts were off"), "{wedged}");
    let vcpus = wedged["vcpus"].as_array().unwrap();
    assert!(vcpus.iter().any(|vcpu| vcpu["interrupts_on"] == false && vcpu["beats"] == false), "{wedged}");
    end(&scene, guest, "spin");
}

/// Its parent is stopped, so that nobody takes note of its end.
#[test]
fn a_guest_that_crashed_is_dead_and_says_of_what() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "null", &["workload=crash-null"]);
    guest.signal(Signal::STOP);
    let dead = until(&scene, "null", "dead");
    guest.signal(Signal::CONT);
    assert!(because(&dead).contains("crash record") && dead["process"] == "zombie", "{dead}");
    assert_ne!(guest.wait(LIMIT).code, 0);
    scene.run(&["ping", "null"]).failed_with(3).says(&["null"]);
}

/// The guest would work without pause, and its threads have the lowest priority there is on a CPU that others want for themselves.
#[test]
fn a_guest_that_gets_no_cpu_time_is_starved() {
    let scene = Scene::with_guest();
    let guest = start_words(&scene, "hungry", &["workload=ratio"]);
    let alive = until(&scene, "hungry", "alive");
    assert!(alive["vcpus"][0]["idle"].as_f64().unwrap() < 0.25, "it works: {alive}");
    let pid = qemu(&scene).as_raw_nonzero().get().to_string();
    let set = |program: &str, words: &[&str]| {
        let ended = Command::new(program).args(words).arg(&pid).stdout(Stdio::null()).status();
        assert!(ended.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program} {words:?}");
    };
    set("taskset", &["--all-tasks", "--pid", "--cpu-list", "0"]);
    // SCHED_IDLE: served when nobody else wants to run.
    set("chrt", &["--all-tasks", "--idle", "--pid", "0"]);
    let load: Vec<Load> = (0..4).map(|_| Load::on_cpu_0()).collect();
    let starved = until(&scene, "hungry", "starved");
    drop(load);
    assert!(because(&starved).contains("of a host CPU"), "{starved}");
    assert!(starved["vcpus"][0]["cpu_share"].as_f64().unwrap() < 0.1, "{starved}");
    until(&scene, "hungry", "alive");
    end(&scene, guest, "hungry");
}

/// Somebody else who wants a CPU for himself, for a while.
struct Load(Child);

impl Load {
    fn on_cpu_0() -> Self {
        let mut line = Command::new("taskset");
        line.args(["--cpu-list", "0", "timeout", "60", "sh", "-c", "while :; do :; done"]);
        let child = line.stdout(Stdio::null()).spawn().expect("taskset starts");
        // Until it is where it shall be.
        sleep(Duration::from_millis(50));
        Self(child)
    }
}

impl Drop for Load {
    /// `timeout` hands the signal on.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}
