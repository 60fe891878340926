use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::{HEAP_CLAIMED, HeapCallers, HeapEntry, ThreadState};

use super::*;
use crate::lab::{Guest, thread};

fn block(address: u64, bytes: u64, weight: u64, callers: &[u64]) -> HeapEntry {
    let callers = HeapCallers::new(callers);
    HeapEntry { address: GuestVirtual(address), bytes, weight, tsc: address, thread: 1, callers }
}

/// A guest with these blocks, sampled every 4 KiB.
fn guest(blocks: &[HeapEntry]) -> Guest {
    let mut guest = Guest::with_region();
    guest.cpu(0x1000, 0xb0_0000);
    for (slot, block) in blocks.iter().enumerate() {
        guest.heap(slot, block.address.0, block);
        // What a block holds: its own address, and that of its end.
        guest.memory.write_words(block.address.0, &[block.address.0 + 8]);
    }
    guest.vcpu_word(0, 13, 10_000);
    guest.vcpu_word(1, 15, 4_000);
    guest.vcpu_word(0, 20, 4096);
    guest
}

fn lost(guest: Guest) -> Vec<u64> {
    let heap = census(&mut guest.subject(), &Options::default()).unwrap();
    let leaks = heap.leaks.unwrap();
    assert_eq!(leaks.not_scanned, [""; 0]);
    let mut all: Vec<u64> =
        leaks.sites.iter().flat_map(|site| &site.examples).map(|block| block.address).collect();
    all.sort_unstable();
    all
}

#[test]
fn the_heap_is_told_by_size_and_by_stack_with_what_samples_stand_for() {
    let blocks = [
        block(0xa0_0000, 48, 4800, &[0x10, 0x20]),
        block(0xa0_1000, 50, 5000, &[0x10, 0x20]),
        block(0xa0_2000, 4000, 6000, &[0x30]),
    ];
    let heap =
        census(&mut guest(&blocks).subject(), &Options { most_sites: 1, ..Options::default() }).unwrap();
    assert_eq!((heap.totals.live_bytes, heap.sampled.interval), (6_000, 4096));
    assert_eq!((heap.sampled.blocks, heap.sampled.bytes, heap.sampled.estimated_bytes), (3, 4098, 15_800));
    let sizes: Vec<_> = heap.sizes.iter().map(|class| (class.from_bytes, class.estimated_blocks)).collect();
    assert_eq!(sizes, [(32, 200), (2048, 1)]);
    assert_eq!((heap.sites.len(), heap.other_sites, heap.other_bytes), (1, 1, 6000));
    assert_eq!((heap.sites[0].sampled_blocks, heap.sites[0].estimated_bytes), (2, 9800));
    assert_eq!(heap.sites[0].estimated_blocks, 200);
    assert_eq!(heap.sites[0].frames[1].address, GuestVirtual(0x20));
}

#[test]
fn only_blocks_that_no_word_points_to_are_lost() {
    let blocks: Vec<HeapEntry> = (0..4).map(|index| block(0xa0_0000 + index * 0x100, 64, 64, &[1])).collect();
    let guest = guest(&blocks);
    // To the start, into the middle, and just behind the end.
    guest.memory.write_words(0x90_0000, &[0xa0_0000, 0xa0_0120, 0xa0_0240]);
    let leaks = census(&mut guest.subject(), &Options::default()).unwrap().leaks.unwrap();
    let addresses = |sites: &[Site]| -> Vec<u64> {
        sites.iter().flat_map(|site| &site.examples).map(|block| block.address).collect()
    };
    assert_eq!(addresses(&leaks.sites), [0xa0_0200, 0xa0_0300]);
    assert_eq!(addresses(&leaks.inside_sites), [0xa0_0100]);
}

