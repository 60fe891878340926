//! kdump-compressed dumps, plain and flattened.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use uniprof_wire::address::GuestPhysical;

use super::bytes::{Counted, note, page, qemu_note};
use super::kdump_writer::{COMPRESSED, How, Spec, flattened, in_pieces, stored};
use crate::cpu::StateSource;
use crate::dump::{Dump, DumpError, Format, OpenOptions, ReadAt, open_source};
use crate::memory::{MemoryError, find_region};

fn open_bytes(bytes: Vec<u8>) -> Result<Dump, DumpError> {
    open_source(Arc::new(bytes), Path::new("a.kdump"), &OpenOptions::default())
}

fn read(dump: &Dump, at: u64, len: usize) -> Result<Vec<u8>, MemoryError> {
    let mut bytes = vec![0xee; len];
    dump.memory.read(GuestPhysical(at), &mut bytes)?;
    Ok(bytes)
}

/// Pages 0 to 3, 100 (left out: 4 and 101), with a page of zeros at 2.
fn spec(how: How) -> Spec {
    let pages = vec![
        stored(0, how, &page(1)),
        stored(1, How::Plain, &page(2)),
        (2, None),
        stored(3, how, &page(3)),
        stored(100, how, &page(4)),
    ];
    Spec { pages, left_out: vec![4, 101], notes: qemu_note(0x5000), ..Spec::default() }
}

fn check(dump: &Dump) {
    let whole = [page(1), page(2), vec![0; 4096], page(3)].concat();
    assert_eq!(read(dump, 0, 4 * 4096).unwrap(), whole);
    assert_eq!(read(dump, 0xffa, 0x2010).unwrap(), whole[0xffa..][..0x2010]);
    assert_eq!(read(dump, 100 * 4096 + 5, 7).unwrap(), page(4)[5..12]);
    let window = dump.memory.window(GuestPhysical(0x3000), 4096).unwrap();
    assert_eq!((window.len(), window.load(9)), (512, Some(3 << 32 | 9)));
    assert!(matches!(read(dump, 0x3ffc, 8), Err(MemoryError::Missing { at: GuestPhysical(0x4000), .. })));
    assert!(matches!(read(dump, 0x5000, 1), Err(MemoryError::Absent { .. })));
    assert!(matches!(read(dump, u64::MAX, 1), Err(MemoryError::Absent { .. })));
    let range = |pages: Range<u64>| GuestPhysical(pages.start * 4096)..GuestPhysical(pages.end * 4096);
    assert_eq!(dump.memory.ranges().unwrap(), [range(0..5), range(100..102)]);
    assert_eq!(dump.memory.resident().unwrap(), [range(0..4), range(100..101)]);
    let [cpu] = &dump.cpus[..] else { panic!("{:?}", dump.cpus) };
    assert_eq!((cpu.source, cpu.rip), (StateSource::QemuNote, 0x5010));
    assert_eq!(dump.remarks, ["8192 bytes of memory were left out when it was made."]);
}

#[test]
fn pages_of_every_compression_are_read_plain_and_flattened() {
    for how in COMPRESSED {
        let file = spec(how).file();
        let dump = open_bytes(file.clone()).unwrap();
        assert_eq!(dump.format, Format::Kdump);
        check(&dump);
        let dump = open_bytes(in_pieces(&file)).unwrap();
        assert_eq!(dump.format, Format::FlattenedKdump);
        check(&dump);
    }
}

#[test]
fn headers_of_32_bit_writers_and_pages_of_64_kib_are_read() {
    check(&open_bytes(Spec { wide: false, ..spec(How::Lzo) }.file()).unwrap());
    let large: Vec<u8> = (0..16).flat_map(page).collect();
    for how in COMPRESSED {
        let pages = vec![stored(0, How::Plain, &large), stored(3, how, &large)];
        let dump = open_bytes(Spec { block: 65536, pages, ..Spec::default() }.file()).unwrap();
        assert_eq!(read(&dump, 3 << 16, 65536).unwrap(), large, "{how:?}");
    }
}

#[test]
fn what_older_versions_do_not_have_is_not_looked_for() {
    let old = Spec { version: 1, one_bitmap: true, left_out: vec![], ..spec(How::Zlib) };
    let dump = open_bytes(old.file()).unwrap();
    assert_eq!(read(&dump, 100 * 4096, 4096).unwrap(), page(4));
    assert!(dump.cpus.is_empty());
    assert_eq!(dump.remarks, [""; 0]);
}

