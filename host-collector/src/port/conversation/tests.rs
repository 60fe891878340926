use std::cell::Cell;

use uniprof_wire::{
    layout::RingKind,
    record::{EventRecord, Record},
    ring::{self, Block, Source, Writer},
    stream::{Account, RingName, Words},
};

use super::*;
use crate::{ledger::Ledger, tables::tests::header};

const RING: RingName = RingName { vcpu: 0, kind: RingKind::Events };

fn at(ms: u64) -> HostTime {
    HostTime { monotonic_ns: ms * MS, realtime_ns: ms * MS }
}

/// A guest with one vCPU that is played here: its rings, its cursors, and what it says about them.
struct Guest {
    header: RegionHeader,
    words: Vec<Cell<u64>>,
    cursors: [u64; 2],
    epoch: u32,
    number: u64,
}

impl Guest {
    fn new(boot_id: u64) -> Self {
        let header = RegionHeader { boot_id, ..header(0, 1, 16 << 10) };
        let words = vec![Cell::new(0); header.geometry.region_bytes() / 8];
        for (word, value) in words.iter().zip(header.to_words()) {
            word.set(value);
        }
        let guest = Self { header, words, cursors: [0; 2], epoch: 0, number: 0 };
        RingKind::ALL.iter().for_each(|kind| guest.writer(*kind).format());
        guest
    }

    fn ring(&self, kind: RingKind) -> &[Cell<u64>] {
        &self.words[self.header.geometry.ring_offset(0, kind) / 8..]
    }

    fn writer(&self, kind: RingKind) -> Writer<&[Cell<u64>]> {
        Writer::new(self.ring(kind), self.header.geometry.ring(), self.header.salt())
    }

    /// Events with rising numbers.
    fn emit(&mut self, count: u64) {
        for _ in 0..count {
            let event = EventRecord { tsc: self.number, site: 0, thread: 1, args: &[self.number] };
            self.writer(RingKind::Events).write_record(&Record::Event(event)).unwrap();
            self.number += 1;
        }
    }

    fn encode(&self, frame: &Frame<'_>) -> Vec<u8> {
        let mut out = vec![0; 64 << 10];
        frame.encode(self.epoch, &mut out).unwrap().iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn region(&self) -> Vec<u8> {
        let words =
            self.words[..self.header.geometry.tables_bytes() / 8].iter().map(Cell::get).collect::<Vec<_>>();
        self.encode(&Frame::Region { at: 0, words: Words::Native(&words) })
    }

    fn counters(&self, kind: RingKind, account: Account) -> Vec<u8> {
        let geometry = self.header.geometry.ring();
        let mut slots = vec![0; geometry.slots() * CLASSES];
        let counters = ring::read_counters(&self.ring(kind), geometry, Source::Live, 1, &mut slots).unwrap();
        let ring = RingName { vcpu: 0, kind };
        let from = self.cursors[kind as usize];
        let counted = Some((counters.head, counters.refused, Words::Native(&slots)));
        self.encode(&Frame::Counters { ring, from, account, counted })
    }

    /// The next frame of the events ring.
    fn block(&mut self) -> Option<Vec<u8>> {
        let geometry = self.header.geometry.ring();
        let mut words = vec![0; geometry.sub_buffer_words()];
        let from = self.cursors[1];
        let mut position = from;
        loop {
            match ring::read_block(&self.ring(RingKind::Events), geometry, Source::Live, position, &mut words)
            {
                Block::Overrun { resume } => position = resume,
                Block::Copied { start, end, sealed } => {
                    self.cursors[1] = end;
                    let words = Words::Native(&words[..(end - start) as usize]);
                    return Some(self.encode(&Frame::Block { ring: RING, from, start, sealed, words }));
                }
                _ => return None,
            }
        }
    }

    fn blocks(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.block()).collect()
    }

