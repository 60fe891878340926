//! ELF cores.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use uniprof_wire::address::GuestPhysical;

use super::bytes::{Counted, Load, elf_headers, note, page, prstatus, qemu_note};
use crate::cpu::{RBP, RSP, StateSource};
use crate::dump::source::FileSource;
use crate::dump::{Dump, DumpError, Format, OpenOptions, open, open_source, sniff};
use crate::memory::MemoryError;

const GIB: u64 = 1 << 30;

fn open_bytes(bytes: Vec<u8>) -> Result<Dump, DumpError> {
    open_source(Arc::new(bytes), Path::new("a.core"), &OpenOptions::default())
}

/// A core of notes and of pages that lie one after another in the file: (virtual, physical) address of each run, its pages.
fn core(osabi: u8, notes: &[u8], runs: &[(u64, u64, &[u64])]) -> Vec<u8> {
    let mut at = 64 + 56 * (1 + runs.len() as u64);
    let mut loads: Vec<Load> = vec![(4, at, 0, 0, notes.len() as u64, notes.len() as u64)];
    at += notes.len() as u64;
    for (virt, phys, pages) in runs {
        let len = 4096 * pages.len() as u64;
        loads.push((1, at, *virt, *phys, len, len));
        at += len;
    }
    let mut bytes = elf_headers(osabi, &loads).raw(notes);
    for number in runs.iter().flat_map(|(_, _, pages)| *pages) {
        bytes = bytes.raw(&page(*number));
    }
    bytes.0
}

