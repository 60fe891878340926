//! Real QEMUs, started by hand, and processes that are none.

use std::{
    ffi::OsString,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use uniprof_wire::address::GuestPhysical;

use super::*;
use crate::{
    console::{Console, Sinks},
    lab::{Does, Lab},
    live::LiveGuest,
    qemu::Process,
};

/// How long a kernel may take to come up.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the kernel's code lies.
const CODE: GuestPhysical = GuestPhysical(0x10_0000);

/// A QEMU with words of the test's choice, up to where its kernel has said something. It is killed with this.
struct ByHand {
    lab: Lab,
    process: Process,
}

impl ByHand {
    fn start(words: &str) -> Self {
        let lab = Lab::new();
        let kernel = lab.spec("guest", Does::Hang).kernel;
        let dir = lab.dir.path().display().to_string();
        let line = format!(
            "qemu-system-x86_64 -accel tcg -nodefaults -no-user-config -display none -serial stdio {}",
            words.replace("DIR", &dir)
        );
        let mut line: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        line.extend(["-kernel".into(), kernel.into_os_string()]);
        let (process, output) = Process::spawn(&line).unwrap();
        let console = Console::capture(output.stdout, 100, Sinks::default()).unwrap();
        let until = Instant::now() + LIMIT;
        while console.total() == 0 {
            assert!(
                process.exit().is_none() && Instant::now() < until,
                "{words}: the kernel does not come up"
            );
            sleep(Duration::from_millis(5));
        }
        Self { lab, process }
    }

    fn ram(&self) -> Ram {
        Vmm::look_at(self.process.pid()).unwrap().ram(None).unwrap()
    }

    /// Anonymous and shared memory that the process has, in bytes: files that it merely executes come and go.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        (kib("RssAnon:") + kib("RssShmem:")) << 10
    }
}

fn code_of(memory: &dyn GuestMemory) -> [u8; 4] {
    let mut code = [0; 4];
    memory.read(CODE, &mut code).unwrap();
    code
}

#[test]
fn ram_of_every_machine_and_backend_is_found() {
    for words in [
        "-M q35 -m 96M",
        "-M pc -m 96M",
        "-M microvm -m 96M",
        "-m 2816M -M q35",
        // As large as other mappings of QEMU: only the code tells.
        "-M q35 -m 8M",
        "-M q35,memory-backend=a -m 96M -object memory-backend-memfd,id=a,size=96M,share=on",
        "-M q35,memory-backend=a -m 96M -object memory-backend-ram,id=a,size=96M,share=on",
        "-M q35,memory-backend=a -m 96M -object memory-backend-file,id=a,size=96M,share=off,mem-path=DIR/ram",
        "-M q35,memory-backend=a -m 96M -object memory-backend-file,id=a,size=96M,share=on,mem-path=DIR/ram",
    ] {
        let guest = ByHand::start(words);
        let ram = guest.ram();
        assert_eq!(code_of(&*ram.memory), [0x66, 0xba, 0xf8, 0x03], "{words}");
        assert_eq!(ram.proof, Proof::Kernel, "{words}");
        let bytes: u64 = ram.memory.ranges().unwrap().iter().map(|range| range.end.0 - range.start.0).sum();
        let mib = if words.contains("2816M") {
            2816
        } else if words.contains("8M") {
            8
        } else {
            96
        };
        assert_eq!(bytes, (mib << 20) - 0x6_0000, "{words}");
        let resident = ram.memory.resident().unwrap();
        assert!(resident.iter().any(|range| range.contains(&CODE)), "{words}: {resident:x?}");
    }
}

#[test]
fn looking_at_all_of_it_costs_the_vmm_no_memory() {
    for words in [
        "-M q35 -m 256M",
        "-M q35,memory-backend=a -m 256M -object memory-backend-memfd,id=a,size=256M,share=on",
        "-M q35,memory-backend=a -m 256M -object memory-backend-ram,id=a,size=256M,share=on",
        "-M q35,memory-backend=a -m 256M -object memory-backend-file,id=a,size=256M,share=off,mem-path=DIR/ram",
        "-M q35,memory-backend=a -m 256M -object memory-backend-file,id=a,size=256M,share=on,mem-path=/dev/shm/uniprof-test-PID",
    ] {
        let shared = format!("uniprof-test-{}", std::process::id());
        let guest = ByHand::start(&words.replace("uniprof-test-PID", &shared));
        // QEMU has it open by now; no test that fails leaves it behind.
        let _ = std::fs::remove_file(std::path::Path::new("/dev/shm").join(&shared));
        let before = guest.resident();
        let ram = guest.ram();
        let entry = Vmm::look_at(guest.process.pid()).unwrap().entry().unwrap();
        assert_eq!(entry.open_memory().unwrap().ranges().unwrap(), ram.memory.ranges().unwrap(), "{words}");
        let window = entry.open_memory().unwrap().window(GuestPhysical(64 << 20), 64 << 20).unwrap();
        // Whoever maps a file and looks into its holes fills them: only what is not mapped may be looked at everywhere.
        let mut pages = (0..window.len()).step_by(512);
        assert!(entry.ram_file.is_some() || pages.all(|word| window.load(word) == Some(0)), "{words}");
        let _ = find_region(&*ram.memory, None).unwrap();
        let mut buffer = vec![0; 1 << 20];
        for range in ram.memory.ranges().unwrap() {
            for at in (range.start.0..range.end.0).step_by(buffer.len()) {
                let len = buffer.len().min((range.end.0 - at) as usize);
                ram.memory.read(GuestPhysical(at), &mut buffer[..len]).unwrap();
            }
        }
        let grown = guest.resident().saturating_sub(before);
        // What it does meanwhile is its own; all of RAM would be 256 MiB.
        assert!(grown < 8 << 20, "{words}: {grown} bytes more");
    }
}

