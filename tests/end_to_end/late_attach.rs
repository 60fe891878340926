//! Guests that something else has started, nothing prepared: found, and observed while they run.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use uniprof_tests::{Running, Scene, assert_matches_its_schema, kernels, uniprof};

use crate::by_hand::{anonymous, start};

const LIMIT: Duration = Duration::from_secs(60);
/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// What `ls` says of a process.
fn listed(scene: &Scene, pid: u32) -> Value {
    let document = scene.run(&["ls", "--json"]).ok().json();
    assert_matches_its_schema(&document);
    let guests = document["guests"].as_array().unwrap().iter();
    guests.into_iter().find(|guest| guest["pid"] == pid).unwrap_or_else(|| panic!("{document:#}")).clone()
}

fn can(guest: &Value) -> Vec<&str> {
    guest["can"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// The four answers of `doctor`: whether, what was found, what mends it.
fn answers(scene: &Scene, target: &str) -> Vec<(bool, String, String)> {
    let document = scene.run(&["doctor", target, "--json"]).json();
    assert_matches_its_schema(&document);
    let checks = document["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names, ["profile", "control", "dump", "symbols"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    checks.iter().map(|check| (check["ok"] == true, text(&check["found"]), text(&check["mend"]))).collect()
}

fn end(guest: Running) {
    guest.signal(Signal::TERM);
    guest.wait(LIMIT);
}

#[test]
fn a_guest_with_nothing_prepared_is_found_by_its_name_and_followed() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "kv", "region", "");
    // First of all: what it logs when it boots is overwritten some seconds later.
    assert!(scene.run(&["logs", "shop"]).ok().stdout.contains("2 vCPUs"));
    let name = listed(&scene, guest.pid());
    assert_eq!((&name["name"], &name["vmm"], &name["vcpus"]), (&"shop".into(), &"qemu".into(), &2.into()));
    assert_eq!(name["memory_bytes"], 128 << 20);
    assert_eq!(
        name["kernel"].as_str().map(Path::new),
        Some(&*scene.path("kernel.elf").canonicalize().unwrap())
    );
    assert_eq!(can(&name), ["region", "profile", "dump", "symbols"]);
    let [profile, control, dump, symbols] = answers(&scene, "shop").try_into().unwrap();
    assert!(profile.0 && dump.0 && symbols.0 && !control.0, "{profile:?} {control:?} {dump:?} {symbols:?}");
    assert!(control.2.contains("size=128M") && control.2.contains("virtserialport"), "{}", control.2);
    assert!(dump.1.contains("-qmp"), "{}", dump.1);

    let before = anonymous(guest.pid());
    let said = scene.run(&["record", "-d", "2", "-o", "r.uniprof", "shop"]).ok().stderr;
    assert_eq!(said.matches("is only read").count(), 1, "{said}");
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(report["samples"].as_u64().unwrap() > 50, "{report}");
    assert!(report["named_share"].as_f64().unwrap() >= 0.95, "{report}");
    assert!(report["notes"].as_array().unwrap().is_empty(), "{report}");
    for vcpu in report["vcpus"].as_array().unwrap() {
        assert_eq!((&vcpu["lost"], &vcpu["emitted"]), (&0.into(), &vcpu["received"]), "{report}");
    }
    // What it cannot be asked for is said, and the recording made all the same.
    let said = scene.run(&["record", "-F", "999", "-d", "1", "-o", "f.uniprof", "shop"]).ok().stderr;
    assert_eq!(said.matches("is only read").count(), 1, "{said}");

    // Its events as they come, and what is in effect; nothing can be asked for.
    let mut follower = scene.start(&["trace", "shop", "--follow", "--json"]);
    let begun = Instant::now();
    while !follower.so_far().contains("kv.") {
        assert!(begun.elapsed() < LIMIT && !follower.has_ended(), "{}", follower.so_far());
        sleep(Duration::from_millis(50));
    }
    follower.signal(Signal::INT);
    follower.wait(LIMIT).ok();
    scene.run(&["ctl", "shop", "--json"]).ok();
    scene.run(&["ctl", "shop", "rate=999", "--for", "1s"]).failed_with(1).says(&["is only read"]);

    assert_eq!(scene.run(&["ping", "shop", "--json"]).ok().json()["state"], "alive");
    let ps = scene.run(&["ps", "shop", "--json"]).ok().json();
    assert!(ps["threads"].to_string().contains("kv-0"), "{ps}");
    let pid = format!("pid:{}", guest.pid());
    assert!(scene.run(&["report", &pid, "--json"]).ok().json()["samples"].as_u64().unwrap() > 0);
    scene.run(&["flame", &pid, "-o", "f.svg"]).ok();
    // Its rings have 8 MiB, which it fills itself; all of RAM would be 128.
    let grown = anonymous(guest.pid()).saturating_sub(before);
    assert!(grown < 24 << 10, "it has grown by {grown} KiB");
    end(guest);
    scene.run(&["record", "shop"]).failed_with(3).says(&["shop"]);
}

#[test]
fn a_guest_that_dies_meanwhile_leaves_a_whole_recording() {
    let scene = Scene::with_guest();
    let guest = start(&scene, "kv", "region", "");
    let recorder = scene.start(&["record", "-d", "60", "-o", "r.uniprof", "shop"]);
    let begun = Instant::now();
    // It has begun when its file is there, and has read something a moment later.
    while !scene.path("r.uniprof.partial").exists() {
        assert!(begun.elapsed() < LIMIT, "{}", recorder.so_far());
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_secs(1));
    guest.signal(Signal::KILL);
    guest.wait(LIMIT);
    let said = recorder.wait(LIMIT).ok().stderr;
    assert!(said.contains("ended with its process"), "{said}");
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(report["samples"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn what_was_prepared_is_used() {
    let scene = Scene::with_guest();
    // RAM in a shared file: the control page can be written.
    let ram = "-machine memory-backend=r -object memory-backend-file,id=r,size=128M,mem-path=ram,share=on -s";
    let guest = start(&scene, "kv", "region", &ram.replace("-s", "-gdb unix:gdb,server=on,wait=off"));
    assert_eq!(
        can(&listed(&scene, guest.pid())),
        ["region", "profile", "control", "gdbstub", "dump", "symbols"]
    );
    let file = format!("shm:{}", scene.path("ram").display());
    assert!(answers(&scene, &file)[1].0);
    let said = scene.run(&["record", "-F", "499", "-d", "2", "-o", "r.uniprof", &file]).ok().stderr;
    assert!(!said.contains("only read"), "{said}");
    let report = scene.run(&["report", "r.uniprof", "--json"]).ok().json();
    assert!(report["samples"].as_u64().unwrap() > 50, "{report}");
    end(guest);

    // A control socket, and a port that takes requests: memory stays private.
    let words = "-qmp unix:qmp,server=on,wait=off -chardev socket,id=uniprof,path=port,server=on,wait=off \
                 -device virtio-serial-pci,max_ports=2 -device virtserialport,chardev=uniprof,name=uniprof";
    let guest = start(&scene, "kv", "region", words);
    assert_eq!(can(&listed(&scene, guest.pid())), ["region", "profile", "control", "qmp", "dump", "symbols"]);
    let socket = format!("qmp:{}", scene.path("qmp").display());
    let answers = answers(&scene, &socket);
    assert!(answers.iter().all(|(ok, ..)| *ok) && answers[2].1.contains("over QMP"), "{answers:?}");
    let said = scene.run(&["record", "-F", "999", "-d", "3", "-o", "p.uniprof", "shop"]).ok().stderr;
    assert!(!said.contains("only read"), "{said}");
    let report = scene.run(&["report", "p.uniprof", "--json"]).ok().json();
    // It heard, over the port.
    assert_eq!(report["rate"], 999, "{report}");
    end(guest);
}

#[test]
fn several_of_one_name_are_listed_and_one_without_probes_says_so() {
    let scene = Scene::with_guest();
    let one = start(&scene, "idle", "region", "");
    fs::write(scene.path("bare.elf"), kernels::without_probes("nothing to see")).unwrap();
    let line = "-machine q35 -accel tcg -m 64M -nodefaults -no-user-config -display none -name shop -serial stdio -kernel bare.elf";
    let line: Vec<&str> = line.split_whitespace().collect();
    let other = scene.start_command(&mut scene.program(Path::new("qemu-system-x86_64"), &line));
    let begun = Instant::now();
    while !other.so_far().contains("nothing to see") {
        assert!(begun.elapsed() < LIMIT, "{}", other.so_far());
        sleep(Duration::from_millis(50));
    }
    let pids = [&one, &other].map(|guest| format!("pid:{}", guest.pid()));
    scene.run(&["ping", "shop"]).failed_with(3).says(&["several", &pids[0], &pids[1]]);
    scene.run(&["ping", &pids[0]]).ok();

    let bare = listed(&scene, other.pid());
    assert_eq!((can(&bare), &bare["probes"]), (vec!["dump", "outside-only"], &false.into()));
    assert!(bare["probes_reason"].as_str().unwrap().contains("without probes"), "{bare}");
    let [profile, control, dump, symbols] = answers(&scene, &pids[1]).try_into().unwrap();
    assert!(!profile.0 && !control.0 && dump.0 && !symbols.0, "{symbols:?}");
    assert!(profile.2.contains("uniprof-probes") && symbols.1.contains("neither"), "{profile:?} {symbols:?}");
    let line = ["record", "--boot-limit", "1s", &pids[1]];
    scene.run(&line).failed_with(1).says(&["no observation region"]);
    // An ELF that is another one is refused, and one that is gone costs the names.
    let line = ["record", "-d", "1", "-o", "o.uniprof", "--kernel", "bare.elf", &pids[0]];
    scene.run(&line).failed_with(4).says(&["bare.elf", "--force"]);
    fs::remove_file(scene.path("kernel.elf")).unwrap();
    assert!(!can(&listed(&scene, one.pid())).contains(&"symbols"));
    assert!(answers(&scene, &pids[0])[3].1.contains("No such file"));
    end(one);
    end(other);
}

#[test]
fn who_may_not_look_is_told_what_helps() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::with_guest();
    let guest = start(&scene, "idle", "region", "");
    // Somebody else: with a copy of the program and a directory of their own.
    let theirs = tempfile::tempdir().unwrap();
    fs::set_permissions(theirs.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = theirs.path().join("uniprof");
    fs::copy(uniprof(), &program).unwrap();
    let run = theirs.path().join("run");
    fs::create_dir(&run).unwrap();
    chown(&run, Some(NOBODY), Some(NOBODY)).unwrap();
    let target = format!("pid:{}", guest.pid());
    let as_nobody = |words: &[&str]| {
        let line = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
        let mut command = scene.program(Path::new("setpriv"), &line);
        command.arg(&program).args(words).env("XDG_RUNTIME_DIR", &run).env("HOME", &run).current_dir(&run);
        command.env("XDG_CONFIG_HOME", &run).env("XDG_CACHE_HOME", &run);
        scene.run_command(&mut command)
    };
    let document = as_nobody(&["ls", "--json"]).ok().json();
    assert_matches_its_schema(&document);
    let guests = document["guests"].as_array().unwrap();
    let row = guests.iter().find(|row| row["pid"] == guest.pid()).unwrap();
    assert_eq!((&row["name"], can(row)), (&"shop".into(), vec![]));
    for word in ["Permission denied", "CAP_SYS_PTRACE", "setcap"] {
        assert!(row["probes_reason"].as_str().unwrap().contains(word), "{row}");
    }
    for words in [["ping", &target], ["record", &target], ["ps", &target]] {
        as_nobody(&words).failed_with(1).says(&["belongs to user 0", "setcap cap_sys_ptrace=ep"]);
    }
    let document = as_nobody(&["doctor", &target, "--json"]).failed_with(1).json();
    assert_eq!(document["checks"][0]["ok"], false);
    assert!(
        document["checks"][0]["mend"]
            .as_str()
            .unwrap()
            .contains(&format!("setcap cap_sys_ptrace=ep {}", program.display()))
    );
    end(guest);
}