fn word(dump: &Dump, at: u64) -> Result<u64, MemoryError> {
    let mut bytes = [0; 8];
    dump.memory.read(GuestPhysical(at), &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[test]
fn memory_and_registers_of_a_qemu_core_are_read() {
    let notes = [prstatus(1000), prstatus(2000), qemu_note(0x1_0000), qemu_note(0x2_0000)].concat();
    let dump = open_bytes(core(0, &notes, &[(0, 0, &[1, 2]), (4 * GIB, 4 * GIB, &[3])])).unwrap();
    assert_eq!(dump.format, Format::QemuElf);
    assert_eq!(word(&dump, 0x1008).unwrap(), 2 << 32 | 1);
    let mut across = [0; 4096];
    dump.memory.read(GuestPhysical(0x800), &mut across).unwrap();
    assert_eq!(across, [&page(1)[0x800..], &page(2)[..0x800]].concat()[..]);
    assert_eq!(word(&dump, 4 * GIB).unwrap(), 3 << 32);
    assert!(matches!(word(&dump, 0x1ffc), Err(MemoryError::Absent { at: GuestPhysical(0x2000), .. })));
    let window = dump.memory.window(GuestPhysical(0x1000), 4096).unwrap();
    assert_eq!((window.len(), window.load(511)), (512, Some(2 << 32 | 511)));
    let [first, second] = &dump.cpus[..] else { panic!("{:?}", dump.cpus) };
    assert_eq!((first.vcpu, second.vcpu), (0, 1));
    assert_eq!(second.source, StateSource::QemuNote);
    assert_eq!(second.rip, 0x2_0010);
    assert_eq!((second.general[RSP], second.general[RBP]), (Some(0x2_0006), Some(0x2_0007)));
    assert_eq!((second.general[0], second.general[15]), (Some(0x2_0000), Some(0x2_000f)));
    assert_eq!(second.rflags, Some(0x2_0011));
    assert_eq!((second.cs, second.fs_base, second.gs_base), (Some(100), Some(0x2_0067), Some(0x2_0068)));
    assert_eq!((second.cr0, second.cr2, second.cr4), (Some(0x2_00c8), Some(0x2_00ca), Some(0x2_00cc)));
    assert_eq!(second.cr3, Some(GuestPhysical(0x2_0000)));
    assert_eq!(second.idt, Some((0x2_006d, 0xfff)));
    assert_eq!(dump.remarks, [""; 0]);
}

#[test]
fn without_qemus_notes_the_general_registers_are_left() {
    let dump = open_bytes(core(0, &prstatus(1000), &[(0, 0, &[1])])).unwrap();
    let [cpu] = &dump.cpus[..] else { panic!("{:?}", dump.cpus) };
    assert_eq!((cpu.source, cpu.rip, cpu.cr3), (StateSource::PrStatus, 1016, None));
    // r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base
    let order = [10, 5, 11, 12, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0];
    assert_eq!(cpu.general, order.map(|at| Some(1000 + at)));
    assert_eq!((cpu.cs, cpu.rflags), (Some(1017), Some(1018)));
    assert_eq!((cpu.fs_base, cpu.gs_base), (Some(1021), Some(1022)));
}

#[test]
fn notes_of_the_guest_and_of_uniprof_are_read_and_damaged_ones_told() {
    let info = note("VMCOREINFO", 0, b"OSRELEASE=6.1\nPAGESIZE=4096\n");
    let facts = note("UNIPROF", 1, br#"{"guest":"web","vcpus":2,"why":"panic","later":[1]}"#);
    let dump = open_bytes(core(0, &[info, facts].concat(), &[(0, 0, &[1])])).unwrap();
    assert_eq!(dump.vmcoreinfo.as_deref(), Some("OSRELEASE=6.1\nPAGESIZE=4096\n"));
    let facts = dump.facts.unwrap();
    assert_eq!((&*facts.guest, facts.vcpus, &*facts.why), ("web", 2, "panic"));
    let odd = [note("UNIPROF", 1, b"{"), note("CORE", 1, &[0; 12]), note("QEMU", 0, &[1; 16])].concat();
    let dump = open_bytes(core(0, &odd, &[(0, 0, &[1])])).unwrap();
    assert!(dump.facts.is_none() && dump.cpus.is_empty());
    assert_eq!(dump.remarks.len(), 2, "{:?}", dump.remarks);
}

#[test]
fn segments_by_virtual_address_are_put_where_their_physical_one_is() {
    // As with paging=true: the upper half maps pages again, in another order, and page 1 is mapped nowhere.
    let high = 0xffff_8000_0000_0000;
    let mut bytes =
        core(0, &qemu_note(0), &[(high, 0, &[7]), (0, 0, &[8]), (high + 0x5000, 0x2000, &[9, 10])]);
    let at = |segment: usize, field: usize| 64 + 56 * (segment + 1) + field;
    let first = u64::from_le_bytes(bytes[at(0, 8)..][..8].try_into().unwrap());
    // The second segment is the first one's page; the file holds pages 7, 8, 9, 10 at 0, 0x1000, 0x2000, 0x3000.
    bytes[at(1, 8)..][..8].copy_from_slice(&first.to_le_bytes());
    let dump = open_bytes(bytes).unwrap();
    let pages: Vec<_> = (0..4).map(|page| word(&dump, page << 12).unwrap() >> 32).collect();
    assert_eq!(pages, [7, 8, 9, 10], "the page that is not mapped is in the file all the same");
    assert_eq!(dump.memory.ranges().unwrap(), [GuestPhysical(0)..GuestPhysical(0x4000)]);
}

#[test]
fn what_is_described_but_not_stored_is_missing_and_devices_are_not_memory() {
    let mut bytes = core(0, &[], &[(0, 0, &[1]), (0xfee0_0000, 0xfee0_0000, &[2])]);
    let at = |segment: usize, field: usize| 64 + 56 * (segment + 1) + field;
    bytes[at(0, 40)..][..8].copy_from_slice(&0x3000u64.to_le_bytes());
    bytes[at(1, 8)..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    bytes[at(1, 32)..][..8].fill(0);
    let dump = open_bytes(bytes).unwrap();
    assert_eq!(word(&dump, 8).unwrap(), 1 << 32 | 1);
    assert!(matches!(word(&dump, 0x1000), Err(MemoryError::Missing { .. })));
    assert_eq!(dump.memory.ranges().unwrap(), [GuestPhysical(0)..GuestPhysical(0x3000)]);
    assert_eq!(dump.memory.resident().unwrap(), [GuestPhysical(0)..GuestPhysical(0x1000)]);
    assert_eq!(
        dump.remarks,
        ["8192 bytes of memory are missing: the dump names it but holds no bytes of it."]
    );
}

#[test]
fn a_core_that_is_cut_off_has_what_is_there() {
    let whole = core(0, &qemu_note(0), &[(0, 0, &[1, 2, 3]), (GIB, GIB, &[4, 5])]);
    let dump = open_bytes(whole[..whole.len() - 2 * 4096 - 100].to_vec()).unwrap();
    assert_eq!(dump.cpus.len(), 1);
    assert_eq!(word(&dump, 0x2000).unwrap(), 3 << 32);
    assert!(matches!(word(&dump, 0x3000 - 100), Err(MemoryError::Missing { at: GuestPhysical(0x2f9c), .. })));
    assert!(matches!(word(&dump, GIB), Err(MemoryError::Missing { .. })));
    assert_eq!(dump.remarks, ["8292 bytes of memory are missing: the dump is cut off before it."]);
    for len in 0..whole.len() {
        if let Ok(dump) = open_bytes(whole[..len].to_vec()) {
            assert!(!dump.remarks.is_empty(), "{len}");
        }
    }
}

#[test]
fn solo5s_pages_that_were_never_touched_are_zeros_even_past_the_files_end() {
    let whole = core(255, &prstatus(1), &[(0, 0, &[1, 0, 0])]);
    let dump = open_bytes(whole[..whole.len() - 2 * 4096].to_vec()).unwrap();
    assert_eq!(dump.format, Format::Solo5Elf);
    assert_eq!((word(&dump, 8).unwrap(), word(&dump, 0x2ff8).unwrap()), (1 << 32 | 1, 0));
    assert_eq!(dump.cpus[0].cr3, None);
    assert_eq!(dump.memory.resident().unwrap(), [GuestPhysical(0)..GuestPhysical(0x1000)]);
}

#[test]
fn a_count_of_segments_beyond_16_bits_stands_in_the_first_section() {
    let runs: Vec<(u64, u64, &[u64])> = vec![(0, 0, &[6]), (GIB, GIB, &[7])];
    let mut bytes = core(0, &[], &runs);
    let sections = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&sections.to_le_bytes());
    bytes[56..58].copy_from_slice(&0xffffu16.to_le_bytes());
    bytes[60..62].copy_from_slice(&1u16.to_le_bytes());
    bytes.extend([0; 44]);
    bytes.extend(3u32.to_le_bytes());
    bytes.extend([0; 16]);
    let dump = open_bytes(bytes.clone()).unwrap();
    assert_eq!(word(&dump, GIB).unwrap(), 7 << 32);
    bytes[sections as usize + 44..][..4].fill(0xff);
    let refused = open_bytes(bytes).err().unwrap().to_string();
    assert_eq!(refused, "the dump a.core can't be used: it claims 4294967295 segments");
}

#[test]
fn segments_that_share_the_files_bytes_at_many_addresses_are_refused() {
    let mut bytes = core(0, &[], &[(0, 0, &[1]), (GIB, GIB, &[2]), (2 * GIB, 2 * GIB, &[3])]);
    let all = bytes.len() as u64;
    for segment in 1..4 {
        let header = 64 + 56 * segment;
        bytes[header + 8..][..8].fill(0);
        bytes[header + 32..][..8].copy_from_slice(&all.to_le_bytes());
    }
    let refused = open_bytes(bytes).err().unwrap().to_string();
    assert!(refused.contains("they overlap in the file"), "{refused}");
}

#[test]
fn memory_where_no_address_can_be_is_refused() {
    let bytes = core(0, &[], &[(0, 1 << 52, &[1])]);
    let refused = open_bytes(bytes).err().unwrap().to_string();
    assert!(refused.contains("up to 0x10000000001000"), "{refused}");
    assert!(open_bytes(core(0, &[], &[(0, (1 << 52) - 4096, &[1])])).is_ok());
}

#[test]
fn what_is_no_machines_core_is_told_by_what_it_is() {
    let mut kernel = core(0, &[], &[(0, 0, &[1])]);
    kernel[16] = 2;
    let mut arm = core(0, &[], &[(0, 0, &[1])]);
    arm[18] = 183;
    let process = core(0, &note("CORE", 3, &[0; 136]), &[(0x40_0000, 0, &[1])]);
    for (bytes, says) in [
        (kernel, "--kernel"),
        (arm, "machine 183"),
        (process, "gdb"),
        (b"MZ and so on, and so on".to_vec(), "--raw"),
        (vec![], "0 bytes"),
    ] {
        let error = open_bytes(bytes).err().unwrap().to_string();
        assert!(error.contains(says) && error.contains("a.core"), "{error}");
    }
}

#[test]
fn notes_that_are_cut_off_are_told_once_however_many_segments_claim_them() {
    let mut loads: Vec<Load> = vec![(4, 1 << 40, 0, 0, 1 << 20, 0); 1000];
    loads.push((1, 0, 0, 0, 4096, 4096));
    let dump = open_bytes(elf_headers(0, &loads).0).unwrap();
    let told = dump.remarks.iter().filter(|remark| remark.contains("notes")).count();
    assert_eq!(told, 1, "{:?}", dump.remarks.first());
}

#[test]
fn a_sparse_core_of_16_gib_costs_what_it_holds() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let notes = qemu_note(0);
    let headers = 64 + 2 * 56 + notes.len() as u64;
    let len = 16 * GIB;
    let loads = [(4, 64 + 2 * 56, 0, 0, notes.len() as u64, 0), (1, headers, 0, 0, len, len)];
    file.as_file().write_all_at(&elf_headers(0, &loads).raw(&notes).0, 0).unwrap();
    file.as_file().write_all_at(&page(5), headers + 9 * GIB).unwrap();
    file.as_file().set_len(headers + len).unwrap();
    assert_eq!(sniff(file.path()), Some(Format::QemuElf));
    assert!(open(file.path(), &OpenOptions::default()).is_ok());
    let source = Counted::new(FileSource::open(file.path()).unwrap());
    let dump = open_source(source.clone(), file.path(), &OpenOptions::default()).unwrap();
    assert!(source.so_far() < 4096, "{}", source.so_far());
    let resident = dump.memory.resident().unwrap();
    let bytes: u64 = resident.iter().map(|range| range.end.0 - range.start.0).sum();
    assert!(bytes <= 16 << 10, "{resident:?}");
    assert_eq!(word(&dump, 9 * GIB + 8).unwrap(), 5 << 32 | 1);
    assert!(crate::memory::find_region(&dump.memory, None).unwrap().is_err());
    assert!(source.so_far() < 64 << 10, "{}", source.so_far());
}
