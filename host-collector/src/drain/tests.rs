//! A guest is played by a writer over the same file that the collector reads.

use std::sync::atomic::Ordering;

use uniprof_wire::{
    address::{GuestPhysical, GuestVirtual},
    record::Class,
    ring::{HEAD, IN_FLIGHT, WriterWords},
    tables::{HeapCallers, HeapEntry},
};

use super::*;
use crate::{
    lab::{BASE, PlayedGuest},
    ledger::Ledger,
    memory::{IvshmemFile, find_region},
};

fn attach(guest: &PlayedGuest, session: u32) -> Drainer {
    let memory: Arc<dyn GuestMemory> = Arc::new(IvshmemFile::open(guest.file.path()).unwrap());
    let region = find_region(&memory, None).unwrap().unwrap();
    Drainer::attach(memory, region, session).unwrap()
}

/// Feeds a ledger, and keeps the messages for a second reading.
#[derive(Default)]
struct Sink {
    ledger: Ledger,
    messages: Vec<Message<'static>>,
}

impl Sink {
    fn take(&mut self, message: Message<'_>) {
        self.ledger.feed(&message, |_, _| {});
        self.messages.push(message.into_owned());
    }
}

#[test]
fn everything_is_read_and_accounted_for() {
    let guest = PlayedGuest::boot(2);
    let mut drainer = attach(&guest, 0);
    let mut sink = Sink::default();
    drainer.begin(Begin::Boot, &mut |message| sink.take(message)).unwrap();
    for step in 0..40 {
        guest.write(step % 2, 100 * u64::from(step));
        let round = drainer.round(Source::Live, &mut |message| sink.take(message));
        assert!(!round.rebooted);
    }
    let (_, settled) = drainer.finish(Source::Live, &mut |message| sink.take(message)).unwrap();
    assert!(settled);
    let tally = sink.ledger.class(Class::Event);
    assert_eq!(tally.emitted(), guest.written.load(Ordering::Relaxed));
    assert!(tally.overwritten > 0 && tally.received > 1000, "{tally:?}");
    assert_eq!((tally.inconsistent, tally.discarded, tally.abandoned), (0, 0, 0));
    assert_eq!(sink.ledger.unsettled().count(), 0);

    let mut again = Ledger::new();
    let mut events = 0;
    for message in &sink.messages {
        again.feed(message, |_, _| events += 1);
    }
    assert_eq!(again.rings(), sink.ledger.rings());
    assert_eq!(events, tally.received);
}

#[test]
fn a_late_reader_counts_only_what_is_new() {
    let guest = PlayedGuest::boot(1);
    guest.write(0, 5000);
    let mut drainer = attach(&guest, 0);
    let mut sink = Sink::default();
    drainer.begin(Begin::Now, &mut |message| sink.take(message)).unwrap();
    guest.write(0, 20);
    drainer.round(Source::Live, &mut |message| sink.take(message));
    drainer.finish(Source::Dead, &mut |message| sink.take(message)).unwrap();
    let tally = sink.ledger.class(Class::Event);
    assert_eq!((tally.emitted(), tally.received), (20, 20));
}

#[test]
fn histograms_are_told_whenever_they_have_changed() {
    let guest = PlayedGuest::boot(2);
    let mut drainer = attach(&guest, 0);
    let mut told = Vec::new();
    let mut take = |message: Message<'_>| {
        if let Body::Histograms(words) = &message.body {
            let of_site = Histograms::from_words(words).get(40).map(|all| (all.count, all.sum, all.max));
            told.push(of_site);
        }
    };
    drainer.begin(Begin::Boot, &mut take).unwrap();
    guest.count(0, 5);
    guest.count(1, 100);
    drainer.snapshot(&mut take).unwrap();
    drainer.snapshot(&mut take).unwrap();
    guest.count(0, 7);
    drainer.finish(Source::Dead, &mut take).unwrap();
    assert_eq!(told, [None, Some((2, 105, 100)), Some((3, 112, 100))]);
}

#[test]
fn blocks_of_the_heap_are_told_at_both_ends_of_a_recording_that_comes_late() {
    let guest = PlayedGuest::boot(1);
    let callers = HeapCallers::new(&[1, 2]);
    let block = HeapEntry { address: GuestVirtual(0x7000), bytes: 8, weight: 16, tsc: 1, thread: 1, callers };
    guest.allocate(63, &block);
    for (begin, wanted) in [(Begin::Now, vec![1, 2]), (Begin::Boot, vec![2])] {
        let mut drainer = attach(&guest, 0);
        let mut told = Vec::new();
        let mut take = |message: Message<'_>| {
            if let Body::Heap(words) = &message.body {
                told.push(LiveBlocks::from_words(words).entries.len());
            }
        };
        drainer.begin(begin, &mut take).unwrap();
        guest.allocate(0, &HeapEntry { address: GuestVirtual(0x8000), ..block });
        drainer.snapshot(&mut take).unwrap();
        drainer.finish(Source::Dead, &mut take).unwrap();
        assert_eq!(told, wanted, "{begin:?}");
    }
}