#[test]
fn notes_and_vmcoreinfo_are_found() {
    let facts = note("UNIPROF", 1, br#"{"guest":"web"}"#);
    let spec = Spec { notes: facts, vmcoreinfo: b"PAGESIZE=4096\n\0\0".to_vec(), ..spec(How::Snappy) };
    let dump = open_bytes(spec.file()).unwrap();
    assert_eq!(dump.vmcoreinfo.as_deref(), Some("PAGESIZE=4096\n"));
    assert_eq!(dump.facts.unwrap().guest, "web");
}

#[test]
fn a_page_that_unpacks_into_more_or_less_than_a_page_is_refused() {
    let bomb = vec![0x55; 4 << 20];
    for how in COMPRESSED {
        for wrong in [&bomb[..], &bomb[..4095], &bomb[..4097]] {
            let mut packed = stored(1, how, wrong);
            packed.1.as_mut().unwrap().1.truncate(8192);
            let pages = vec![stored(0, how, &page(1)), packed, stored(2, how, &page(2))];
            let dump = open_bytes(Spec { pages, ..Spec::default() }.file()).unwrap();
            let refused = read(&dump, 4096, 8);
            assert!(
                matches!(refused, Err(MemoryError::Damaged { at: GuestPhysical(4096), .. })),
                "{how:?} {refused:?}"
            );
            assert_eq!(read(&dump, 2 * 4096, 4096).unwrap(), page(2), "{how:?}: the next page suffers");
        }
    }
}

#[test]
fn damaged_pages_and_descriptors_cost_only_themselves() {
    let whole = spec(How::Zlib);
    let file = whole.file();
    let table =
        file.len() - 4096 - whole.pages.iter().flat_map(|p| &p.1).map(|p| p.1.len()).sum::<usize>() - 24 * 5;
    let with = |page: usize, field: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[table + 24 * page + field..][..bytes.len()].copy_from_slice(bytes);
        open_bytes(file).unwrap()
    };
    for (field, bytes) in [
        (8, &0u32.to_le_bytes()[..]),
        (8, &u32::MAX.to_le_bytes()),
        (12, &3u32.to_le_bytes()),
        (0, &u64::MAX.to_le_bytes()),
    ] {
        let dump = with(0, field, bytes);
        assert!(matches!(read(&dump, 0, 8), Err(MemoryError::Damaged { .. })), "{field} {bytes:?}");
        assert_eq!(read(&dump, 4096, 4096).unwrap(), page(2));
    }
    // makedumpfile that ran out of space leaves descriptors of zeros.
    let dump = with(3, 0, &[0; 8]);
    assert!(matches!(read(&dump, 0x3000, 8), Err(MemoryError::Missing { .. })));
    assert_eq!(dump.memory.resident().unwrap()[0], GuestPhysical(0)..GuestPhysical(0x2000));
    let scanned = find_region(&with(0, 12, &1u32.to_be_bytes()).memory, None);
    assert!(scanned.unwrap().is_err(), "a damaged page ends the search for a region");
}

#[test]
fn a_dump_that_is_cut_off_has_what_is_there_and_says_what_is_not() {
    let file = spec(How::Plain).file();
    let dump = open_bytes(file[..file.len() - 4096 - 10].to_vec()).unwrap();
    assert_eq!(read(&dump, 0, 4096).unwrap(), page(1));
    assert!(matches!(read(&dump, 0x3000, 1), Err(MemoryError::Missing { .. })));
    assert!(matches!(read(&dump, 100 * 4096, 1), Err(MemoryError::Missing { .. })));
    assert_eq!(dump.remarks[1], "8192 bytes of memory are missing: the dump is cut off before it.");
    for len in 0..file.len() {
        if let Ok(dump) = open_bytes(file[..len].to_vec()) {
            assert_eq!(dump.remarks.len(), 2, "{len}");
        }
    }
    let flat = in_pieces(&file);
    for len in (0..flat.len()).step_by(7) {
        if let Ok(dump) = open_bytes(flat[..len].to_vec()) {
            assert!(dump.remarks[0].starts_with("It is cut off"), "{len} {:?}", dump.remarks);
        }
    }
}

#[test]
fn later_pieces_overwrite_earlier_ones_and_gaps_are_no_zeros() {
    let file = spec(How::Plain).file();
    let at = file.len() as u64 - 2 * 4096;
    let wrong = [9; 3 * 4096];
    let pieces: [(u64, &[u8]); 4] =
        [(at - 4096, &wrong), (0, &file[..at as usize]), (at, &file[at as usize..]), (at + 16, &[7; 4])];
    let dump = open_bytes(flattened(&pieces, true)).unwrap();
    assert_eq!(read(&dump, 0x3000, 16).unwrap(), page(3)[..16]);
    assert_eq!(read(&dump, 0x3010, 5).unwrap(), [7, 7, 7, 7, page(3)[20]]);
    let pieces: [(u64, &[u8]); 2] = [(0, &file[..at as usize]), (at + 4096, &file[at as usize + 4096..])];
    let dump = open_bytes(flattened(&pieces, true)).unwrap();
    assert!(matches!(read(&dump, 0x3000, 16), Err(MemoryError::Damaged { .. })));
    assert_eq!(read(&dump, 100 * 4096, 4096).unwrap(), page(4));
}

#[test]
fn a_flattened_elf_core_is_read_too() {
    let loads = [(1, 0x1000, 0, 0, 4096, 4096)];
    let mut file = super::bytes::elf_headers(0, &loads).0;
    file.resize(0x1000, 0);
    file.extend(page(6));
    let dump = open_bytes(in_pieces(&file)).unwrap();
    assert_eq!(read(&dump, 0, 4096).unwrap(), page(6));
}

