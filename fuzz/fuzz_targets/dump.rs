//! A dump of any bytes, in every container: opening it, all of its memory, its registers, the search for a region.
//!
//! The first byte of an input says what the rest is: 0 a file; 1 pieces of a file that is zeros elsewhere, because a kdump's
//! headers lie blocks apart; 2 the records of a flattened file; 3 pieces, flattened. `seeds/dump` has one of each container.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use uniprof_collector::dump::{Dump, OpenOptions, open_source};
use uniprof_collector::memory::{GuestMemory, find_region};
use uniprof_collector::paging::AddressSpace;
use uniprof_wire::address::{GuestPhysical, GuestVirtual};

/// Files that pieces make are no larger.
const MOST: usize = 1 << 18;

/// Pieces: offset (3 bytes), length (1 byte), bytes; offset, length, bytes; …
fn pieces(mut bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut found = Vec::new();
    while let [a, b, c, len, rest @ ..] = bytes {
        let offset = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        let (piece, later) = rest.split_at(usize::from(*len).min(rest.len()));
        found.push((offset % MOST, piece));
        bytes = later;
    }
    found
}

fn assembled(bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for (offset, piece) in pieces(bytes) {
        if file.len() < offset + piece.len() {
            file.resize(offset + piece.len(), 0);
        }
        file[offset..offset + piece.len()].copy_from_slice(piece);
    }
    file
}

fn flattened(records: &[u8]) -> Vec<u8> {
    let mut file = b"makedumpfile\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01".to_vec();
    file.resize(4096, 0);
    file.extend(records);
    file
}

fn flattened_pieces(bytes: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    for (offset, piece) in pieces(bytes) {
        records.extend((offset as u64).to_be_bytes());
        records.extend((piece.len() as u64).to_be_bytes());
        records.extend(piece);
    }
    flattened(&records)
}

fn ask(dump: &Dump) {
    let memory = &*dump.memory;
    let ranges = memory.ranges().expect("ranges come from the file");
    for range in &ranges {
        assert!(range.start < range.end);
        for at in [range.start.0, range.end.0.wrapping_sub(8), range.start.0.wrapping_sub(4)] {
            let mut once = [1; 8];
            let mut again = [2; 8];
            let same = memory.read(GuestPhysical(at), &mut once).is_ok();
            assert_eq!(same, memory.read(GuestPhysical(at), &mut again).is_ok());
            assert!(!same || once == again);
        }
    }
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
    let resident = memory.resident().expect("so do these");
    assert!(resident.windows(2).all(|pair| pair[0].end <= pair[1].start));
    for range in resident.iter().take(64) {
        assert!(ranges.iter().any(|all| all.start <= range.start && range.end <= all.end));
        let mut page = [0; 4096];
        let _ = memory.read(range.start, &mut page);
        let _ = memory.window(GuestPhysical(range.start.0 & !7), 64).map(|window| window.load(7));
    }
    let bytes: u64 = resident.iter().map(|range| range.end.0 - range.start.0).sum();
    if bytes < 16 << 20 {
        let _ = find_region(&dump.memory, None).map(|found| found.is_ok());
    }
    for cpu in dump.cpus.iter().take(4) {
        let space = AddressSpace::of(Arc::clone(&dump.memory), cpu);
        let _ = (space.word(cpu.rip), space.translate(GuestVirtual(cpu.rip)).is_ok());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, bytes @ ..] = bytes else { return };
    let (file, raw) = match kind % 5 {
        0 => (bytes.to_vec(), false),
        1 => (assembled(bytes), false),
        2 => (flattened(bytes), false),
        3 => (flattened_pieces(bytes), false),
        _ => (bytes.to_vec(), true),
    };
    let options = OpenOptions { raw, cpus: Vec::new() };
    match open_source(Arc::new(file), Path::new("input"), &options) {
        Ok(dump) => ask(&dump),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
