//! A QEMU that somebody started by hand, without shared memory and without a control socket: looked into by its process id.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

/// How long a kernel may take until it is there.
const LIMIT: Duration = Duration::from_secs(60);

/// The bundled kernel with a workload, up to where it has said `awaited`. `words` are options of QEMU.
pub(crate) fn start(scene: &Scene, workload: &str, awaited: &str, words: &str) -> Running {
    scene.run(&["kernel", "-o", "kernel.elf"]).ok();
    let line = format!(
        "-machine q35 -accel tcg,thread=multi -cpu max -m 128M -smp 2 -nodefaults -no-user-config -display none -name shop \
         -serial stdio -device isa-debug-exit,iobase=0x501,iosize=4 -device pvpanic -action panic=pause,shutdown=pause {words} -kernel kernel.elf"
    );
    let append = format!("workload={workload} uniprof.placement=ram");
    let line: Vec<&str> = line.split_whitespace().chain(["-append", append.as_str()]).collect();
    let guest = scene.start_command(&mut scene.program(Path::new("qemu-system-x86_64"), &line));
    let begun = Instant::now();
    while !guest.so_far().contains(awaited) {
        assert!(begun.elapsed() < LIMIT, "{workload}: {}", guest.so_far());
        sleep(Duration::from_millis(50));
    }
    guest
}

/// Anonymous memory of a process, in KiB.
pub(crate) fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_crash_is_told_alike_of_the_process_and_of_a_dump_of_it() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "crash-null", "called from", "");
    let target = format!("pid:{}", guest.pid());
    sleep(Duration::from_millis(500));
    let before = anonymous(guest.pid());
    let said = scene.run(&["dump", &target, "-o", "shop.core"]).ok().stderr;
    assert!(
        said.contains("ran on while its memory was read") && said.contains("shop was not paused"),
        "{said}"
    );
    let dead = scene.run(&["core", "shop.core", "--json"]).ok().json();
    assert_matches_its_schema(&dead);
    let live = scene.run(&["core", &target, "--json"]).ok().json();
    assert_matches_its_schema(&live);
    // A dump has all that the process has: 128 MiB, had the holes been touched.
    assert!(anonymous(guest.pid()) < before + (8 << 10), "it has grown from {before} KiB");
    for report in [&dead, &live] {
        assert_eq!(report["verdict"]["kind"], "page-fault", "{report:#}");
        assert_eq!(report["verdict"]["thread"], "frontend");
        let function = report["verdict"]["function"].as_str().unwrap_or_default();
        assert!(function.ends_with("null::session_lookup"), "{function}");
        let missing = report["remarks"].to_string();
        assert!(missing.contains("ran on while its memory was read"), "{missing}");
    }
    assert_eq!(dead["verdict"], live["verdict"]);
    let value = scene.run(&["print", &target, "session"]).ok().stdout;
    assert_eq!(value.trim_end(), "0x0");
    // A pid alone is enough, and the other questions take it too.
    let pid = guest.pid().to_string();
    assert!(scene.run(&["ps", &pid]).ok().stdout.contains("frontend"));
    assert!(scene.run(&["trace", &pid]).ok().stdout.contains("http.request"));
    assert!(scene.run(&["stacks", &pid]).ok().stdout.contains("accept_connections"));
    let info = scene.run(&["core", "info", "shop.core", "--json"]).ok().json();
    assert_matches_its_schema(&info);
    assert_eq!(info["facts"]["moving"], true);
    guest.signal(Signal::TERM);
    guest.wait(LIMIT);
}

/// Registers and a guest that stands still are to be had where QEMU listens, wherever its memory lies.
#[test]
fn a_control_socket_on_its_command_line_is_used() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "kv", "region", "-qmp unix:qmp,server=on,wait=off");
    let target = format!("pid:{}", guest.pid());
    let said = scene.run(&["dump", &target, "-o", "shop.core"]).ok().stderr;
    assert!(said.contains("shop stood still for") && !said.contains("ran on"), "{said}");
    let report = scene.run(&["core", "shop.core", "--json"]).ok().json();
    assert_eq!(report["vcpus"].as_array().map(Vec::len), Some(2), "{report:#}");
    assert_eq!(report["vcpus"][0]["source"], "QEMU's note", "{report:#}");
    scene.run(&["dump", &target, "--format", "elf", "-o", "shop.elf"]).ok();
    assert_eq!(scene.run(&["core", "shop.elf", "--json"]).ok().json()["verdict"]["kind"], "healthy");
    guest.signal(Signal::TERM);
    guest.wait(LIMIT);
}

/// What two threads do with a lock while memory is read looks like one that waits for itself.
#[test]
fn a_guest_that_is_well_is_never_said_to_be_in_a_deadlock() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "kv", "region", "");
    let target = format!("pid:{}", guest.pid());
    for _ in 0..10 {
        let report = scene.run(&["core", &target, "--json"]).ok().json();
        let kind = report["verdict"]["kind"].as_str().unwrap_or_default();
        assert!(["healthy", "unknown"].contains(&kind), "{report:#}");
    }
    guest.signal(Signal::TERM);
    guest.wait(LIMIT);
}

#[test]
fn what_is_no_guest_is_refused_with_a_sentence() {
    let scene = Scene::new();
    let me = std::process::id();
    for (target, why) in
        [(format!("pid:{me}"), "not a QEMU"), ("pid:4294967295".into(), "there is no process")]
    {
        let ended = scene.run(&["dump", &target]);
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        assert!(scene.files().is_empty());
    }
}