#[test]
fn zeros_between_two_pages_are_read_along_and_gaps_in_memory_are_not() {
    let data = |number| stored(number, How::Zlib, &page(number));
    let pages = vec![data(0), (1, None), data(2), (3, None), (5, None), data(6), (7, None), data(30)];
    let dump = open_bytes(Spec { pages, ..Spec::default() }.file()).unwrap();
    let range = |pages: Range<u64>| GuestPhysical(pages.start * 4096)..GuestPhysical(pages.end * 4096);
    assert_eq!(dump.memory.resident().unwrap(), [range(0..3), range(6..7), range(30..31)]);
    assert_eq!(dump.memory.ranges().unwrap(), [range(0..4), range(5..8), range(30..31)]);
}

#[test]
fn a_region_is_found_among_packed_pages() {
    let bytes = super::raw::region(7 * 4096);
    let packed = |(index, bytes): (usize, &[u8])| stored(7 + index as u64, How::Zlib, bytes);
    let mut pages = vec![stored(0, How::Zlib, &bytes[..4096]), stored(3, How::Plain, &page(1))];
    pages.extend(bytes.chunks(4096).enumerate().map(packed));
    let dump = open_bytes(Spec { pages, ..Spec::default() }.file()).unwrap();
    let found = find_region(&dump.memory, None).unwrap().unwrap();
    assert_eq!(found.at, GuestPhysical(7 * 4096), "the copy at 0 is passed over");
}

#[test]
fn headers_that_cannot_be_are_told() {
    let with = |spec: Spec| open_bytes(spec.file()).err().map(|error| error.to_string());
    assert!(with(Spec { split: 1, ..spec(How::Zlib) }).unwrap().contains("--reassemble"));
    assert!(with(Spec { pages: vec![], ..spec(How::Zlib) }).unwrap().contains("no memory"));
    let unfinished = open_bytes(Spec { status: 9, ..spec(How::Zlib) }.file()).unwrap();
    assert!(unfinished.remarks[0].contains("could not finish"));
    let mut block = spec(How::Zlib).file();
    block[428..432].copy_from_slice(&5000u32.to_le_bytes());
    assert!(open_bytes(block).err().unwrap().to_string().contains("size of blocks"));
    let mut pages = spec(How::Zlib).file();
    pages[4096 + 96..][..8].fill(0xff);
    pages[436..440].fill(0xff);
    assert!(open_bytes(pages).err().unwrap().to_string().contains("pages"));
    let lone = flattened(&[(0, b"no dump at all, but long enough to be one")], true);
    assert!(open_bytes(lone).err().unwrap().to_string().contains("no dump"));
}

/// A kdump of 16 GiB of which every page is zeros but for one, made as it is read.
struct Huge {
    head: Vec<u8>,
    pages: u64,
    lone: u64,
}

impl Huge {
    const TABLE: u64 = 4096 * (2 + 2 * 128);

    fn new(lone: u64) -> Self {
        let pages = (16 << 30) / 4096;
        let pages_of = |number| (number, None);
        let small = Spec { pages: vec![pages_of(pages - 1)], ..Spec::default() }.file();
        let mut head = small[..4096 * 2].to_vec();
        head.resize(Self::TABLE as usize, 0xff);
        Self { head, pages, lone }
    }

    fn byte(&self, at: u64) -> u8 {
        let data = Self::TABLE + 24 * self.pages;
        if at < Self::TABLE {
            return self.head[at as usize];
        }
        if at >= data + 4096 {
            return page(77)[(at - data - 4096) as usize];
        }
        if at >= data {
            return 0;
        }
        let index = (at - Self::TABLE) / 24;
        let offset = if index == self.lone { data + 4096 } else { data };
        let descriptor = [offset.to_le_bytes(), 4096u64.to_le_bytes(), [0; 8]].concat();
        descriptor[((at - Self::TABLE) % 24) as usize]
    }
}

impl ReadAt for Huge {
    fn size(&self) -> u64 {
        Self::TABLE + 24 * self.pages + 2 * 4096
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        assert!(offset + into.len() as u64 <= self.size());
        for (at, byte) in (offset..).zip(into) {
            *byte = self.byte(at);
        }
        Ok(())
    }
    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        Ok(std::iter::once(0..self.size()).collect())
    }
}

#[test]
fn opening_16_gib_reads_the_list_of_pages_and_not_their_descriptors() {
    let lone = 3_000_000;
    let source = Counted::new(Huge::new(lone));
    let dump = open_source(source.clone(), Path::new("huge"), &OpenOptions::default()).unwrap();
    assert_eq!(dump.remarks, [""; 0]);
    assert!(source.so_far() < 3 << 20, "{}", source.so_far());
    let before = source.so_far();
    assert_eq!(read(&dump, lone * 4096, 4096).unwrap(), page(77));
    assert_eq!(read(&dump, 16 << 29, 4096).unwrap(), [0; 4096]);
    assert!(source.so_far() - before < 20_000, "{}", source.so_far() - before);
    assert_eq!(dump.memory.ranges().unwrap(), [GuestPhysical(0)..GuestPhysical(16 << 30)]);
}