/// What QEMU says of its machine is what is computed where it can't be asked, but for the ROMs below 1 MiB.
#[test]
fn the_map_is_the_one_that_qemu_has() {
    for words in [
        "-M q35 -m 96M",
        "-M pc -m 96M",
        "-M microvm -m 96M",
        "-M q35 -m 2815M",
        "-M q35 -m 2816M",
        "-M pc -m 3584M",
        "-M microvm -m 3073M",
        "-M q35,max-ram-below-4g=1G -m 2G",
        "-M pc,max-ram-below-4g=2G -m 4G",
    ] {
        let guest = ByHand::start(&format!("{words} -qmp unix:DIR/qmp,server=on,wait=off"));
        let mut qmp = crate::qmp::Qmp::connect(&guest.lab.dir.path().join("qmp"), LIMIT).unwrap();
        let mtree = qmp.human_monitor("info mtree -f", LIMIT).unwrap();
        let vmm = Vmm::look_at(guest.process.pid()).unwrap();
        let above = |ram: &Ram| -> Vec<_> {
            let ranges = ram.memory.ranges().unwrap();
            ranges.into_iter().filter(|range| range.start.0 >= 1 << 20).collect()
        };
        assert_eq!(above(&vmm.ram(None).unwrap()), above(&vmm.ram(Some(&mtree)).unwrap()), "{words}");
    }
}

#[test]
fn two_mappings_of_one_size_are_told_apart_or_refused() {
    let words =
        "-M q35 -m 16M -object memory-backend-ram,id=b,size=16M -device ivshmem-plain,memdev=b,addr=2";
    let guest = ByHand::start(&words.replace("-object", "-object memory-backend-ram,id=c,size=16M -object"));
    assert_eq!(code_of(&*guest.ram().memory), [0x66, 0xba, 0xf8, 0x03]);
    // Without the file that it was started from nothing is left to tell them apart.
    std::fs::remove_file(guest.lab.dir.path().join("kernel.elf")).unwrap();
    let error = Vmm::look_at(guest.process.pid()).unwrap().ram(None).err().unwrap();
    assert!(matches!(error, VmmError::Ambiguous { .. }), "{error}");
    assert!(error.to_string().contains("mappings of 16 MiB"), "{error}");
}

#[test]
fn a_guest_without_a_control_socket_runs_on_and_one_with_it_stands_still() {
    let guest = ByHand::start("-M q35 -m 32M -name shop");
    let live = LiveGuest::of_process(guest.process.pid()).unwrap();
    assert!(live.name() == "shop" && !live.can_be_controlled());
    assert!(!live.pause().unwrap().was_running() && live.registers().unwrap().is_empty());
    let lacks = live.facts().lacks;
    assert!(lacks[0].contains("ran on while its memory was read"), "{lacks:?}");
    guest.process.signal(Signal::STOP);
    let until = Instant::now() + LIMIT;
    while !Vmm::look_at(guest.process.pid()).unwrap().is_stopped() {
        assert!(Instant::now() < until);
        sleep(Duration::from_millis(5));
    }
    let facts = LiveGuest::of_process(guest.process.pid()).unwrap().facts();
    assert!(!facts.moving && facts.lacks[0].contains("its QEMU is stopped"), "{facts:?}");

    let guest = ByHand::start("-M q35 -m 32M -qmp unix:DIR/qmp,server=on,wait=off");
    let live = LiveGuest::of_process(guest.process.pid()).unwrap();
    assert!(live.can_be_controlled() && live.facts().lacks.is_empty());
    let paused = live.pause().unwrap();
    assert!(paused.was_running());
    assert!((CODE.0..CODE.0 + 0x100).contains(&live.registers().unwrap()[0].rip));
    assert_eq!(code_of(&*live.memory()), [0x66, 0xba, 0xf8, 0x03]);
}

#[test]
fn a_vmm_that_has_ended_is_told() {
    let guest = ByHand::start("-M q35 -m 32M");
    let pid = guest.process.pid();
    let ram = guest.ram();
    drop(guest);
    let error = ram.memory.read(CODE, &mut [0; 4]).unwrap_err().to_string();
    assert!(error.contains("process has ended"), "{error}");
    assert!(matches!(Vmm::look_at(pid), Err(VmmError::Absent { .. })));
}

#[test]
fn a_process_that_is_no_qemu_is_named() {
    let pid = std::process::id();
    let error = Vmm::look_at(pid).unwrap_err().to_string();
    assert!(error.contains(&pid.to_string()) && error.contains("not a QEMU"), "{error}");
    assert!(matches!(Vmm::look_at(u32::MAX), Err(VmmError::Absent { .. })));
}
