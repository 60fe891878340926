//! Encode and decode are inverses, for every kind of record and across sub-buffer boundaries.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::net::{ConnectionState, Direction, Endpoints, Protocol, Verdict};
use uniprof_wire::record::{
    AllocationRecord, CallRecord, Callers, ConnectionRecord, CounterRecord, EventRecord, FreeRecord,
    InterruptRecord, LockHoldRecord, LockKind, LockWaitRecord, LogRecord, MAX_ARG_WORDS, MAX_FRAMES,
    MAX_LOG_BYTES, MAX_NAME_BYTES, PacketRecord, ParkRecord, Record, Records, Registers, ResumeRecord,
    SampleRecord, SnapshotRecord, SpanEndRecord, SwitchReason, SwitchRecord, Text, ThreadAction,
    ThreadRecord, WakeRecord, WalkEnd,
};
use uniprof_wire::ring::{self, Block, RingGeometry, Source, Writer};
use uniprof_wire::tables::WaitKind;

/// A record that owns what the borrowed form points to.
#[derive(Clone, Debug)]
struct Owned {
    kind: u8,
    tsc: u64,
    thread: u32,
    number: u32,
    words: Vec<u64>,
    more: Vec<u64>,
    text: Vec<u8>,
    small: u8,
}

impl Owned {
    fn registers(&self) -> Registers {
        let word = |i| self.more.get(i).copied().unwrap_or(self.tsc ^ i as u64);
        let [rip, rsp, rbp, rbx, r12, r13, r14, r15] = std::array::from_fn(word);
        Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 }
    }

    fn end(&self) -> WalkEnd {
        [WalkEnd::Root, WalkEnd::OutsideStack, WalkEnd::NotRising, WalkEnd::Depth]
            [usize::from(self.small % 4)]
    }

    fn callers(&self) -> Callers<'_> {
        Callers { end: self.end(), frames: &self.words }
    }

    fn begun_on(&self) -> u32 {
        if self.small.is_multiple_of(2) { self.thread } else { !self.thread }
    }

    fn packet(&self) -> PacketRecord<'_> {
        PacketRecord {
            tsc: self.tsc,
            thread: self.thread,
            interface: self.small,
            direction: Direction::ALL[usize::from(self.small % 2)],
            verdict: Verdict::ALL[usize::from(self.small) % Verdict::ALL.len()],
            original: self.number.max(self.text.len() as u32),
            bytes: Text::Bytes(&self.text),
        }
    }

    fn connection(&self) -> ConnectionRecord {
        let state = |number: u8| ConnectionState::ALL[usize::from(number) % ConnectionState::ALL.len()];
        let v4 = |bits: u64| SocketAddr::new(Ipv4Addr::from(bits as u32).into(), (bits >> 32) as u16);
        let v6 = |bits: u64| {
            let address = Ipv6Addr::from(u128::from(bits) * u128::from(self.tsc | 1));
            SocketAddr::new(address.into(), bits as u16)
        };
        let value = self.words.first().copied().unwrap_or(3);
        ConnectionRecord {
            tsc: self.tsc,
            thread: self.thread,
            id: value,
            protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Other][usize::from(self.small % 3)],
            old: state(self.small),
            new: state(self.small.wrapping_mul(7)),
            ends: Endpoints {
                local: if self.small.is_multiple_of(2) { v4(value) } else { v6(value) },
                remote: if self.small.is_multiple_of(3) { v4(!value) } else { v6(!value) },
            },
            served_by: self.number,
            bytes_in: !value,
            bytes_out: value ^ 9,
            opened: value ^ self.tsc,
        }
    }

    fn record(&self) -> Record<'_> {
        let &Self { tsc, thread, .. } = self;
        let site = self.number;
        let value = self.words.first().copied().unwrap_or(3);
        let args = &self.words[..self.words.len().min(MAX_ARG_WORDS)];
        let name = Text::Bytes(&self.text[..self.text.len().min(MAX_NAME_BYTES)]);
        let even = self.small.is_multiple_of(2);
        match self.kind {
            0 => Record::Sample(SampleRecord {
                tsc,
                thread,
                rip: value,
                rsp: !value,
                rbp: value ^ 1,
                weight: value,
                missed: site,
                end: self.end(),
                stack: &self.more,
                frames: &self.words,
            }),
            1 => Record::Event(EventRecord { tsc, site, thread, args }),
            2 => Record::SpanBegin(EventRecord { tsc, site, thread, args }),
            3 => {
                Record::SpanEnd(SpanEndRecord { tsc, site, thread, begin: value, begun_on: self.begun_on() })
            }
            4 => Record::Switch(SwitchRecord { tsc, from: thread, to: site, reason: SwitchReason::Blocked }),
            5 => Record::Counter(CounterRecord { tsc, site, thread, value }),
            6 => Record::Log(LogRecord { tsc, thread, text: Text::Bytes(&self.text) }),
            7 => Record::Snapshot(SnapshotRecord {
                tsc,
                thread,
                registers: self.registers(),
                weight: value,
                missed: site,
                stack_end: !tsc,
                stack: &self.words,
            }),
            8 => Record::Park(ParkRecord {
                tsc,
                thread,
                reason: if even { SwitchReason::Blocked } else { SwitchReason::Sleeping },
                wait: if even { WaitKind::Lock } else { WaitKind::Sleep },
                waits_for: GuestVirtual(value),
                waits_on: site,
                callers: self.callers(),
            }),
            9 => Record::Resume(ResumeRecord {
                tsc,
                thread,
                reason: SwitchReason::Sleeping,
                parked: value,
                woken: !value,
                waker: site,
                callers: if even { Callers::NONE } else { self.callers() },
            }),
            10 => Record::Wake(WakeRecord {
                tsc,
                waker: thread,
                by_interrupt: even,
                thread: site,
                callers: self.callers(),
            }),
            11 => Record::LockWait(LockWaitRecord {
                tsc,
                thread,
                kind: if even { LockKind::Spin } else { LockKind::Blocking },
                lock: GuestVirtual(value),
                begin: !value,
                owner: site,
                callers: self.callers(),
            }),
            12 => Record::LockHold(LockHoldRecord {
                tsc,
                thread,
                kind: LockKind::Blocking,
                lock: GuestVirtual(value),
                since: !value,
                callers: self.callers(),
            }),
            13 => Record::Interrupt(InterruptRecord { tsc, thread, vector: site, begin: value }),
            14 => Record::Allocation(AllocationRecord {
                tsc,
                thread,
                address: GuestVirtual(value),
                bytes: !value,
                weight: value ^ 9,
                callers: self.callers(),
            }),
            15 => Record::Free(FreeRecord {
                tsc,
                thread,
                address: GuestVirtual(value),
                bytes: !value,
                weight: value ^ 9,
            }),
            16 => Record::Call(CallRecord { tsc, site, thread, begin: value, args }),
            17 => Record::Mark(LogRecord { tsc, thread, text: name }),
            18 => Record::Packet(self.packet()),
            19 => Record::Connection(self.connection()),
            _ => Record::Thread(ThreadRecord {
                tsc,
                thread,
                action: if self.small.is_multiple_of(2) {
                    ThreadAction::Started
                } else {
                    ThreadAction::Exited
                },
                entry: GuestVirtual(value),
                stack: (GuestVirtual(tsc), GuestVirtual(!tsc)),
                name,
            }),
        }
    }
}