#[test]
fn a_new_boot_is_a_new_session() {
    let mut guest = PlayedGuest::boot(1);
    let mut drainer = attach(&guest, 0);
    let mut sink = Sink::default();
    drainer.begin(Begin::Boot, &mut |message| sink.take(message)).unwrap();
    guest.write(0, 10);
    drainer.round(Source::Live, &mut |message| sink.take(message));
    guest.header.boot_id += 1;
    guest.publish();
    guest.write(0, 7);
    let count = sink.messages.len();
    assert!(drainer.round(Source::Live, &mut |message| sink.take(message)).rebooted);
    assert_eq!(sink.messages.len(), count, "nothing of the new boot is taken for the old one's");
    let mut drainer = attach(&guest, 1);
    drainer.begin(Begin::Boot, &mut |message| sink.take(message)).unwrap();
    drainer.finish(Source::Dead, &mut |message| sink.take(message)).unwrap();
    assert_eq!(sink.ledger.class(Class::Event).received, 17);
}

#[test]
fn an_impossible_head_stops_its_ring_and_no_other() {
    let guest = PlayedGuest::boot(1);
    let mut drainer = attach(&guest, 0);
    let mut sink = Sink::default();
    drainer.begin(Begin::Boot, &mut |message| sink.take(message)).unwrap();
    guest.words(0, RingKind::Core).store(HEAD, u64::MAX);
    guest.write(0, 10);
    for _ in 0..3 {
        drainer.round(Source::Live, &mut |message| sink.take(message));
    }
    let strange: Vec<_> = drainer.implausible().collect();
    assert_eq!(strange, [(RingId { vcpu: 0, kind: RingKind::Core }, u64::MAX)]);
    drainer.finish(Source::Dead, &mut |message| sink.take(message)).unwrap();
    assert_eq!(sink.ledger.class(Class::Event).received, 10);
}

#[test]
fn a_guest_that_died_while_writing_is_read_to_its_end() {
    let guest = PlayedGuest::boot(1);
    guest.write(0, 10);
    let words = guest.words(0, RingKind::Events);
    let head = words.load(HEAD);
    words.store(IN_FLIGHT, head);
    words.store(HEAD, head + 8);
    let geometry = guest.header.geometry.ring();
    let busy = uniprof_wire::record::header(
        uniprof_wire::record::Kind::Event,
        false,
        8,
        uniprof_wire::ring::tag(head, guest.header.salt()),
    );
    words.store(geometry.word_of(head), busy);
    let mut drainer = attach(&guest, 0);
    let mut sink = Sink::default();
    drainer.begin(Begin::Boot, &mut |message| sink.take(message)).unwrap();
    let (_, settled) = drainer.finish(Source::Live, &mut |message| sink.take(message)).unwrap();
    assert!(!settled, "a running guest would be about to finish that write");
    drainer.finish(Source::Dead, &mut |message| sink.take(message)).unwrap();
    let tally = sink.ledger.class(Class::Event);
    assert_eq!((tally.received, tally.abandoned, tally.emitted()), (10, 1, 11));
}

#[test]
fn the_pace_follows_the_rings() {
    let round = |fill| Round { fill, ..Round::default() };
    let mut pace = Pace::default();
    for _ in 0..30 {
        pace.after(&round(0));
    }
    assert_eq!(pace.after(&round(0)), PAUSES.1);
    assert_eq!(pace.after(&round(100)), Duration::ZERO);
    assert_eq!(pace.after(&round(20)), PAUSES.0);
}

#[test]
fn regions_are_bounded_by_their_memory() {
    let guest = PlayedGuest::boot(1);
    guest.file.as_file().set_len(4096 * 4).unwrap();
    let memory = IvshmemFile::open(guest.file.path()).unwrap();
    let search = find_region(&memory, None).unwrap().unwrap_err();
    assert_eq!(search.refused[0].0, GuestPhysical(BASE));
}

#[test]
fn what_a_recording_lacks_is_unreadable_not_overwritten() {
    let guest = PlayedGuest::boot(2);
    let mut drainer = attach(&guest, 0);
    let mut sink = Sink::default();
    drainer.begin(Begin::Boot, &mut |message| sink.take(message)).unwrap();
    for step in 0..40 {
        guest.write(step % 2, 70);
        drainer.round(Source::Live, &mut |message| sink.take(message));
    }
    drainer.finish(Source::Live, &mut |message| sink.take(message)).unwrap();
    let whole = sink.ledger.total();
    assert_eq!(whole.lost(), 0);

    let mut ledger = Ledger::new();
    for (index, message) in sink.messages.iter().enumerate() {
        match message.body {
            Body::Block { .. } if index % 4 == 3 => ledger.gap(),
            _ => ledger.feed(message, |_, _| {}),
        }
    }
    let total = ledger.total();
    assert!(total.unreadable > 100, "{total:?}");
    assert_eq!((total.emitted(), total.lost()), (whole.emitted(), total.unreadable), "{total:?}");

    // Where the beginning is missing, what the guest had counted before is not taken for loss.
    let mut late = Ledger::new();
    late.gap();
    late.feed(&sink.messages[0], |_, _| {});
    let half = sink.messages.len() / 2;
    sink.messages[half..].iter().for_each(|message| late.feed(message, |_, _| {}));
    assert_eq!((late.total().lost(), late.total().inconsistent), (0, 0), "{:?}", late.total());
    assert!(late.total().received > 100);

    // A block of a boot whose tables are missing can't be decoded.
    let mut other = sink.messages.iter().find(|m| matches!(m.body, Body::Block { .. })).unwrap().clone();
    other.session += 1;
    late.feed(&other, |_, _| {});
    assert_eq!(late.unplaced(), 1);
}
