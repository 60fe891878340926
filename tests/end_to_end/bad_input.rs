//! What goes wrong ends with one sentence that names the way out, the right exit code, and nothing left behind.

use std::fs;
use std::time::{Duration, Instant};

use uniprof_tests::{Scene, kernels};

#[test]
fn no_qemu() {
    let scene = Scene::new();
    for line in [&["record", "-d", "1", "--", "bundled"][..], &["run", "bundled"], &["demo", "-d", "1"]] {
        let mut command = scene.command(line);
        let ended = scene.run_command(command.env("PATH", "/nonexistent")).failed_with(1);
        ended.says(&["qemu-system-x86_64", "apt-get install"]);
    }
    assert!(scene.files().is_empty(), "{:?}", scene.files());
}

#[test]
fn a_kernel_that_qemu_refuses() {
    let scene = Scene::with_guest();
    fs::write(scene.path("kernel.elf"), "this is no kernel").unwrap();
    let ended = scene.run(&["record", "-d", "1", "--", "kernel.elf"]).failed_with(1);
    ended.says(&["QEMU refused"]);
    scene.run(&["record", "-d", "1", "--", "missing.elf"]).failed_with(1).says(&["missing.elf"]);
    assert_eq!(scene.files(), ["kernel.elf"]);
}

#[test]
fn a_kernel_without_probes_shows_its_last_words() {
    let scene = Scene::with_guest();
    fs::write(scene.path("plain.elf"), kernels::without_probes("hello from a plain kernel\r\n")).unwrap();
    for machine in ["q35", "microvm"] {
        let line = ["record", "-d", "1", "--boot-limit", "2s", "--machine", machine, "--", "plain.elf"];
        let ended = scene.run(&line).failed_with(1);
        assert!(ended.stderr.contains("hello from a plain kernel"), "{}", ended.stderr);
        ended.says(&["no observation region", "2s"]);
    }
    assert_eq!(scene.files(), ["plain.elf"]);
}

#[test]
fn a_kernel_that_never_says_anything() {
    let scene = Scene::with_guest();
    fs::write(scene.path("mute.elf"), kernels::without_probes("")).unwrap();
    let line = ["record", "-d", "1", "--boot-limit", "1s", "-o", "m.uniprof", "--", "mute.elf"];
    scene.run(&line).failed_with(1).says(&["did not boot", "time limit"]);
    assert_eq!(scene.files(), ["mute.elf"]);
}

#[test]
fn an_elf_of_another_build() {
    let scene = Scene::with_guest();
    scene.run(&["record", "-F", "199", "-d", "1", "-o", "r.uniprof", "--", "bundled", "workload=ratio"]).ok();
    // This very test program: an ELF file with a build-id, and not the guest's.
    let other = std::env::current_exe().unwrap();
    let other = other.to_str().unwrap();
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    let build_id = report["image"]["build_id"].as_str().unwrap().to_owned();
    for command in ["flame", "report", "symbols"] {
        let ended = scene.run(&[command, "r.uniprof", "--kernel", other]).failed_with(4);
        ended.says(&["build-id", &build_id, "--force"]);
    }
    assert!(!scene.path("r.svg").exists());
    scene.run(&["report", "r.uniprof", "--kernel", other, "--force"]).ok();
    scene.run(&["report", "r.uniprof", "--kernel", "/etc/hostname"]).failed_with(1).says(&["/etc/hostname"]);
}

#[test]
fn an_unwritable_output() {
    let scene = Scene::with_guest();
    let line = ["record", "-d", "1", "-o", "no/such/dir/r.uniprof", "--", "bundled"];
    scene.run(&line).failed_with(1).says(&["no/such/dir/r.uniprof"]);
    scene.run(&["flame", "sample", "-o", "no/such/dir/f.svg"]).failed_with(1).says(&["no/such/dir/f.svg"]);
    scene
        .run(&["export", "sample", "--format", "folded", "-o", "/dev/full"])
        .failed_with(1)
        .says(&["/dev/full"]);
    assert!(scene.files().is_empty());
}