prop_compose! {
    fn owned()(
        kind in 0u8..21,
        tsc: u64,
        thread: u32,
        number: u32,
        words in vec(any::<u64>(), 0..=MAX_FRAMES),
        more in vec(any::<u64>(), 0..=8),
        text in vec(any::<u8>(), 0..=MAX_LOG_BYTES),
        small: u8,
    ) -> Owned {
        Owned { kind, tsc, thread, number, words, more, text, small }
    }
}

proptest! {
    #[test]
    fn decode_undoes_encode(owned in owned()) {
        let record = owned.record();
        let mut payload = vec![0; record.payload_words()];
        let mut written = 0;
        record.encode(|index, words| {
            assert_eq!(index, written, "words are handed out in order, each once");
            payload[index..index + words.len()].copy_from_slice(words);
            written += words.len();
        });
        prop_assert_eq!(written, payload.len());
        prop_assert_eq!(Record::decode(record.kind(), &payload), Ok(record));
    }

    #[test]
    fn a_ring_gives_back_what_was_written(records in vec(owned(), 1..40), salt: u32) {
        let geometry = RingGeometry::new(16 << 10, 256);
        let memory = vec![Cell::new(0); geometry.total_words()];
        let writer = Writer::new(&memory[..], geometry, salt);
        writer.format();
        records.iter().for_each(|r| writer.write_record(&r.record()).unwrap());
        let (mut position, mut read) = (0, 0);
        let mut out = vec![0; geometry.sub_buffer_words()];
        loop {
            match ring::read_block(&&memory[..], geometry, Source::Live, position, &mut out) {
                Block::Copied { start, end, .. } => {
                    for found in Records::new(&out[..(end - start) as usize], start, salt) {
                        prop_assert_eq!(found.record, Ok(records[read].record()));
                        read += 1;
                    }
                    position = end;
                }
                Block::Empty => break,
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(read, records.len());
    }

    #[test]
    fn any_words_decode_to_something(words in vec(any::<u64>(), 0..64), position in 0..1u64 << 40, salt: u32) {
        let mut moved = 0;
        for found in Records::new(&words, position, salt) {
            prop_assert!(found.words > 0);
            moved += found.words;
        }
        prop_assert!(moved <= words.len());
    }
}
