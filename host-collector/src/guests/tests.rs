use std::{os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::qemu::{LaunchError, LaunchSpec};

fn spec(name: &str) -> LaunchSpec {
    let mut spec = LaunchSpec::new(name, "/k");
    spec.memory = 1 << 20;
    spec
}

fn entry(name: &str, pid: u32) -> GuestEntry {
    GuestEntry {
        name: name.into(),
        pid,
        pid_start: 1,
        owner_pid: 1,
        qmp: "/q".into(),
        kernel: "/k".into(),
        machine: Machine::Q35,
        memory_bytes: 1 << 20,
        vcpus: 1,
        placement: Placement::Ram,
        memory_file: "/m".into(),
        ram_file: None,
        ram_in_process: None,
        ram_map: Some(RamMap::default()),
        port: None,
        control_port: None,
        accelerator: Accelerator { name: "tcg".into(), reason: "asked for".into() },
        qemu_version: "7.2.22".into(),
        command_line: vec!["qemu".into()],
        started_ns: 5,
    }
}

fn registry(dir: &Path) -> Registry {
    Registry::at(dir.join("run")).unwrap()
}

#[test]
fn entries_are_found_by_name_or_pid_and_gone_when_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let one = registry.reserve("one").unwrap();
    assert_eq!(registry.list().unwrap(), []);
    one.publish(&entry("one", 77)).unwrap();
    assert_eq!(registry.find("").unwrap(), entry("one", 77));
    let two = registry.reserve("two").unwrap();
    two.publish(&entry("two", 88)).unwrap();
    assert_eq!(registry.find("one").unwrap().pid, 77);
    assert_eq!(registry.find("88").unwrap().name, "two");
    let ambiguous = registry.find("").unwrap_err();
    assert_eq!(ambiguous.to_string(), "several guests run here: name one of one, two");
    let absent = registry.find("three").unwrap_err();
    assert!(absent.is_about_the_target());
    assert_eq!(absent.to_string(), "no guest \"three\" here: there are one, two");
    drop(one);
    assert_eq!(registry.list().unwrap().len(), 1);
    drop(two);
    assert!(registry.find("two").unwrap_err().to_string().contains("uniprof run"));
}

#[test]
fn what_a_killed_owner_left_is_swept_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let mut dead = registry.reserve("dead").unwrap();
    let memory = registry.files(&spec("dead")).unwrap().memory;
    dead.create_memory(&memory, 1 << 20).unwrap();
    dead.publish(&entry("dead", 77)).unwrap();
    // SIGKILL drops the lock and runs no destructor: the same seen from outside.
    rustix::fs::flock(dead.lock_file(), rustix::fs::FlockOperation::Unlock).unwrap();
    std::mem::forget(dead);
    assert!(memory.exists());
    assert_eq!(registry.list().unwrap(), []);
    assert!(!memory.exists() && !dir.path().join("run/dead").exists());
    registry.reserve("dead").unwrap();
}

#[test]
fn a_directory_that_others_may_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = Registry::at(&open).unwrap_err();
    assert!(matches!(error, GuestsError::Untrusted { .. }) && error.to_string().contains("755"), "{error}");

    let link = dir.path().join("link");
    let private = dir.path().join("private");
    Registry::at(&private).unwrap();
    std::os::unix::fs::symlink(&private, &link).unwrap();
    assert!(matches!(Registry::at(&link), Err(GuestsError::Untrusted { .. })));

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(Registry::at(&file), Err(GuestsError::Untrusted { .. })));
    assert!(Registry::at(dir.path().join("no/such")).unwrap_err().to_string().contains("no/such"));
}

#[test]
fn a_path_too_long_for_a_socket_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(90));
    let error = Registry::at(deep).unwrap().files(&spec("name")).unwrap_err();
    assert!(matches!(error, LaunchError::Guests(GuestsError::PathTooLong { .. })), "{error}");
}

#[test]
fn our_own_start_time_is_known() {
    assert!(process_start(std::process::id()).is_some_and(|ticks| ticks > 0));
    assert_eq!(process_start(u32::MAX), None);
}

#[test]
fn memory_whose_runtime_directory_is_gone_is_swept_unless_it_is_held_or_new() {
    let dir = tempfile::tempdir().unwrap();
    let other = Registry::at(dir.path().join("gone")).unwrap();
    let mut guest = other.reserve("guest").unwrap();
    let memory = other.files(&spec("guest")).unwrap().memory;
    guest.create_memory(&memory, 1 << 20).unwrap();
    let unheld = |name: &str, age: u64| {
        let path = memory.with_file_name(format!("{}-{name}", memory.file_name().unwrap().display()));
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        path
    };
    let (old, new) = (unheld("old", 120), unheld("new", 0));
    let held = std::fs::File::open(&memory).unwrap();
    held.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(120)).unwrap();
    registry(dir.path()).list().unwrap();
    assert_eq!([&memory, &old, &new].map(|path| path.exists()), [true, false, true]);
    std::fs::remove_file(new).unwrap();
    drop(guest);
    assert!(!memory.exists());
}
