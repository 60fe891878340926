//! Dumps that are taken: of guests that run, and of guests that crash.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use uniprof_collector::cpu::StateSource;
use uniprof_collector::dump::{self, Dump, OpenOptions};
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::memory::GuestMemory;
use uniprof_collector::qmp::Qmp;
use uniprof_tests::{Ended, Running, Scene};
use uniprof_wire::address::GuestPhysical;

use crate::guests::start_workload;

const LIMIT: Duration = Duration::from_secs(60);

/// What the registry knows about a guest that runs.
fn entry(scene: &Scene, name: &str) -> GuestEntry {
    let command = scene.command::<&str>(&[]);
    let runtime = command.get_envs().find(|(key, _)| *key == "XDG_RUNTIME_DIR");
    let runtime =
        PathBuf::from(runtime.and_then(|(_, value)| value).expect("scenes have a runtime directory"));
    let bytes = fs::read(runtime.join("uniprof").join(name).join("guest.json")).expect("the guest is listed");
    serde_json::from_slice(&bytes).expect("it is JSON")
}

/// Waits until the guest of that name is listed.
fn wait_for(scene: &Scene, name: &str) {
    let until = Instant::now() + LIMIT;
    while !scene.run(&["ls", "--json"]).stdout.contains(&format!("\"{name}\"")) {
        assert!(Instant::now() < until, "guest {name} does not come up");
        sleep(Duration::from_millis(50));
    }
}

fn opened(path: &Path) -> Dump {
    let dump = dump::open(path, &OpenOptions::default()).unwrap();
    assert!(dump.remarks.is_empty(), "{:?}", dump.remarks);
    dump
}

/// Ends a guest that `ls` may have seen a moment before it can be told anything.
fn stop(scene: &Scene, name: &str) {
    let until = Instant::now() + LIMIT;
    while scene.run(&["stop", name]).code != 0 {
        assert!(Instant::now() < until, "guest {name} can't be stopped");
        sleep(Duration::from_millis(50));
    }
}

/// Cores in a directory of the scene; nothing else may be there but `others`.
fn cores(scene: &Scene, dir: &str, others: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(scene.path(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| !others.iter().any(|other| path.ends_with(other)));
    assert!(found.iter().all(|path| path.extension().is_some_and(|end| end == "core")), "{found:?}");
    found.sort();
    found
}

/// Runs a guest that crashes, with a core of it into `cores`; the one core.
fn crashed(scene: &Scene, more: &[&str], words: &[&str]) -> (Ended, Dump) {
    let mut line = vec!["run", "--on-crash", "dump=cores", "--no-restart", "--name", "web"];
    line.extend(more);
    line.extend(["--", "bundled"]);
    line.extend(words);
    let ended = scene.run(&line).failed_with(1);
    let [core] = &cores(scene, "cores", &[])[..] else { panic!("no core, or several: {}", ended.stderr) };
    let name = core.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("web-20"), "{name}");
    assert_eq!(core.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    (ended.says(&["web", name, "uniprof core"]), opened(core))
}

fn assert_same_memory(dump: &dyn GuestMemory, guest: &dyn GuestMemory) {
    assert_eq!(dump.ranges().unwrap(), guest.ranges().unwrap());
    let mut pages = [vec![0; 1 << 16], vec![0; 1 << 16]];
    for range in guest.ranges().unwrap() {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end.0 - at.0).min(1 << 16);
            let [a, b] = &mut pages;
            dump.read(at, &mut a[..len as usize]).unwrap();
            guest.read(at, &mut b[..len as usize]).unwrap();
            assert!(a[..len as usize] == b[..len as usize], "memory differs near {at}");
            at = GuestPhysical(at.0 + len);
        }
    }
}

