//! Memory without a container, and regions.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use uniprof_wire::address::{GuestPhysical, GuestVirtual};
use uniprof_wire::layout::{Architecture, Geometry, RegionHeader};
use uniprof_wire::text::FixedText;

use super::bytes::page;
use crate::dump::{Dump, DumpError, Format, OpenOptions, open, open_source, sniff};
use crate::memory::{GuestMemory, Home, MemoryError, find_region};

fn open_bytes(bytes: Vec<u8>) -> Result<Dump, DumpError> {
    open_source(Arc::new(bytes), Path::new("a.raw"), &OpenOptions::default())
}

pub(super) fn region(at: u64) -> Vec<u8> {
    let header = RegionHeader {
        architecture: Architecture::X86_64,
        boot_id: 5,
        region_gpa: GuestPhysical(at),
        region_gva: GuestVirtual(at),
        geometry: Geometry::with_ring_bytes(1, 64 << 10).unwrap(),
        tsc_hz: 1_000_000_000,
        boot_tsc: 0,
        boot_wall_ns: 0,
        sites: (GuestVirtual(0), GuestVirtual(0)),
        name: FixedText::new(b"test"),
    };
    let mut bytes: Vec<u8> = header.to_words().iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(header.geometry.region_bytes(), 0);
    bytes
}

#[test]
fn a_copy_of_a_region_lies_where_its_header_says() {
    let bytes = region(0xfe00_0000);
    let dump = open_bytes(bytes.clone()).unwrap();
    assert_eq!((dump.format, dump.memory.home()), (Format::Region, Home::Start));
    let found = find_region(&dump.memory, None).unwrap().unwrap();
    assert_eq!(found.at, GuestPhysical(0xfe00_0000));
    assert_eq!(dump.memory.window(found.at, bytes.len() as u64).unwrap().len(), bytes.len() / 8);
    assert!(dump.memory.read(GuestPhysical(0), &mut [0]).is_err());
    assert!(open_bytes(region(0)).err().unwrap().to_string().contains("lies at 0x0"));
}

#[test]
fn a_region_that_is_cut_off_is_found_and_its_end_is_missing() {
    let bytes = region(0xfe00_0000);
    let dump = open_bytes(bytes[..bytes.len() - 5000].to_vec()).unwrap();
    let found = find_region(&dump.memory, None).unwrap().unwrap();
    let end = found.at.0 + bytes.len() as u64;
    let refused = dump.memory.read(GuestPhysical(end - 5001), &mut [0; 2]);
    assert!(matches!(refused, Err(MemoryError::Missing { at, .. }) if at.0 == end - 5000), "{refused:?}");
    assert!(dump.remarks[1].contains("5000 bytes of the region are missing"), "{:?}", dump.remarks);
}

#[test]
fn a_raw_image_is_taken_for_memory_whatever_it_looks_like() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(16 << 30).unwrap();
    file.as_file().write_all_at(&region(0), 0).unwrap();
    file.as_file().write_all_at(&page(3), 9 << 30).unwrap();
    assert_eq!(sniff(file.path()), Some(Format::Region));
    let dump = open(file.path(), &OpenOptions { raw: true, ..OpenOptions::default() }).unwrap();
    assert_eq!(dump.format, Format::Raw);
    assert_eq!(dump.memory.ranges().unwrap(), [GuestPhysical(0)..GuestPhysical(16 << 30)]);
    let resident = dump.memory.resident().unwrap();
    assert!(resident.iter().map(|range| range.end.0 - range.start.0).sum::<u64>() < 1 << 20, "{resident:?}");
    let mut word = [0; 8];
    dump.memory.read(GuestPhysical((9 << 30) + 8), &mut word).unwrap();
    assert_eq!(u64::from_le_bytes(word), 3 << 32 | 1);
    assert!(matches!(dump.memory.read(GuestPhysical(16 << 30), &mut word), Err(MemoryError::Absent { .. })));
    assert!(matches!(dump.memory.window(GuestPhysical(4), 8), Err(MemoryError::Unaligned { .. })));
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(sniff(dir.path()), None);
    assert_eq!(sniff(&dir.path().join("nothing")), None);
    for path in [dir.path(), Path::new("/dev/zero"), &dir.path().join("nothing")] {
        let error = open(path, &OpenOptions::default()).err().unwrap().to_string();
        assert!(error.starts_with("cannot open the dump"), "{error}");
    }
}
