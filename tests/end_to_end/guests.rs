//! Guests that run on their own: started, listed, recorded by name, stopped.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use uniprof_tests::{Running, Scene, assert_matches_its_schema, kernels};

const LIMIT: Duration = Duration::from_secs(60);

fn guests(scene: &Scene) -> Vec<Value> {
    let document = scene.run(&["ls", "--json"]).ok().json();
    assert_matches_its_schema(&document);
    // Others may run guests on this host, too.
    let all = document["guests"].as_array().unwrap().iter();
    all.filter(|guest| guest["ours"] == true).cloned().collect()
}

/// Starts a guest and waits until its probes are there.
fn start(scene: &Scene, name: &str, more: &[&str]) -> Running {
    start_workload(scene, name, more, "workload=ratio")
}

/// As [`start`], with another workload.
pub(crate) fn start_workload(scene: &Scene, name: &str, more: &[&str], workload: &str) -> Running {
    let mut line = more.to_vec();
    line.extend(["--", workload]);
    start_line(scene, name, &line)
}

/// As [`start`], with these words for the kernel.
pub(crate) fn start_words(scene: &Scene, name: &str, words: &[&str]) -> Running {
    start_line(scene, name, &[&["--"], words].concat())
}

pub(crate) fn start_line(scene: &Scene, name: &str, more: &[&str]) -> Running {
    let mut line = vec!["run", "bundled", "--name", name];
    line.extend(more);
    let running = scene.start(&line);
    let until = Instant::now() + LIMIT;
    while !guests(scene).iter().any(|guest| guest["name"] == name && guest["probes"] == true) {
        assert!(Instant::now() < until, "guest {name} does not come up");
        sleep(Duration::from_millis(100));
    }
    running
}

#[test]
fn run_ls_record_stop() {
    let scene = Scene::with_guest();
    assert!(guests(&scene).is_empty());
    let running = start(&scene, "web", &["--vcpus", "2"]);
    let listed = guests(&scene);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["vcpus"], &listed[0]["machine"]), (&2.into(), &"q35".into()));
    assert_eq!(listed[0]["vmm"], "qemu");
    let can = listed[0]["can"].to_string();
    for word in ["region", "profile", "control", "qmp", "dump", "symbols"] {
        assert!(can.contains(&format!("\"{word}\"")), "{can}");
    }
    let pid = listed[0]["pid"].to_string();
    assert!(scene.run(&["ls"]).ok().stdout.contains("web"));
    scene.run(&["run", "bundled", "--name", "web"]).failed_with(3).says(&["web", "uniprof stop web"]);

    for (target, output) in [(vec!["web"], "name.uniprof"), (vec!["-p", &pid], "pid.uniprof")] {
        let mut line = vec!["record", "-F", "199", "-d", "2", "-o", output];
        line.extend(target);
        scene.run(&line).ok();
        let report = scene.run(&["report", output, "--json"]).ok().json();
        assert!(report["samples"].as_u64().unwrap() > 50, "{report}");
        assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
        assert!(report["notes"].as_array().unwrap().is_empty(), "{report}");
    }

    scene.run(&["stop", "web"]).ok();
    running.wait(LIMIT).ok();
    assert!(guests(&scene).is_empty());
    scene.run(&["stop", "web"]).failed_with(3).says(&["web"]);
    scene.run(&["record", "web"]).failed_with(3).says(&["web"]);
}

#[test]
fn a_guest_in_ram_without_pci_is_recorded_by_name() {
    let scene = Scene::with_guest();
    let running = start(&scene, "micro", &["--machine", "microvm"]);
    scene.run(&["record", "-F", "199", "-d", "2", "micro"]).ok();
    let report = scene.run(&["report", "--json"]).ok().json();
    assert!(report["samples"].as_u64().unwrap() > 50, "{report}");
    // An image without a build-id is compared with the guest's memory, byte by byte.
    std::fs::write(scene.path("other.elf"), kernels::without_probes("another kernel")).unwrap();
    let line = ["record", "-d", "1", "-o", "o.uniprof", "--kernel", "other.elf", "micro"];
    scene.run(&line).failed_with(4).says(&["other.elf", "text hash", "--force"]);
    assert!(!scene.path("o.uniprof").exists());
    running.signal(Signal::INT);
    running.wait(LIMIT).ok();
    assert!(scene.qemus().is_empty());
}

#[test]
fn progress_is_drawn_on_a_terminal_and_nowhere_else() {
    let scene = Scene::with_guest();
    let line = "record -F 199 -d 2 -o p.uniprof -- bundled workload=ratio";
    let words: Vec<&str> = line.split(' ').collect();
    let plain = scene.run(&words).ok();
    assert!(!plain.stderr.contains('\r') && !plain.stderr.contains('\x1b'), "{:?}", plain.stderr);
    // script(1) runs a command on a terminal of its own.
    let command = format!("{} {line}", uniprof_tests::uniprof().display());
    let ended =
        scene.run_command(&mut scene.program("script".as_ref(), &["-qec", &command, "/dev/null"])).ok();
    for word in ["samples", "/s", "lost", "MB"] {
        assert!(
            ended.stdout.lines().any(|line| line.contains("\x1b[K") && line.contains(word)),
            "{:?}",
            ended.stdout
        );
    }
}

#[test]
fn a_guest_dies_with_the_program_that_started_it() {
    let scene = Scene::with_guest();
    let running = start(&scene, "orphan", &[]);
    assert_eq!(scene.qemus().len(), 1);
    running.signal(Signal::KILL);
    running.wait(LIMIT);
    let until = Instant::now() + LIMIT;
    while !scene.qemus().is_empty() {
        assert!(Instant::now() < until, "QEMU outlives its owner");
        sleep(Duration::from_millis(20));
    }
    assert!(guests(&scene).is_empty());
}

#[test]
fn the_end_of_a_guest_decides_the_exit_code() {
    let scene = Scene::with_guest();
    let ended = scene.run(&["run", "bundled", "--", "workload=idle", "seconds=1"]).ok();
    assert!(ended.stdout.contains("uniprof-sample-kernel: 1 vCPUs"), "{}", ended.stdout);
    scene.run(&["run", "bundled", "--", "workload=nonsense"]).failed_with(2).says(&["workload"]);
}

#[test]
fn four_vcpus_come_up() {
    let scene = Scene::with_guest();
    let line = [
        "record",
        "-F",
        "99",
        "-d",
        "3",
        "--vcpus",
        "4",
        "-o",
        "four.uniprof",
        "--",
        "bundled",
        "workload=ratio",
    ];
    scene.run(&line).ok();
    let report = scene.run(&["report", "four.uniprof", "--json"]).ok().json();
    let vcpus = report["vcpus"].as_array().unwrap();
    assert_eq!(vcpus.len(), 4);
    assert!(vcpus.iter().all(|vcpu| vcpu["samples"].as_u64().unwrap() > 0), "{report}");
}

#[test]
fn deep_stacks_are_walked_to_their_root() {
    let scene = Scene::with_guest();
    scene.run(&["record", "-F", "199", "-d", "2", "-o", "d.uniprof", "--", "bundled", "workload=deep"]).ok();
    let report = scene.run(&["report", "d.uniprof", "--json"]).ok().json();
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
    let folded = scene.run(&["export", "d.uniprof", "--format", "folded"]).ok().stdout;
    let deepest = folded.lines().map(|line| line.matches(';').count() + 1).max().unwrap();
    assert!(deepest > 100, "only {deepest} frames deep");
}