#[test]
fn page_tables_point_to_no_block() {
    let mut guest = guest(&[block(0x1f_f000, 4096, 4096, &[1])]);
    // The last page of the first 2 MiB stands in the tables, with its flags.
    guest.with_paging(&[]);
    let leaks = census(&mut guest.subject(), &Options::default()).unwrap().leaks.unwrap();
    assert_eq!((leaks.sampled_blocks, leaks.inside_blocks), (1, 0));
}

#[test]
fn a_register_and_another_block_hold_a_block() {
    let blocks: Vec<HeapEntry> = (0..3).map(|index| block(0xa0_0000 + index * 0x100, 64, 64, &[1])).collect();
    let mut guest = guest(&blocks);
    guest.cpus[0].general[3] = Some(0xa0_0000);
    guest.memory.write_words(0xa0_0008, &[0xa0_0100]);
    assert_eq!(lost(guest), [0xa0_0200]);
}

#[test]
fn stacks_that_are_not_in_use_hold_nothing_and_the_others_do() {
    let blocks: Vec<HeapEntry> = (0..2).map(|index| block(0xa0_0000 + index * 0x100, 64, 64, &[1])).collect();
    let mut guest = guest(&blocks);
    let mut sleeper = thread(2, "sleeper", ThreadState::Blocked, 0x80_4000);
    sleeper.saved = [0x1000, 0x80_2000, 0];
    guest.thread(&sleeper);
    guest.memory.write_words(0x80_1000, &[0xa0_0000]);
    guest.memory.write_words(0x80_3000, &[0xa0_0100]);
    assert_eq!(lost(guest), [0xa0_0000]);
}

#[test]
fn torn_entries_are_counted_and_left_out() {
    let guest = guest(&[block(0xa0_0000, 64, 64, &[1])]);
    guest.heap(5, HEAP_CLAIMED, &block(0xa0_1000, 64, 64, &[1]));
    guest.heap(6, 0xa0_3000, &block(0xa0_2000, 64, 64, &[1]));
    let heap = census(&mut guest.subject(), &Options::default()).unwrap();
    assert_eq!((heap.sampled.blocks, heap.sampled.torn), (1, 2));
    assert!(heap.remarks[0].starts_with("2 entries"), "{:?}", heap.remarks);
}

#[test]
fn what_was_not_searched_is_said() {
    let heap = census(
        &mut guest(&[block(0xa0_0000, 64, 64, &[1])]).subject(),
        &Options { most_scanned: 4096, ..Options::default() },
    );
    let leaks = heap.unwrap().leaks.unwrap();
    assert_eq!(leaks.scanned_bytes, 4096);
    assert!(leaks.not_scanned[0].contains("were not searched"), "{leaks:?}");
}

#[test]
fn without_a_watched_heap_it_is_said_why_there_is_nothing() {
    let why = |guest: Guest| census(&mut guest.subject(), &Options::default()).unwrap_err().to_string();
    assert!(why(Guest::with_region()).contains("do not watch its heap"));
    assert!(why(Guest::bare()).contains("no observation region"));
}

#[test]
fn blocks_that_cannot_be_do_no_harm() {
    let blocks = [
        block(u64::MAX, u64::MAX, u64::MAX, &[u64::MAX; 40]),
        block(u64::MAX - 8, 0, u64::MAX, &[]),
        block(8, u64::MAX, u64::MAX, &[0]),
    ];
    let mut guest = Guest::with_region();
    guest.cpu(0, u64::MAX);
    let mut mad = thread(2, "mad", ThreadState::Blocked, 0x80_4000);
    mad.stack = (GuestVirtual(0), GuestVirtual(u64::MAX));
    mad.saved = [1, u64::MAX - 1, 0];
    guest.thread(&mad);
    for (slot, block) in blocks.iter().enumerate() {
        guest.heap(slot, block.address.0, block);
    }
    let heap = census(&mut guest.subject(), &Options::default()).unwrap();
    assert_eq!(heap.sampled.estimated_bytes, u64::MAX);
}
