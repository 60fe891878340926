//! Dumps that a real QEMU writes, of every kind: memory and registers read alike.
//!
//! The guest is a firmware of 120 bytes that enters long mode and halts. Its page tables and a few marked words are put into
//! memory by QEMU's loader device.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uniprof_collector::cpu::{CpuState, RBP, RSP, StateSource};
use uniprof_collector::dump::{Dump, Format, OpenOptions, open, sniff};
use uniprof_collector::memory::{GuestMemory, MemoryError};
use uniprof_collector::paging::AddressSpace;
use uniprof_collector::qmp::Qmp;
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

const LIMIT: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// From the first byte of the last 64 KiB below 4 GiB, in which the reset vector jumps here.
const FIRMWARE: &[u8] = &[
    0xfa, // cli
    0xea, 0x06, 0x00, 0x00, 0xf0, // ljmp $0xf000,$6: out of the segment at 4 GiB
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x50, 0x00, // lgdtl %cs:0x50
    0x66, 0xb8, 0x20, 0x00, 0x00, 0x00, 0x0f, 0x22, 0xe0, // CR4 = PAE
    0x66, 0xb8, 0x00, 0x00, 0x30, 0x00, 0x0f, 0x22, 0xd8, // CR3 = 0x300000
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, // rdmsr of EFER
    0x66, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, // EFER |= LME
    0x66, 0xb8, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, // CR0 = PG | PE
    0x66, 0xea, 0x56, 0x00, 0x0f, 0x00, 0x08, 0x00, // ljmpl $8,$0xf0056
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // no segment
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9b, 0x20, 0x00, // 64-bit code
    0x0f, 0x00, 0x40, 0x00, 0x0f, 0x00, // 0x50: limit and address of the two
    0x48, 0xbb, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // mov $0x1122334455667788,%rbx
    0x48, 0xbc, 0x00, 0x00, 0x70, 0x00, 0x00, 0x80, 0xff, 0xff, // mov $0xffff800000700000,%rsp
    0x48, 0x8d, 0x6c, 0x24, 0x08, // lea 8(%rsp),%rbp
    0x49, 0x89, 0xdf, 0x49, 0xf7, 0xd7, // r15 = !rbx
    0xf4, // 0x75: hlt
    0xeb, 0xfd, // jmp 0x75
];
/// Behind the `hlt`.
const HALTED_AT: u64 = 0xf0076;

/// Page tables, with the bits set that a processor sets: 0 to 4 MiB and 6 to 10 MiB, the same in the upper half, and 4 to 6 MiB
/// nowhere. There is no memory from 8 MiB. And marked words.
const WORDS: [(u64, u64); 10] = [
    (0x30_0000, 0x30_1023),
    (0x30_0800, 0x30_1023),
    (0x30_1000, 0x30_2023),
    (0x30_2000, 0xe3),
    (0x30_2008, 0x20_00e3),
    (0x30_2018, 0x60_00e3),
    (0x30_2020, 0x80_00e3),
    (0x50_0000, 0x5050_5050),
    (0x70_0000, 0xabcd_ef01_2345),
    (4 * GIB + 8, 0x4444_4444),
];