/// A limit on the size of files stands in for a full disk: the same error at the same call.
#[test]
fn a_full_disk_keeps_what_was_recorded() {
    let scene = Scene::with_guest();
    let binary = uniprof_tests::uniprof().display();
    scene.run(&["kernel", "-o", "k.elf"]).ok();
    // The guest's own memory is a file, too: it is started without the limit.
    let guest =
        scene.start(&["run", "--name", "full", "--placement", "ivshmem", "k.elf", "--", "workload=burst"]);
    let until = Instant::now() + Duration::from_secs(30);
    while scene.run(&["ps", "full"]).stdout.is_empty() {
        assert!(Instant::now() < until, "the guest did not show its threads");
    }
    // 12,000 KiB: full after a second of events.
    let line =
        format!("trap '' XFSZ; ulimit -f 12000; exec {binary} record full -F 999 -d 20 -o full.uniprof");
    let ended = scene.run_command(&mut scene.program("/bin/bash".as_ref(), &["-c", &line])).failed_with(1);
    scene.run(&["stop", "full"]).ok();
    guest.wait(Duration::from_secs(20)).ok();
    ended.says(&["full.uniprof.partial"]);
    assert_eq!(scene.files(), ["full.uniprof.partial", "k.elf"]);
    let report = scene.run(&["report", "full.uniprof.partial", "--json"]).json();
    assert!(report["samples"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn an_unknown_workload() {
    let scene = Scene::with_guest();
    let ended = scene.run(&["record", "-d", "2", "-o", "w.uniprof", "--", "bundled", "workload=nonsense"]);
    ended.failed_with(2).says(&["nonsense"]);
    assert!(scene.files().is_empty(), "{:?}", scene.files());
}

#[test]
fn zero_samples_say_why_and_draw_nothing() {
    let scene = Scene::with_guest();
    let line = ["record", "-d", "1", "-o", "off.uniprof", "--", "bundled", "workload=ratio", "uniprof.hz=0"];
    let ended = scene.run(&line).ok();
    assert!(ended.stderr.contains("no samples: the guest's sampling was off"), "{}", ended.stderr);
    for line in
        [&["flame", "off.uniprof"][..], &["export", "off.uniprof", "--format", "folded", "-o", "off.folded"]]
    {
        scene.run(line).failed_with(1).says(&["no samples", "-F 99"]);
    }
    // The figures are there all the same.
    let report = scene.run(&["report", "off.uniprof", "--json"]).failed_with(1);
    assert_eq!(report.json()["samples"], 0);
    assert_eq!(scene.files(), ["off.uniprof"]);
}

#[test]
fn an_idle_guest_is_called_idle() {
    let scene = Scene::with_guest();
    let running = scene.start(&["run", "bundled", "--name", "sleeper", "--", "workload=idle"]);
    let until = Instant::now() + Duration::from_secs(60);
    // It wakes now and then, so one try may catch it at work.
    loop {
        let ended = scene.run(&["record", "-d", "100ms", "-o", "idle.uniprof", "sleeper"]);
        if ended.stderr.contains("no samples: the guest was idle") {
            break;
        }
        assert!(Instant::now() < until, "{}", ended.stderr);
        std::thread::sleep(Duration::from_millis(100));
    }
    scene.run(&["flame", "idle.uniprof"]).failed_with(1).says(&["no samples", "idle"]);
    assert_eq!(scene.files(), ["idle.uniprof"]);
    scene.run(&["stop", "sleeper"]).ok();
    running.wait(Duration::from_secs(60)).ok();
}

#[test]
fn no_recording_here() {
    let scene = Scene::new();
    scene.run(&["flame"]).failed_with(1).says(&["no recording", "uniprof record -- bundled"]);
    scene.run(&["report", "nobody"]).failed_with(3).says(&["nobody"]);
}

#[test]
fn contradictions_on_the_command_line() {
    let scene = Scene::new();
    scene.run(&["record"]).failed_with(2);
    scene.run(&["record", "web", "--", "bundled"]).failed_with(2);
    let line = ["record", "--machine", "microvm", "--placement", "ivshmem", "--", "bundled"];
    scene.run(&line).failed_with(2).says(&["--placement ram"]);
    scene.run(&["record", "--ring", "100K", "--", "bundled"]).failed_with(2).says(&["ring"]);
    scene.run(&["run", "bundled", "--name", "a/b"]).failed_with(2).says(&["name"]);
    assert!(scene.files().is_empty());
}