    /// What the host has said, taken to heart.
    fn hear(&mut self, host: &mut Conversation) -> Vec<String> {
        let mut decoder = Decoder::new(vec![0; 64 << 10]);
        decoder.push(&std::mem::take(host.out()));
        let mut heard = Vec::new();
        loop {
            match decoder.next() {
                Decoded::NeedMore => return heard,
                Decoded::Malformed { .. } => panic!("the host talks rubbish"),
                Decoded::Frame { epoch, frame } => {
                    self.epoch = epoch;
                    match frame {
                        Frame::Attach { begin: Begin::Boot, .. } => self.cursors = [0; 2],
                        Frame::Attach { begin: Begin::Now, .. } => {
                            let head = |kind| {
                                ring::read_counters(
                                    &self.ring(kind),
                                    self.header.geometry.ring(),
                                    Source::Live,
                                    1,
                                    &mut vec![0; 4096],
                                )
                                .unwrap()
                                .head
                            };
                            self.cursors = RingKind::ALL.map(head);
                        }
                        Frame::Seek { ring, position } => self.cursors[ring.kind as usize] = position,
                        _ => {}
                    }
                    heard.push(format!("{:?}", frame.kind()));
                }
            }
        }
    }
}

/// A host that keeps what it is told.
struct Host {
    conversation: Conversation,
    ledger: Ledger,
    numbers: Vec<u64>,
    messages: Vec<Message<'static>>,
    ms: u64,
}

impl Host {
    fn new(begin: Begin) -> Self {
        let mut conversation = Conversation::new(begin, 7);
        conversation.connected(at(1000));
        Self { conversation, ledger: Ledger::new(), numbers: Vec::new(), messages: Vec::new(), ms: 1000 }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut messages = Vec::new();
        self.conversation.hear(bytes, at(self.ms), &mut |message| messages.push(message), &mut |_| {});
        for message in messages {
            self.ledger.feed(&message, |_, record| {
                if let Record::Event(event) = record {
                    self.numbers.extend(event.args);
                }
            });
            self.messages.push(message);
        }
    }

    fn wait(&mut self, ms: u64) {
        self.ms += ms;
        self.conversation.tick(at(self.ms), true);
    }

    /// Everything that there is, over a good line, and the account is closed.
    fn close(&mut self, guest: &mut Guest) {
        self.conversation.finish();
        for _ in 0..20 {
            self.wait(300);
            guest.hear(&mut self.conversation);
            for kind in RingKind::ALL {
                let counters = guest.counters(kind, Account::Closes);
                self.hear(&counters);
            }
            guest.hear(&mut self.conversation);
            for block in guest.blocks() {
                self.hear(&block);
            }
            let region = guest.region();
            self.hear(&region);
            if self.conversation.is_finished() {
                return;
            }
        }
        panic!("the account is not closed: {:?}", self.conversation);
    }

    fn attached(begin: Begin, guest: &mut Guest) -> Self {
        let mut host = Self::new(begin);
        guest.hear(&mut host.conversation);
        let region = guest.region();
        host.hear(&region);
        if begin == Begin::Now {
            for kind in RingKind::ALL {
                let counters = guest.counters(kind, Account::Opens);
                host.hear(&counters);
            }
        }
        host
    }
}

#[test]
fn from_the_boot_on_everything_comes_and_the_account_is_closed() {
    let mut guest = Guest::new(1);
    guest.emit(20);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    for block in guest.blocks() {
        host.hear(&block);
    }
    guest.emit(30);
    host.close(&mut guest);
    assert_eq!(host.numbers, (0..50).collect::<Vec<_>>());
    assert_eq!((host.ledger.total().emitted(), host.ledger.total().lost()), (50, 0));
    assert_eq!(host.ledger.unsettled().count(), 0);
    assert_eq!(host.conversation.troubles, Troubles::default());
}

#[test]
fn from_now_on_only_what_is_new_comes() {
    let mut guest = Guest::new(1);
    guest.emit(20);
    let mut host = Host::attached(Begin::Now, &mut guest);
    guest.emit(5);
    host.close(&mut guest);
    assert_eq!(host.numbers, (20..25).collect::<Vec<_>>());
    assert_eq!(host.ledger.total().emitted(), 5);
}

/// Every third frame is garbled, cut in half, or lost, with rubbish in between: what the guest still has comes all the same.
#[test]
fn a_bad_line_costs_nothing_that_the_guest_still_has() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    for turn in 0..60_u32 {
        guest.emit(3);
        let Some(mut block) = guest.block() else { continue };
        match turn % 6 {
            0 => block[30] ^= 4,
            1 => block.truncate(block.len() / 2),
            2 => block.clear(),
            3 => block.splice(0..0, [0xf7, b'u', b'p', 0x1e, 1, 2, 3]).for_each(drop),
            _ => {}
        }
        host.hear(&block);
        host.wait(250);
        guest.hear(&mut host.conversation);
    }
    host.close(&mut guest);
    assert_eq!(host.numbers, (0..180).collect::<Vec<_>>());
    assert_eq!((host.ledger.total().emitted(), host.ledger.total().lost()), (180, 0));
    assert!(host.conversation.troubles.garbage_bytes > 0 && host.conversation.troubles.asked_again > 0);
}