/// A QEMU that ends with this value.
struct Qemu {
    child: Child,
    qmp: Qmp,
    dir: tempfile::TempDir,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Qemu {
    /// Starts it with 8 MiB below 4 GiB and 8 above. Where it does not run, it stands at the reset vector.
    fn start(runs: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut firmware = FIRMWARE.to_vec();
        firmware.resize(0x1_0000, 0);
        // jmp 0, within the segment
        firmware[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0x00]);
        std::fs::write(dir.path().join("firmware"), firmware).unwrap();
        let socket = dir.path().join("qmp");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-M", "pc,max-ram-below-4g=8M", "-m", "16M", "-smp", "2", "-accel", "tcg"]);
        command.args(["-nodefaults", "-display", "none", "-serial", "none"]);
        command.arg("-bios").arg(dir.path().join("firmware"));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        for (at, word) in WORDS {
            command.arg("-device").arg(format!("loader,addr={at:#x},data={word:#x},data-len=8"));
        }
        if !runs {
            command.arg("-S");
        }
        command.stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let until = Instant::now() + LIMIT;
        let mut starting = Starting(Some(child));
        let qmp = loop {
            match Qmp::connect(&socket, LIMIT) {
                Ok(qmp) => break qmp,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut qemu = Self { child: starting.0.take().unwrap(), qmp, dir };
        if runs {
            qemu.wait_until_halted();
        }
        qemu
    }

    fn wait_until_halted(&mut self) {
        let until = Instant::now() + LIMIT;
        loop {
            let state = self.qmp.human_monitor("info registers", LIMIT).unwrap();
            if state.contains(&format!("RIP={HALTED_AT:016x}")) {
                return self.qmp.stop(LIMIT).unwrap();
            }
            assert!(Instant::now() < until, "the guest does not get to its hlt:\n{state}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn dump(&mut self, name: &str, arguments: Value) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut all = json!({ "protocol": format!("file:{}", path.display()), "paging": false });
        all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
        self.qmp.execute("dump-guest-memory", all, LIMIT).unwrap();
        path
    }

    /// Every kind of dump that this QEMU writes: Debian builds it without LZO and snappy.
    fn all(&mut self) -> Vec<(String, PathBuf)> {
        let answer = self.qmp.execute("query-dump-guest-memory-capability", Value::Null, LIMIT).unwrap();
        let formats: Vec<String> = serde_json::from_value(answer["formats"].clone()).unwrap();
        assert!(formats.iter().any(|format| format == "kdump-zlib"), "{formats:?}");
        let mut all = vec![("paging".into(), self.dump("paging", json!({ "paging": true })))];
        for format in formats.into_iter().filter(|format| format != "win-dmp") {
            let path = self.dump(&format, json!({ "format": format }));
            all.push((format, path));
        }
        all
    }
}

/// Ends a QEMU that has not answered yet.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn opened(path: &Path) -> Dump {
    open(path, &OpenOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn word(memory: &dyn GuestMemory, at: u64) -> Result<u64, MemoryError> {
    let mut bytes = [0; 8];
    memory.read(GuestPhysical(at), &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn total(memory: &dyn GuestMemory) -> u64 {
    memory.ranges().unwrap().iter().map(|range| range.end.0 - range.start.0).sum()
}

fn check_long_mode(kind: &str, cpus: &[CpuState]) {
    let [boot, waiting] = cpus else { panic!("{kind}: {cpus:?}") };
    assert_eq!((boot.source, boot.rip), (StateSource::QemuNote, HALTED_AT), "{kind}");
    assert_eq!(boot.general[1], Some(0x1122_3344_5566_7788), "{kind}: rbx");
    assert_eq!(boot.general[15], Some(!0x1122_3344_5566_7788), "{kind}: r15");
    assert_eq!(boot.general[RSP], Some(0xffff_8000_0070_0000), "{kind}");
    assert_eq!(boot.general[RBP], Some(0xffff_8000_0070_0008), "{kind}");
    assert_eq!((boot.cs, boot.cr3), (Some(8), Some(GuestPhysical(0x30_0000))), "{kind}");
    assert_eq!(boot.cr0.map(|cr0| cr0 >> 31), Some(1), "{kind}");
    assert_eq!(boot.interrupts_on(), Some(false), "{kind}");
    assert_eq!((waiting.vcpu, waiting.rip), (1, 0xfff0), "{kind}: it was never started");
}

#[test]
fn every_kind_of_dump_of_a_guest_in_long_mode_reads_alike() {
    let mut qemu = Qemu::start(true);
    let mut whole: Option<Vec<u8>> = None;
    for (kind, path) in qemu.all() {
        let kind = &*kind;
        let format = match kind {
            "elf" | "paging" => Format::QemuElf,
            // From QEMU 8.2.
            raw if raw.starts_with("kdump-raw") => Format::Kdump,
            _ => Format::FlattenedKdump,
        };
        assert_eq!(sniff(&path), Some(format), "{kind}");
        let dump = opened(&path);
        assert_eq!(dump.format, format, "{kind}");
        check_long_mode(kind, &dump.cpus);
        // The page tables do not map what lies above 4 GiB.
        let placed = WORDS.len() - usize::from(kind == "paging");
        for (at, value) in WORDS.into_iter().take(placed) {
            assert_eq!(word(&*dump.memory, at).unwrap(), value, "{kind} {at:#x} {:?}", dump.remarks);
        }
        let space = AddressSpace::of(Arc::clone(&dump.memory), &dump.cpus[0]);
        assert_eq!(space.word(0xffff_8000_0070_0000), Some(0xabcd_ef01_2345), "{kind}");
        assert_eq!(space.translate(GuestVirtual(0xf0000)).unwrap().physical.0, 0xf0000, "{kind}");
        assert!(space.translate(GuestVirtual(0x50_0000)).is_err(), "{kind}");
        let mut low = vec![0; 8 << 20];
        dump.memory.read(GuestPhysical(0), &mut low).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(low[0xf0000..][..FIRMWARE.len()], *FIRMWARE, "{kind}");
        assert!(
            *whole.get_or_insert_with(|| low.clone()) == low,
            "{kind}: memory differs from the first dump's"
        );
        if kind == "paging" {
            let [remark] = &dump.remarks[..] else { panic!("{:?}", dump.remarks) };
            assert!(remark.contains("8.1 MiB of memory that no page table maps"), "{remark}");
        } else {
            assert_eq!(total(&*dump.memory), 16 * MIB + 0x1_0000, "{kind}");
            assert!(dump.remarks.is_empty(), "{kind}: {:?}", dump.remarks);
        }
    }
}

#[test]
fn every_kind_of_dump_of_a_guest_in_real_mode_reads_alike() {
    let mut qemu = Qemu::start(false);
    for (kind, path) in qemu.all() {
        let dump = opened(&path);
        let [boot, second] = &dump.cpus[..] else { panic!("{kind}: {:?}", dump.cpus) };
        assert_eq!((boot.vcpu, boot.rip, boot.cs), (0, 0xfff0, Some(0xf000)), "{kind}");
        assert_eq!((second.vcpu, second.rip), (1, 0xfff0), "{kind}");
        assert_eq!(boot.cr0.map(|cr0| cr0 >> 31), Some(0), "{kind}: no paging");
        assert_eq!(boot.source, StateSource::QemuNote, "{kind}");
        for (at, value) in WORDS {
            assert_eq!(word(&*dump.memory, at).unwrap(), value, "{kind} {at:#x}");
        }
        assert!(dump.remarks.is_empty(), "{kind}: {:?}", dump.remarks);
    }
}

#[test]
fn a_raw_image_that_qemu_saves_has_the_same_memory() {
    let mut qemu = Qemu::start(true);
    let path = qemu.dir.path().join("raw");
    let arguments = json!({ "val": 0, "size": 8 * MIB, "filename": path });
    qemu.qmp.execute("pmemsave", arguments, LIMIT).unwrap();
    assert_eq!(sniff(&path), None);
    let refused = open(&path, &OpenOptions::default()).err().unwrap().to_string();
    assert!(refused.contains("--raw"), "{refused}");
    let given =
        CpuState { cr3: Some(GuestPhysical(0x30_0000)), ..CpuState::new(0, HALTED_AT, StateSource::Given) };
    let dump = open(&path, &OpenOptions { raw: true, cpus: vec![given.clone()] }).unwrap();
    assert_eq!((dump.format, &dump.cpus[..]), (Format::Raw, &[given][..]));
    let space = AddressSpace::of(Arc::clone(&dump.memory), &dump.cpus[0]);
    assert_eq!(space.word(0xffff_8000_0070_0000), Some(0xabcd_ef01_2345));
    assert!(matches!(word(&*dump.memory, 8 * MIB), Err(MemoryError::Absent { .. })));
}
