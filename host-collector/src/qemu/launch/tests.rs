//! Against a real QEMU, with the small kernels of the laboratory.

use std::os::unix::fs::PermissionsExt;

use super::{super::*, *};
use crate::lab::{Does, Lab};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_guest_runs_is_found_and_leaves_nothing() {
    let lab = Lab::new();
    for (machine, placement) in [
        (Machine::Q35, Placement::Ivshmem),
        (Machine::Q35, Placement::Ram),
        (Machine::Microvm, Placement::Ram),
    ] {
        let mut spec = lab.spec("guest", Does::Exit);
        (spec.machine, spec.placement) = (machine, Some(placement));
        let guest = lab.launch(&spec).unwrap();
        let entry = lab.registry.find("guest").unwrap();
        assert_eq!(&entry, guest.entry());
        let exit = guest.wait(LIMIT, &Cancel::new());
        assert_eq!(exit.and_then(GuestExit::debug_exit), Some(0x10), "{:?}", guest.qemu_messages());
        let memory = entry.memory_file.clone();
        assert!(memory.exists());
        if placement == Placement::Ram {
            let mut byte = [0];
            guest.memory().read(uniprof_wire::address::GuestPhysical(0x10_0000), &mut byte).unwrap();
            assert_eq!(byte, [0x66], "the kernel's first byte");
        }
        let shown = std::thread::spawn(move || {
            let guest = guest;
            assert!(guest.console.wait_for_end(Duration::from_secs(20)));
            guest.console.last_lines().iter().map(Line::text).collect::<Vec<_>>()
        });
        assert!(shown.join().unwrap().contains(&"hi".to_owned()));
        assert!(!memory.exists() && lab.left().is_empty());
    }
}

#[test]
fn a_guest_that_never_ends_is_ended() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("dropped", Does::Hang)).unwrap();
    let pid = guest.entry().pid;
    drop(guest);
    assert!(process_start(pid).is_none() && lab.left().is_empty());

    let mut guest = lab.launch(&lab.spec("asked", Does::Hang)).unwrap();
    assert!(guest.pause());
    assert_eq!(guest.qmp().status(LIMIT).unwrap().state, "paused");
    assert_eq!(guest.shutdown(), GuestExit::Status(0));
    assert!(lab.left().is_empty());
}

#[test]
fn others_can_stop_it_and_its_name_is_taken_meanwhile() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("web", Does::Hang)).unwrap();
    let taken = lab.launch(&lab.spec("web", Does::Hang)).err().unwrap();
    assert!(matches!(taken, LaunchError::Guests(GuestsError::NameTaken { .. })), "{taken}");
    let by_pid = lab.registry.find(&guest.entry().pid.to_string()).unwrap();
    assert_eq!(by_pid.name, "web");
    lab.registry.stop("web").unwrap();
    assert_eq!(guest.wait(LIMIT, &Cancel::new()), Some(GuestExit::Status(0)));
}

#[test]
fn a_guest_whose_control_socket_is_held_is_stopped_by_signals() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("held", Does::Hang)).unwrap();
    let _holder = Qmp::connect(&guest.entry().qmp, LIMIT).unwrap();
    lab.registry.stop("held").unwrap();
    assert!(guest.wait(LIMIT, &Cancel::new()).is_some());
}

#[test]
fn what_qemu_refuses_is_quoted() {
    let lab = Lab::new();
    let text = lab.dir.path().join("text");
    std::fs::write(&text, "not a kernel").unwrap();
    let mut spec = lab.spec("bad", Does::Exit);
    spec.kernel = text;
    let error = lab.launch(&spec).err().unwrap();
    assert!(matches!(&error, LaunchError::Refused { said, .. } if said.contains("kernel")), "{error}");

    let mut spec = lab.spec("bad", Does::Exit);
    spec.extra = vec!["-no-such-option".into()];
    let error = lab.launch(&spec).err().unwrap().to_string();
    assert!(error.contains("no-such-option"), "{error}");
    assert!(lab.left().is_empty());
}

#[test]
fn no_qemu_and_no_kernel_say_what_to_do() {
    let lab = Lab::new();
    let mut spec = lab.spec("none", Does::Exit);
    spec.qemu = Some("/nonexistent/qemu-system-x86_64".into());
    let error = lab.launch(&spec).err().unwrap().to_string();
    assert!(error.contains("apt-get install qemu-system-x86"), "{error}");
    spec.kernel = "/nonexistent/kernel".into();
    let error = lab.launch(&spec).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/kernel"), "{error}");
    assert!(lab.left().is_empty());
}

#[test]
fn a_cancelled_start_leaves_nothing() {
    let lab = Lab::new();
    let mut spec = lab.spec("late", Does::Exit);
    let script = lab.dir.path().join("qemu.sh");
    std::fs::write(&script, "#!/bin/sh\nexec sleep 60\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    spec.qemu = Some(script);
    let cancel = Cancel::new();
    cancel.cancel();
    let options = LaunchOptions { cancel, ..LaunchOptions::default() };
    let error = launch(&lab.registry, &spec, options).err().unwrap();
    assert!(matches!(error, LaunchError::Cancelled), "{error}");
    assert!(lab.left().is_empty());
}

/// Directory of the laboratory that [`a_guest_whose_owner_is_killed_dies_too`] shares with the process that it kills.
const VICTIM: &str = "UNIPROF_TEST_VICTIM";

/// Does nothing in an ordinary run; the next test starts it again in a process of its own.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let lab = Lab::new();
    let registry = Registry::at(dir.join("run")).unwrap();
    let _guest = launch(&registry, &lab.spec("orphan", Does::Hang), LaunchOptions::default()).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_guest_whose_owner_is_killed_dies_too() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::at(dir.path().join("run")).unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "qemu::launch::tests::victim"])
        .env(VICTIM, dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let patience = std::time::Instant::now() + LIMIT;
    let entry = loop {
        if let Ok(entry) = registry.find("orphan") {
            break entry;
        }
        assert!(std::time::Instant::now() < patience && owner.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(process_start(entry.pid), Some(entry.pid_start));
    owner.kill().unwrap();
    owner.wait().unwrap();
    // A zombie that nobody has reaped yet has ended too.
    let lives = || {
        std::fs::read_to_string(format!("/proc/{}/stat", entry.pid)).is_ok_and(|stat| !stat.contains(") Z "))
    };
    while lives() {
        assert!(std::time::Instant::now() < patience, "QEMU outlives its owner");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(registry.list().unwrap(), []);
    assert!(!entry.memory_file.exists());
}
