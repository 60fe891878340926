use std::os::unix::fs::{FileExt, PermissionsExt};

use uniprof_wire::address::GuestPhysical;

use super::*;
use crate::cpu::StateSource;
use crate::dump::{self, Format};
use crate::memory::{RamExtent, RamFile, RamMap};

const MIB: u64 = 1 << 20;

/// 24 MiB, of which the upper 8 lie at 4 GiB and 3 pages; noise, text and zeros in it.
fn guest() -> (tempfile::NamedTempFile, RamFile) {
    let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
    file.as_file().set_len(24 * MIB).unwrap();
    let mut state = 7_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(MIB as usize + 5000).collect();
    file.as_file().write_all_at(&noise, 4096 * 5).unwrap();
    file.as_file().write_all_at(&[0; 40960], 14 * MIB).unwrap();
    file.as_file().write_all_at(&b"text ".repeat(100_000), 17 * MIB + 100).unwrap();
    let map = RamMap::new(vec![
        RamExtent { gpa: 0, len: 16 * MIB - 4096, offset: 0 },
        RamExtent { gpa: (4 << 30) + 3 * 4096, len: 8 * MIB, offset: 16 * MIB },
    ]);
    let ram = RamFile::open(file.path(), map).unwrap();
    (file, ram)
}

fn cpus() -> Vec<CpuState> {
    let cpu = |vcpu: u32| {
        let mut cpu = CpuState::new(vcpu, 0x10_0000 + u64::from(vcpu), StateSource::QemuNote);
        cpu.general = std::array::from_fn(|index| Some(index as u64 * 3 + 1 + u64::from(vcpu)));
        cpu.rflags = Some(0x246);
        cpu.cs = Some(8);
        (cpu.fs_base, cpu.gs_base) = (Some(0xf5), Some(0x65));
        (cpu.cr0, cpu.cr2, cpu.cr4) = (Some(0x8000_0011), Some(0x18), Some(0x620));
        cpu.cr3 = Some(GuestPhysical(0x10_6000));
        cpu.idt = (vcpu == 0).then_some((0x11_8000, 0xfff));
        cpu
    };
    vec![cpu(0), cpu(1)]
}

fn facts() -> Facts {
    Facts { guest: "kv".into(), why: "panic".into(), taken_ns: 1_500_000_123, ..Facts::default() }
}

fn written(dir: &Path, memory: &dyn GuestMemory, cpus: &[CpuState]) -> (PathBuf, Written) {
    let path = dir.join("x.core");
    let written = write(&path, memory, cpus, &facts(), &Cancel::new(), |_, _| {}).unwrap();
    (path, written)
}

#[test]
fn what_is_written_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_file, ram) = guest();
    let (path, written) = written(dir.path(), &ram, &cpus());
    assert_eq!(written.bytes, path.metadata().unwrap().len());
    assert_eq!((written.memory_bytes, written.remarks.len()), (24 * MIB - 4096, 0));
    // Noise is kept as it is, text shrinks, zeros take no room.
    assert!((MIB..2 * MIB).contains(&written.bytes), "{written:?}");
    let dump = dump::open(&path, &dump::OpenOptions::default()).unwrap();
    assert_eq!((dump.format, dump.remarks.len()), (Format::Kdump, 0), "{:?}", dump.remarks);
    assert_eq!(dump.facts, Some(facts()));
    assert_eq!(dump.cpus, cpus());
    assert_eq!(dump.memory.ranges().unwrap(), ram.ranges().unwrap());
    for range in ram.ranges().unwrap() {
        let mut pages = [vec![0; 4096], vec![0; 4096]];
        for at in (range.start.0..range.end.0).step_by(4096).map(GuestPhysical) {
            ram.read(at, &mut pages[0]).unwrap();
            dump.memory.read(at, &mut pages[1]).unwrap();
            assert!(pages[0] == pages[1], "{at}");
        }
    }
}

#[test]
fn only_its_owner_may_read_it_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (_file, ram) = guest();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("x.core.partial")).unwrap();
    let (path, _) = written(dir.path(), &ram, &[]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(path.symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn registers_without_control_registers_are_not_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let (_file, ram) = guest();
    let mut cpus = cpus();
    cpus[1].cr3 = None;
    let (path, _) = written(dir.path(), &ram, &cpus);
    let read = dump::open(&path, &dump::OpenOptions::default()).unwrap().cpus;
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|cpu| cpu.source == StateSource::PrStatus && cpu.cr3.is_none()));
    assert_eq!((read[1].rip, read[1].general), (cpus[1].rip, cpus[1].general));
}

#[test]
fn a_directory_that_is_not_there_and_a_ctrl_c_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (_file, ram) = guest();
    let missing = dir.path().join("no/x.core");
    let error = write(&missing, &ram, &[], &facts(), &Cancel::new(), |_, _| {}).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot create the dump") && error.to_string().contains("no/x.core")
    );
    let cancel = Cancel::new();
    let path = dir.path().join("x.core");
    let cancelled = write(&path, &ram, &[], &facts(), &cancel, |_, _| cancel.cancel());
    assert!(matches!(cancelled, Err(WriteError::Cancelled)), "{cancelled:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn two_that_write_the_same_file_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let (_file, ram) = guest();
    let path = dir.path().join("x.core");
    let mut second = None;
    let first = write(&path, &ram, &[], &facts(), &Cancel::new(), |_, _| {
        second.get_or_insert_with(|| {
            write(&path, &ram, &[], &facts(), &Cancel::new(), |_, _| {}).map_err(|error| error.to_string())
        });
    });
    let error = second.unwrap().unwrap_err();
    assert!(error.ends_with("x.core: another process is writing it"), "{error}");
    assert_eq!(first.unwrap().bytes, path.metadata().unwrap().len());
    assert!(dump::open(&path, &dump::OpenOptions::default()).is_ok());
}
