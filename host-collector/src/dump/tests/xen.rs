//! Xen's cores. Only such that are made here were tried.

use std::path::Path;
use std::sync::Arc;

use uniprof_wire::address::GuestPhysical;

use super::bytes::{Bytes, note, page};
use crate::cpu::{RBP, RSP, StateSource};
use crate::dump::{Dump, DumpError, Format, OpenOptions, open_source};
use crate::memory::MemoryError;

fn open_bytes(bytes: Vec<u8>) -> Result<Dump, DumpError> {
    open_source(Arc::new(bytes), Path::new("a.xen"), &OpenOptions::default())
}

/// `vcpu_guest_context` of x86-64: register n of `cpu_user_regs` is `first + n`, control register n `first + 100 + n`, the bases
/// of FS, kernel GS and user GS `first + 200` and so on.
fn context(first: u64, flags: u64, cs: u64) -> Vec<u8> {
    let mut bytes = Bytes::default().zeros(512).u64(flags);
    for register in 0..25 {
        bytes = bytes.u64(if register == 17 { cs } else { first + register });
    }
    // trap_ctxt, ldt, gdt_frames, gdt_ents, kernel_ss, kernel_sp
    bytes = bytes.zeros(256 * 16 + 16 + 16 * 8 + 8 + 16);
    for control in 0..8 {
        bytes = bytes.u64(first + 100 + control);
    }
    // debugreg, three callbacks, vm_assist
    bytes = bytes.zeros(64 + 24 + 8);
    for base in 0..3 {
        bytes = bytes.u64(first + 200 + base);
    }
    assert_eq!(bytes.0.len(), 5168);
    bytes.0
}

/// A core of pages 1, 2, … of which `list` tells the places, in words: one for each page, or two.
fn core(contexts: &[Vec<u8>], list_name: &str, list: &[u64], pages: u64) -> Vec<u8> {
    let header = Bytes::default().u64(0xf00f_ebee).u64(contexts.len() as u64).u64(pages).u64(4096);
    let notes = [note("Xen", 0x200_0000, &[]), note("Xen", 0x200_0001, &header.0)].concat();
    let contexts = contexts.concat();
    let names = format!("\0.shstrtab\0.note.Xen\0.xen_prstatus\0.xen_pages\0{list_name}\0");
    let place = |name: &str| names.find(&format!("\0{name}\0")).unwrap() as u32 + 1;
    let notes_at = 64 + 6 * 64;
    let contexts_at = notes_at + notes.len();
    let pages_at = (contexts_at + contexts.len()).next_multiple_of(4096);
    let list_at = pages_at + 4096 * pages as usize;
    let names_at = list_at + 8 * list.len();
    let mut bytes = Bytes::default().raw(b"\x7fELF\x02\x01\x01\0").zeros(8);
    bytes = bytes.u16(4).u16(62).u32(1).u64(0).u64(0).u64(64).u32(0);
    bytes = bytes.u16(64).u16(56).u16(0).u16(64).u16(6).u16(1).zeros(64);
    for (name, kind, at, size) in [
        (".shstrtab", 3, names_at, names.len()),
        (".note.Xen", 7, notes_at, notes.len()),
        (".xen_prstatus", 1, contexts_at, contexts.len()),
        (".xen_pages", 1, pages_at, 4096 * pages as usize),
        (list_name, 1, list_at, 8 * list.len()),
    ] {
        bytes = bytes.u32(place(name)).u32(kind).u64(0).u64(0).u64(at as u64).u64(size as u64).zeros(24);
    }
    let mut file = bytes.raw(&notes).raw(&contexts).0;
    file.resize(pages_at, 0);
    for number in 1..=pages {
        file.extend(page(number));
    }
    file.extend(list.iter().flat_map(|word| word.to_le_bytes()));
    file.extend(names.as_bytes());
    file
}

fn word(dump: &Dump, at: u64) -> Result<u64, MemoryError> {
    let mut bytes = [0; 8];
    dump.memory.read(GuestPhysical(at), &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[test]
fn a_guest_with_physical_memory_of_its_own_is_read() {
    let contexts = [context(0x1000, 0, 8), context(0x2000, 0, 0x33)];
    let dump = open_bytes(core(&contexts, ".xen_pfn", &[0, 1, 0x10_0000, u64::MAX], 4)).unwrap();
    assert_eq!(dump.format, Format::XenElf);
    assert_eq!(word(&dump, 8).unwrap(), 1 << 32 | 1);
    assert_eq!(word(&dump, 0x1000).unwrap(), 2 << 32);
    assert_eq!(word(&dump, 4 << 30).unwrap(), 3 << 32);
    assert!(matches!(word(&dump, 0x2000), Err(MemoryError::Absent { .. })));
    let [kernel, user] = &dump.cpus[..] else { panic!("{:?}", dump.cpus) };
    assert_eq!((kernel.source, kernel.rip, kernel.cs), (StateSource::XenContext, 0x1010, Some(8)));
    assert_eq!((kernel.general[RSP], kernel.general[RBP]), (Some(0x1013), Some(0x1004)));
    assert_eq!(
        (kernel.general[0], kernel.general[1], kernel.general[15]),
        (Some(0x100a), Some(0x1005), Some(0x1000))
    );
    assert_eq!((kernel.rflags, kernel.cr0, kernel.cr4), (Some(0x1012), Some(0x1064), Some(0x1068)));
    assert_eq!(kernel.cr3, Some(GuestPhysical(0x1000)));
    assert_eq!((kernel.fs_base, kernel.gs_base), (Some(0x10c8), Some(0x10c9)));
    assert_eq!((user.vcpu, user.gs_base), (1, Some(0x20ca)));
    assert_eq!(dump.remarks, ["Of 4 pages 1 have no place: the guest may have run on meanwhile."]);
}

#[test]
fn a_paravirtualized_guests_addresses_are_the_machines() {
    let contexts = [context(0x1000, 1 << 2, 0xe033)];
    let dump = open_bytes(core(&contexts, ".xen_p2m", &[0, 0x55, 1, 0x44, 2, 0x45], 3)).unwrap();
    assert_eq!(word(&dump, 0x55000).unwrap(), 1 << 32);
    assert_eq!(word(&dump, 0x45000).unwrap(), 3 << 32);
    let across = dump.memory.window(GuestPhysical(0x44ff8), 16).unwrap();
    assert_eq!((across.load(0), across.load(1)), (Some(2 << 32 | 511), Some(3 << 32)));
    assert_eq!(dump.cpus[0].gs_base, Some(0x10c9));
    assert!(dump.remarks[0].contains("paravirtualized"));
}

#[test]
fn what_is_cut_off_or_of_another_size_is_told() {
    let whole = core(&[context(0, 0, 8)], ".xen_pfn", &[0, 1], 2);
    for len in 0..whole.len() {
        let error = open_bytes(whole[..len].to_vec()).err().map(|error| error.to_string());
        assert!(error.is_some() || len + 4 > whole.len(), "{len}");
    }
    let narrow = core(&[vec![0; 2800]], ".xen_pfn", &[0, 1], 2);
    let dump = open_bytes(narrow).unwrap();
    assert!(dump.cpus.is_empty() && dump.remarks[0].contains("64-bit"), "{:?}", dump.remarks);
}