#[test]
fn what_was_overwritten_meanwhile_is_lost_and_counted_exactly() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    guest.emit(10);
    // Lost on the line, and then overwritten.
    guest.blocks();
    guest.emit(3000);
    for block in guest.blocks() {
        host.hear(&block);
    }
    guest.hear(&mut host.conversation);
    host.close(&mut guest);
    let total = host.ledger.total();
    assert_eq!((total.emitted(), total.received), (3010, host.numbers.len() as u64));
    assert!(total.overwritten > 2000 && total.inconsistent == 0, "{total:?}");
    assert!(host.numbers.is_sorted(), "nothing twice, nothing out of order");
}

#[test]
fn what_comes_again_is_taken_once_and_what_lies_behind_it_is_taken() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    guest.emit(5);
    let first = guest.block().unwrap();
    host.hear(&first);
    host.hear(&first);
    // The cursor was put back by a host that asked too early.
    guest.cursors[1] = 0;
    guest.emit(5);
    let both = guest.block().unwrap();
    host.hear(&both);
    assert_eq!(host.numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(host.conversation.troubles.asked_again, 0);
}

#[test]
fn a_host_that_comes_back_goes_on_where_it_was() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    guest.emit(10);
    let block = guest.block().unwrap();
    host.hear(&block);
    guest.emit(10);
    let lost = guest.block().unwrap();
    host.hear(&lost[..lost.len() / 2]);
    host.ms += 5000;
    host.conversation.connected(at(host.ms));
    let said = guest.hear(&mut host.conversation);
    assert_eq!(said, ["Attach", "Seek", "Seek", "Want"]);
    // A frame of before that was still under way.
    let late = Guest { epoch: 3, ..Guest::new(1) }.region();
    host.hear(&late);
    let region = guest.region();
    host.hear(&region);
    host.close(&mut guest);
    assert_eq!(host.numbers, (0..20).collect::<Vec<_>>());
    assert_eq!(host.conversation.troubles.reconnected, 1);
}

#[test]
fn a_guest_that_was_restarted_is_another_session_read_from_its_boot() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Now, &mut guest);
    guest.emit(4);
    for block in guest.blocks() {
        host.hear(&block);
    }
    let mut next = Guest::new(2);
    next.emit(6);
    host.wait(SILENCE / MS + 500);
    assert!(next.hear(&mut host.conversation).contains(&"Attach".into()));
    let region = next.region();
    host.hear(&region);
    next.hear(&mut host.conversation);
    host.close(&mut next);
    assert_eq!(host.numbers, [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]);
    assert_eq!(host.ledger.restarts(), 1);
    assert_eq!(host.messages.last().unwrap().session, 1);
}

#[test]
fn requests_are_renewed_and_withdrawn_and_the_clock_is_asked() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    host.conversation.request(ControlRequest {
        owner: 9,
        lease_ms: 2000,
        rate: 5,
        ..ControlRequest::default()
    });
    assert_eq!(guest.hear(&mut host.conversation), ["Request"]);
    host.wait(300);
    let said = guest.hear(&mut host.conversation);
    assert!(said.contains(&"Request".into()) && said.contains(&"Ping".into()), "{said:?}");
    let token = host.conversation.tokens;
    host.ms += 7;
    let pong = guest.encode(&Frame::Pong { token, tsc: 1234 });
    host.hear(&pong);
    let Body::Clock(pair) = host.messages.last().unwrap().body else { panic!("a clock pair") };
    assert_eq!(pair, ClockPair { tsc: 1234, uncertainty_ns: 7 * MS });
    host.conversation.withdraw(9);
    assert_eq!(guest.hear(&mut host.conversation), ["Request"]);
    host.wait(300);
    assert!(!guest.hear(&mut host.conversation).contains(&"Request".into()));
}

