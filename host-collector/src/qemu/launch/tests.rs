//! Against a real QEMU, with a kernel made here: a few bytes of machine code behind a PVH note.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::{super::*, *};

/// An ELF that QEMU boots through PVH, whose 32-bit code is `code`.
fn kernel(dir: &Path, code: &[u8]) -> PathBuf {
    let mut elf = Vec::new();
    let le =
        |elf: &mut Vec<u8>, value: u64, bytes: usize| elf.extend_from_slice(&value.to_le_bytes()[..bytes]);
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for (value, bytes) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (0x10_0000, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (2, 2),
        (0, 2),
        (0, 2),
        (0, 2),
    ] {
        le(&mut elf, value, bytes);
    }
    let len = code.len() as u64;
    // PT_LOAD of the code, PT_NOTE with XEN_ELFNOTE_PHYS32_ENTRY.
    for (value, bytes) in
        [(1, 4), (5, 4), (0x1000, 8), (0x10_0000, 8), (0x10_0000, 8), (len, 8), (len, 8), (0x1000, 8)]
    {
        le(&mut elf, value, bytes);
    }
    for (value, bytes) in
        [(4, 4), (4, 4), (0x800, 8), (0x20_0000, 8), (0x20_0000, 8), (20, 8), (20, 8), (4, 8)]
    {
        le(&mut elf, value, bytes);
    }
    elf.resize(0x800, 0);
    for (value, bytes) in [(4, 4), (4, 4), (18, 4)] {
        le(&mut elf, value, bytes);
    }
    elf.extend_from_slice(b"Xen\0");
    le(&mut elf, 0x10_0000, 4);
    elf.resize(0x1000, 0);
    elf.extend_from_slice(code);
    let path = dir.join("kernel.elf");
    std::fs::write(&path, elf).unwrap();
    path
}

/// Writes "hi\n" to COM1, then loops (`hang`) or writes 0x10 to the debug-exit port.
fn code(hang: bool) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    for byte in b"hi\n" {
        code.extend([0xb0, *byte, 0xee]); // mov al, byte; out dx, al
    }
    if hang {
        code.extend([0xeb, 0xfe]); // jmp .
    } else {
        code.extend([0x66, 0xba, 0x01, 0x05, 0xb8, 0x10, 0, 0, 0, 0xef, 0xeb, 0xfe]); // mov dx, 0x501; out dx, 0x10
    }
    code
}

struct Lab {
    dir: tempfile::TempDir,
    registry: Registry,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("run");
        Self { registry: Registry::at(root).unwrap(), dir }
    }

    fn spec(&self, name: &str, hang: bool) -> LaunchSpec {
        let mut spec = LaunchSpec::new(name, kernel(self.dir.path(), &code(hang)));
        spec.accelerator = AcceleratorChoice::Tcg;
        spec.memory = 32 << 20;
        spec
    }

    fn launch(&self, spec: &LaunchSpec) -> Result<Guest, LaunchError> {
        launch(&self.registry, spec, LaunchOptions::default())
    }

    fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.registry.path()).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_guest_runs_is_found_and_leaves_nothing() {
    let lab = Lab::new();
    for (machine, placement) in [
        (Machine::Q35, Placement::Ivshmem),
        (Machine::Q35, Placement::Ram),
        (Machine::Microvm, Placement::Ram),
    ] {
        let mut spec = lab.spec("guest", false);
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
            let mut guest = guest;
            guest.console.join();
            guest.console.last_lines().iter().map(Line::text).collect::<Vec<_>>()
        });
        assert!(shown.join().unwrap().contains(&"hi".to_owned()));
        assert!(!memory.exists() && lab.left().is_empty());
    }
}

#[test]
fn a_guest_that_never_ends_is_ended() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("dropped", true)).unwrap();
    let pid = guest.entry().pid;
    drop(guest);
    assert!(process_start(pid).is_none() && lab.left().is_empty());

    let mut guest = lab.launch(&lab.spec("asked", true)).unwrap();
    assert!(guest.pause());
    assert_eq!(guest.qmp().status(LIMIT).unwrap().state, "paused");
    assert_eq!(guest.shutdown(), GuestExit::Status(0));
    assert!(lab.left().is_empty());
}

#[test]
fn others_can_stop_it_and_its_name_is_taken_meanwhile() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("web", true)).unwrap();
    let taken = lab.launch(&lab.spec("web", true)).err().unwrap();
    assert!(matches!(taken, LaunchError::Guests(GuestsError::NameTaken { .. })), "{taken}");
    let by_pid = lab.registry.find(&guest.entry().pid.to_string()).unwrap();
    assert_eq!(by_pid.name, "web");
    lab.registry.stop("web").unwrap();
    assert_eq!(guest.wait(LIMIT, &Cancel::new()), Some(GuestExit::Status(0)));
}

#[test]
fn a_guest_whose_control_socket_is_held_is_stopped_by_signals() {
    let lab = Lab::new();
    let guest = lab.launch(&lab.spec("held", true)).unwrap();
    let _holder = Qmp::connect(&guest.entry().qmp, LIMIT).unwrap();
    lab.registry.stop("held").unwrap();
    assert!(guest.wait(LIMIT, &Cancel::new()).is_some());
}

#[test]
fn what_qemu_refuses_is_quoted() {
    let lab = Lab::new();
    let text = lab.dir.path().join("text");
    std::fs::write(&text, "not a kernel").unwrap();
    let mut spec = lab.spec("bad", false);
    spec.kernel = text;
    let error = lab.launch(&spec).err().unwrap();
    assert!(matches!(&error, LaunchError::Refused { said, .. } if said.contains("kernel")), "{error}");

    let mut spec = lab.spec("bad", false);
    spec.extra = vec!["-no-such-option".into()];
    let error = lab.launch(&spec).err().unwrap().to_string();
    assert!(error.contains("no-such-option"), "{error}");
    assert!(lab.left().is_empty());
}

#[test]
fn no_qemu_and_no_kernel_say_what_to_do() {
    let lab = Lab::new();
    let mut spec = lab.spec("none", false);
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
    let mut spec = lab.spec("late", false);
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