#[test]
fn a_guest_that_was_dumped_goes_on_and_its_dump_is_its_memory() {
    let scene = Scene::with_guest();
    let running = start_workload(&scene, "kv", &["--vcpus", "2", "--memory", "64M"], "workload=ratio");
    scene.run(&["dump", "kv", "-o", "kv.core"]).ok();
    let dump = opened(&scene.path("kv.core"));
    assert_eq!(dump.facts.as_ref().map(|facts| (facts.why.as_str(), facts.vcpus)), Some(("asked", 2)));
    assert!(dump.cpus.len() == 2 && dump.cpus.iter().all(|cpu| cpu.source == StateSource::QemuNote));
    assert_eq!(scene.path("kv.core").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    scene.run(&["record", "-d", "1", "kv", "-o", "r.uniprof"]).ok();
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(report["samples"].as_u64().unwrap() > 10, "the guest does not go on: {report}");

    // Standing still, it can be compared with what was written; and it is left standing.
    let entry = entry(&scene, "kv");
    Qmp::connect(&entry.qmp, LIMIT).unwrap().stop(LIMIT).unwrap();
    let ended = scene.run(&["dump"]).ok();
    assert!(ended.stderr.contains("kv stood still already"), "{}", ended.stderr);
    let path = scene.files().into_iter().find(|name| name.starts_with("kv-20")).expect("a name of its own");
    assert_same_memory(&*opened(&scene.path(&path)).memory, &*entry.open_all_memory().unwrap());
    let mut qmp = Qmp::connect(&entry.qmp, LIMIT).unwrap();
    assert!(!qmp.status(LIMIT).unwrap().running);
    drop(qmp);

    for format in ["elf", "kdump-zlib"] {
        scene.run(&["dump", "kv", "--format", format, "-o", format]).ok();
        let dump = dump::open(&scene.path(format), &OpenOptions::default()).unwrap();
        let mut bytes = [vec![0; 1 << 20], vec![0; 1 << 20]];
        dump.memory.read(GuestPhysical(2 << 20), &mut bytes[0]).unwrap();
        entry.open_all_memory().unwrap().read(GuestPhysical(2 << 20), &mut bytes[1]).unwrap();
        assert!(bytes[0] == bytes[1], "{format} differs");
    }
    let socket = format!("qmp:{}", entry.qmp.display());
    scene.run(&["dump", &socket, "-o", "by-socket"]).ok();
    assert!(dump::sniff(&scene.path("by-socket")).is_some());
    scene.run(&["dump", &socket, "--format", "core", "-o", "no"]).failed_with(1).says(&["--format elf"]);
    scene.run(&["dump", "nobody"]).failed_with(3).says(&["nobody"]);

    // A file system without room: XFSZ is ignored so that the write fails instead.
    let line =
        format!("trap '' XFSZ; ulimit -f 100; exec {} dump kv -o full", uniprof_tests::uniprof().display());
    let full = scene.run_command(&mut scene.program("sh".as_ref(), &["-c", &line]));
    full.failed_with(1).says(&["cannot write the dump full"]);
    assert!(!scene.files().iter().any(|name| name.starts_with("full")), "{:?}", scene.files());
    scene.run(&["stop", "kv"]).ok();
    running.wait(LIMIT).ok();
}

#[test]
fn a_guest_goes_on_whenever_somebody_interrupts_what_looks_at_it() {
    let scene = Scene::with_guest();
    let running = start_workload(&scene, "kv", &["--memory", "512M"], "workload=ratio");
    for delay in (20..=200).step_by(20) {
        let find = scene.start(&["find", "kv", "0x123456789"]);
        sleep(Duration::from_millis(delay));
        find.signal(Signal::TERM);
        find.wait(LIMIT);
        let mut qmp = Qmp::connect(&entry(&scene, "kv").qmp, LIMIT).unwrap();
        assert!(qmp.status(LIMIT).unwrap().running, "interrupted after {delay} ms");
    }
    scene.run(&["stop", "kv"]).ok();
    running.wait(LIMIT).ok();
}

#[test]
fn a_guest_that_crashes_leaves_a_core_and_its_fate_is_the_exit_code() {
    let scene = Scene::with_guest();
    let (ended, dump) = crashed(&scene, &["--vcpus", "2"], &["workload=crash-null"]);
    assert!(ended.stderr.contains("page fault"), "{}", ended.stderr);
    let facts = dump.facts.unwrap();
    assert_eq!((facts.guest.as_str(), facts.why.as_str(), facts.vcpus), ("web", "panic", 2));
    assert!(facts.console.iter().any(|line| line.contains("page fault")), "{:?}", facts.console);
    assert!(facts.build_id.is_some() && facts.region_at.is_some(), "{facts:?}");
    assert!(dump.cpus.len() == 2 && dump.cpus.iter().all(|cpu| cpu.cr3.is_some()), "{:x?}", dump.cpus);
    assert!(scene.run(&["ls", "--json"]).ok().json()["guests"].as_array().unwrap().is_empty());
}

#[test]
fn a_guest_without_pci_that_faults_three_times_leaves_its_registers() {
    let scene = Scene::with_guest();
    let (_, dump) = crashed(&scene, &["--machine", "microvm"], &["workload=crash-triple"]);
    assert_eq!(dump.facts.unwrap().why, "reset");
    assert!(dump.cpus.len() == 1 && dump.cpus[0].cr0.is_some_and(|cr0| cr0 >> 31 == 1), "{:x?}", dump.cpus);
}

#[test]
fn a_vcpu_that_is_silent_is_a_crash_and_an_idle_one_is_none() {
    let scene = Scene::with_guest();
    let words = ["workload=crash-spin", "seconds=40"];
    let (ended, dump) = crashed(&scene, &["--watchdog", "2", "--vcpus", "2"], &words);
    assert_eq!(dump.facts.unwrap().why, "watchdog");
    assert!(ended.stderr.contains("vCPU 1 has shown no sign of life for 2 s"), "{}", ended.stderr);
    assert_eq!(dump.cpus[1].interrupts_on(), Some(false));
    let line = "run --on-crash dump=idle --watchdog 1 --vcpus 2 -- bundled workload=idle seconds=4";
    scene.run(&line.split(' ').collect::<Vec<_>>()).ok();
    assert!(cores(&scene, "idle", &[]).is_empty());
}

#[test]
fn a_guest_whose_qemu_is_killed_leaves_its_memory() {
    let scene = Scene::with_guest();
    let line =
        ["run", "--on-crash", "dump=cores", "--name", "web", "--", "bundled", "workload=idle", "seconds=40"];
    let running = scene.start(&line);
    wait_for(&scene, "web");
    sleep(Duration::from_millis(500));
    let pid = i32::try_from(entry(&scene, "web").pid).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let ended = running.wait(LIMIT).failed_with(1).says(&["signal 9", "web-20"]);
    assert!(ended.stderr.contains("not in it: registers"), "{}", ended.stderr);
    let dump = opened(&cores(&scene, "cores", &[])[0]);
    assert!(dump.cpus.is_empty());
    let facts = dump.facts.unwrap();
    assert!(facts.why == "exit" && facts.region_at.is_some(), "{facts:?}");
}

/// The milliseconds in front of ` ms after its crash`, for each restart.
fn delays(stderr: &str) -> Vec<u64> {
    let of = |line: &str| line.split_once(" ms after its crash")?.0.rsplit(' ').next()?.parse().ok();
    stderr.lines().filter_map(of).collect()
}

#[test]
fn a_guest_is_started_again_later_each_time_and_old_cores_go() {
    let scene = Scene::with_guest();
    fs::create_dir(scene.path("cores")).unwrap();
    let others = ["web-20200101T000000Z-00000000.core.bak", "web-2-20200101T000000Z-00000000.core"];
    for other in others {
        fs::write(scene.path("cores").join(other), "not ours").unwrap();
    }
    let guest = "--memory 128M --name web -- bundled workload=crash-panic";
    let run = |options: &str| {
        let line = format!("run --on-crash {options} {guest}");
        scene.run(&line.split_whitespace().collect::<Vec<_>>()).failed_with(1)
    };
    let began = Instant::now();
    run("dump=once --no-restart");
    let whole_life = began.elapsed().as_millis() as u64;
    let ended = run("dump=cores --restart on-crash:3 --keep 2");
    let delays = delays(&ended.stderr);
    let [first, second, third] = delays[..] else { panic!("{}", ended.stderr) };
    assert!(second >= 100 && third >= 200, "{delays:?}");
    // A new guest does not wait for the old one's core: it is there sooner than a guest starts, crashes and is written. The host
    // may be busy for one of them.
    let own = [first, second - 100, third - 200];
    assert!(own.iter().min().unwrap() < &whole_life, "{own:?} {whole_life}");
    for wait in ["again in 0.1 s", "again in 0.2 s"] {
        assert!(ended.stderr.contains(wait), "{}", ended.stderr);
    }
    assert_eq!(ended.stderr.matches("an older core of this guest").count(), 2, "{}", ended.stderr);
    assert_eq!(cores(&scene, "cores", &others).len(), 2);
    assert!(others.iter().all(|other| scene.path("cores").join(other).exists()));
}

#[test]
fn a_guest_that_is_told_to_end_has_not_crashed() {
    let scene = Scene::with_guest();
    let start = |words: &[&str]| -> Running {
        let mut line = vec![
            "run",
            "--on-crash",
            "dump=cores",
            "--restart",
            "on-crash",
            "--name",
            "web",
            "--",
            "bundled",
        ];
        line.extend(words);
        scene.start(&line)
    };
    let running = start(&["workload=idle", "seconds=40"]);
    wait_for(&scene, "web");
    stop(&scene, "web");
    running.wait(LIMIT).ok();
    let running = start(&["workload=idle", "seconds=40"]);
    wait_for(&scene, "web");
    running.signal(Signal::INT);
    running.wait(LIMIT).ok();
    assert!(cores(&scene, "cores", &[]).is_empty());

    // Also one that has crashed and waits for its next start.
    let running = start(&["workload=crash-panic"]);
    let until = Instant::now() + LIMIT;
    let written = || {
        let entries = fs::read_dir(scene.path("cores")).unwrap().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "core")).count()
    };
    while written() < 4 {
        assert!(Instant::now() < until);
        sleep(Duration::from_millis(20));
    }
    wait_for(&scene, "web");
    stop(&scene, "web");
    running.wait(LIMIT).ok();
}

#[test]
fn words_that_a_kernel_does_not_understand_are_no_crash() {
    let scene = Scene::with_guest();
    let line = ["run", "--on-crash", "dump=cores", "--restart", "on-crash", "bundled", "--", "workload=none"];
    scene.run(&line).failed_with(2).says(&["none"]);
    assert!(cores(&scene, "cores", &[]).is_empty());
    scene.run(&["run"]).failed_with(2).says(&["bundled"]);
    scene.run(&["run", "--on-crash", "tell", "bundled"]).failed_with(2);
}