#[test]
fn a_guest_that_lies_is_not_believed() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Boot, &mut guest);
    let words = vec![0; 5000];
    let sealed = Some([u64::MAX; CLASSES]);
    for (vcpu, from, start, sealed, len) in [
        (0, 0, 0, None, 5000),
        (0, 0, 1, sealed, 3),
        (0, 0, u64::MAX - 2, None, 2),
        (9, 0, 0, None, 2),
        (0, 5, 3, None, 2),
        (0, 0, 0, None, 0),
    ] {
        let words = Words::Native(&words[..len]);
        let ring = RingName { vcpu, ..RING };
        let block = guest.encode(&Frame::Block { ring, from, start, sealed, words });
        host.hear(&block);
    }
    for (head, slots) in [(u64::MAX, 64), (10, 16), (10, 0)] {
        let counted = Some((head, [0; CLASSES], Words::Native(&words[..slots])));
        let counters =
            guest.encode(&Frame::Counters { ring: RING, from: 0, account: Account::Closes, counted });
        host.hear(&counters);
    }
    let other = guest.encode(&Frame::Region { at: 0, words: Words::Native(&words[..40]) });
    host.hear(&other);
    assert_eq!(host.messages.len(), 1, "the region, and nothing else");
    guest.emit(2);
    host.close(&mut guest);
    assert_eq!(host.numbers, [0, 1]);
}

/// Pieces of the histograms: one that is lost makes the host ask for all of them, and the end waits for what was last.
#[test]
fn histograms_come_in_pieces_and_the_end_waits_for_the_last() {
    let mut guest = Guest::new(1);
    let geometry = guest.header.geometry.with_histograms(1).unwrap();
    guest.header.geometry = geometry;
    guest.words = vec![Cell::new(0); geometry.region_bytes() / 8];
    guest.words.iter().zip(guest.header.to_words()).for_each(|(word, value)| word.set(value));
    RingKind::ALL.iter().for_each(|kind| guest.writer(*kind).format());
    let mut host = Host::attached(Begin::Boot, &mut guest);
    let total = (geometry.histogram_bytes() / 8) as u64;
    let piece = |guest: &Guest, all, number, first, words: &[u64]| {
        let words = Words::Native(words);
        guest.encode(&Frame::Piece { area: Area::Histograms, all, number, first, total, words })
    };
    let counts = |host: &Host| -> Vec<Option<u64>> {
        let histograms = host.messages.iter().filter_map(|message| match &message.body {
            Body::Histograms(words) => Some(crate::histograms::Histograms::from_words(words)),
            _ => None,
        });
        histograms.map(|all| all.get(40).map(|histogram| histogram.count)).collect()
    };
    for bytes in [piece(&guest, true, 0, 0, &[41, 3, 9, 3]), piece(&guest, true, 1, total, &[])] {
        host.hear(&bytes);
    }
    assert_eq!(counts(&host), [None, Some(3)]);
    // One of two pieces is lost.
    for bytes in [piece(&guest, false, 1, 0, &[41, 5, 15, 3]), piece(&guest, false, 2, total, &[])] {
        host.hear(&bytes);
    }
    assert_eq!(counts(&host), [None, Some(3)]);
    host.conversation.finish();
    host.wait(300);
    guest.hear(&mut host.conversation);
    let closing = RingKind::ALL.map(|kind| guest.counters(kind, Account::Closes));
    closing.iter().for_each(|bytes| host.hear(bytes));
    let region = guest.region();
    host.hear(&region);
    assert!(!host.conversation.is_finished(), "the histograms are not whole");
    for bytes in [piece(&guest, true, 0, 0, &[41, 5, 15, 3]), piece(&guest, true, 1, total, &[])] {
        host.hear(&bytes);
    }
    assert_eq!(counts(&host), [None, Some(3), Some(5)]);
    assert!(host.conversation.is_finished());
}

/// Tables are of after a request only if they come behind the answer to a ping that was sent behind it.
#[test]
fn a_look_is_answered_by_tables_that_were_made_after_it() {
    let mut guest = Guest::new(1);
    let mut host = Host::attached(Begin::Now, &mut guest);
    let look = host.conversation.look(at(host.ms));
    let region = guest.region();
    host.hear(&region);
    assert!(host.conversation.seen(look).is_none(), "they may have been under way");
    let pong = guest.encode(&Frame::Pong { token: look, tsc: 9 });
    host.hear(&pong);
    assert!(host.conversation.seen(look).is_none());
    host.hear(&region);
    assert!(host.conversation.seen(look).is_some());
}
