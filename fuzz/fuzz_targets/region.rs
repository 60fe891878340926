//! A region of any bytes: header, tables, sites, rings and the account of loss.
#![no_main]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use uniprof_collector::accounting::{RingAccount, RingBlock};
use uniprof_collector::network::Network;
use uniprof_wire::layout::{HEADER_WORDS, RegionHeader};
use uniprof_wire::record::{CLASSES, Records};
use uniprof_wire::ring::{self, Block, RingGeometry, Source, read_block, read_counters};
use uniprof_wire::tables::{
    ConnectionEntry, ControlRequest, CrashRecord, HeapEntry, ImageEntry, InterfaceEntry, NetTotals,
    ThreadEntry, VcpuStats,
};
use uniprof_wire::{site, tables};

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    std::array::from_fn(|i| {
        let mut word = [0; 8];
        let tail = bytes.get(i * 8..).unwrap_or_default();
        let n = tail.len().min(8);
        word[..n].copy_from_slice(&tail[..n]);
        u64::from_le_bytes(word)
    })
}

fn tables(bytes: &[u8]) {
    if let Ok(header) = RegionHeader::from_words(&words::<HEADER_WORDS>(bytes), bytes.len() as u64) {
        assert_eq!(RegionHeader::from_words(&header.to_words(), u64::MAX), Ok(header));
    }
    let _ = VcpuStats::from_words(&words(bytes)).own_cost();
    let _ = CrashRecord::from_words(&words::<{ tables::CRASH_WORDS }>(bytes))
        .entry()
        .map(|c| c.message.as_str().len());
    let _ = ThreadEntry::from_words(&words::<{ tables::THREAD_WORDS }>(bytes))
        .entry()
        .map(|t| t.name.as_str().len());
    let _ = ImageEntry::from_words(&words::<{ tables::IMAGE_WORDS }>(bytes))
        .entry()
        .map(|i| i.build_id().is_some());
    let block: [u64; tables::HEAP_WORDS] = words(bytes);
    let _ = HeapEntry::from_words(block[0], &block).entry().map(|b| b.callers.addresses().len());
    let _ = ConnectionEntry::from_words(&words(bytes)).entry().map(|c| c.ends.remote.to_string().len());
    let _ =
        InterfaceEntry::from_words(&words(bytes)).entry().map(|i| (i.name.as_str().len(), i.sent.dropped()));
    let _ = NetTotals::from_words(&words(bytes)).not_shown();
    let all: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let network = Network::from_words(&all);
    assert_eq!(Network::from_words(&network.to_words()), network);
    let _ = ControlRequest::from_words(&words(bytes));
    for site in site::sites(bytes) {
        let _ = (site.name.len(), site.args().count());
    }
}

/// The whole reader over a ring whose every word comes from the input.
fn ring(bytes: &[u8], salt: u32, source: Source) {
    let geometry = RingGeometry::new(256, 32);
    let memory: Vec<Cell<u64>> = (0..geometry.total_words())
        .map(|i| Cell::new(words::<1>(bytes.get(i * 8..).unwrap_or_default())[0]))
        .collect();
    // Most inputs would die at the first tag; the tag of every position that fits is put right.
    for word in 0..256 {
        let cell = &memory[geometry.data() + word];
        if cell.get() >> 32 == 0x7a67 {
            let tag = ring::tag(word as u64, salt);
            cell.set(cell.get() & 0xffff_ffff | u64::from(tag) << 32);
        }
    }
    let mut account = RingAccount::from_boot(geometry, salt);
    let mut out = [0; 32];
    let mut position = 0;
    for _ in 0..64 {
        match read_block(&&memory[..], geometry, source, position, &mut out) {
            Block::Copied { start, end, sealed } => {
                assert!(end > start && end - start <= 32);
                let words = &out[..(end - start) as usize];
                let consumed: usize = Records::new(words, start, salt).map(|f| f.words).sum();
                assert!(consumed <= words.len());
                account.block(RingBlock { start, words, sealed }, |_| {});
                position = end;
            }
            Block::Overrun { resume } => {
                assert!(resume > position);
                position = resume;
            }
            Block::Empty | Block::ImplausibleHead { .. } => break,
        }
    }
    let mut slots = vec![0; geometry.slots() * CLASSES];
    if let Some(counters) = read_counters(&&memory[..], geometry, source, 2, &mut slots) {
        account.settle(&counters, &slots);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [selector, bytes @ ..] = bytes else { return };
    match selector % 3 {
        0 => tables(bytes),
        1 => ring(bytes, u32::from(*selector), Source::Live),
        _ => ring(bytes, u32::from(*selector), Source::Dead),
    }
});
