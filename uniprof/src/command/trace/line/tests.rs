use uniprof_events::{Site, SiteArg};
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::net::{ConnectionState, Direction, Endpoints, Protocol, Verdict};
use uniprof_wire::record::{
    CallRecord, Callers, ConnectionRecord, CounterRecord, EventRecord, InterruptRecord, LockHoldRecord,
    LockKind, LockWaitRecord, LogRecord, PacketRecord, ParkRecord, Record, ResumeRecord, SpanEndRecord,
    SwitchReason, SwitchRecord, Text, WakeRecord,
};
use uniprof_wire::site::{ArgType, SiteKind};
use uniprof_wire::tables::WaitKind;

use super::*;
use crate::sites::Sites;

fn site(id: u32, kind: SiteKind, name: &str, args: &[(&str, ArgType)]) -> Site {
    let args = args.iter().map(|(name, ty)| SiteArg { name: (*name).into(), ty: *ty }).collect();
    let name = name.into();
    Site { id, kind, name, file: "kv.rs".into(), line: 7, enabled: true, slot: None, args }
}

fn sites() -> Sites {
    [
        site(16, SiteKind::Event, "kv.get", &[("key", ArgType::Unsigned)]),
        site(
            24,
            SiteKind::Call,
            "fs.read",
            &[("fd", ArgType::Unsigned), ("path", ArgType::Text), ("result", ArgType::Signed)],
        ),
        site(32, SiteKind::Gauge, "load", &[("value", ArgType::Float)]),
    ]
    .into_iter()
    .collect()
}

fn guest() -> Guest {
    let threads = [(3, "kv-0\u{1b}[2J".to_owned()), (4, "main".to_owned())].into();
    Guest { tsc_hz: 1_000_000, threads, ..Guest::default() }
}

fn event(record: &Record<'_>) -> Event {
    Event::new(1, record, &sites()).unwrap()
}

/// What stands behind time, vCPU and thread.
fn told(record: &Record<'_>) -> String {
    let line = plain(&event(record), &guest());
    line.split_once("vcpu1  ").unwrap().1.split_once("  ").unwrap().1.trim_start().to_owned()
}

#[test]
fn events_are_told_with_names_and_arguments() {
    let event = |site, args| Record::Event(EventRecord { tsc: 1_500_000, site, thread: 4, args });
    assert_eq!(
        plain(&super::tests::event(&event(16, &[12])), &guest()),
        "    1.500000  vcpu1  main          kv.get key=12"
    );
    // A site that is not known, and more arguments than names.
    assert_eq!(told(&event(40, &[1])), "site 40 0=1");
    assert_eq!(told(&event(16, &[1, u64::MAX])), "kv.get key=1 1=0xffffffffffffffff");
    let end = SpanEndRecord { tsc: 1_500_000, site: 16, thread: 4, begin: 1_499_000, begun_on: 4 };
    assert_eq!(told(&Record::SpanEnd(end)), "kv.get ended after 1.00 ms");
    let elsewhere = SpanEndRecord { begun_on: 9, ..end };
    assert_eq!(told(&Record::SpanEnd(elsewhere)), "kv.get ended after 1.00 ms (begun on thread 9)");
    let gauge = CounterRecord { tsc: 0, site: 32, thread: 4, value: 0.5f64.to_bits() };
    assert_eq!(told(&Record::Counter(gauge)), "load = 0.5");
}

#[test]
fn calls_look_like_those_of_strace() {
    let path = u64::from_le_bytes(*b"/etc/mot");
    let args = [7, 9 | 9 << 32, path, u64::from(b'd'), -5i64 as u64];
    let call = |args| Record::Call(CallRecord { tsc: 2_250, site: 24, thread: 4, begin: 2_000, args });
    assert_eq!(told(&call(&args)), "fs.read(fd=7, path=\"/etc/motd\") = -5 <250 us>");
    assert_eq!(told(&call(&args[..4])), "fs.read(fd=7, path=\"/etc/motd\") <250 us>");
    let bare = CallRecord { tsc: 2, site: 48, thread: 4, begin: 1, args: &[] };
    assert_eq!(told(&Record::Call(bare)), "site 48() <1.00 us>");
}

#[test]
fn waits_and_wakes_say_who_whom_and_how_long() {
    let lock = GuestVirtual(0x1000);
    let callers = Callers::NONE;
    let (tsc, thread, reason) = (9_000, 4, SwitchReason::Blocked);
    let park =
        ParkRecord { tsc, thread, reason, wait: WaitKind::Lock, waits_for: lock, waits_on: 9, callers };
    assert_eq!(told(&Record::Park(park)), "waits for a lock of thread 9 at 0x1000");
    let resume = ResumeRecord { tsc, thread, reason, parked: 1_000, woken: 8_000, waker: 9, callers };
    assert_eq!(
        told(&Record::Resume(resume)),
        "runs again after 8.00 ms (blocked, woken by thread 9, ready for 1.00 ms)"
    );
    let wake = WakeRecord { tsc, waker: 4, by_interrupt: true, thread: 9, callers };
    assert_eq!(told(&Record::Wake(wake)), "wakes thread 9 (in an interrupt)");
    let kind = LockKind::Spin;
    let wait = LockWaitRecord { tsc, thread, kind, lock, begin: 8_000, owner: 9, callers };
    assert_eq!(told(&Record::LockWait(wait)), "got lock 0x1000 after 1.00 ms (spin, held by thread 9)");
    let hold = LockHoldRecord { tsc, thread, kind, lock, since: 7_000, callers };
    assert_eq!(told(&Record::LockHold(hold)), "released lock 0x1000, held for 2.00 ms; others waited (spin)");
    let interrupt = InterruptRecord { tsc, thread, vector: 32, begin: 8_999 };
    assert_eq!(told(&Record::Interrupt(interrupt)), "interrupt 32 took 1.00 us");
    let switch = SwitchRecord { tsc, from: 4, to: 9, reason };
    assert_eq!(told(&Record::Switch(switch)), "switch to thread 9 (blocked)");
}

#[test]
fn a_terminal_gets_whole_lines_of_its_width_and_no_escape_sequence() {
    let log = |text: &'static str| {
        let text = Text::Bytes(text.as_bytes());
        event(&Record::Log(LogRecord { tsc: 1, thread: 3, text }))
    };
    let print = |event: &Event| {
        let mut out = Vec::new();
        Printer::new(&mut out, Paint::none(), 60).print(event, &guest(), &Times::default()).unwrap();
        String::from_utf8(out).unwrap()
    };
    let line = print(&log("one two three four five six seven"));
    assert_eq!(line, "    0.000001  vcpu1  kv-0\\u{1b}[2J  log: one two three four…\n");
    assert_eq!(line.trim_end().chars().count(), 60);
    assert!(print(&log("a\u{1b}[2J\nb")).ends_with("log: a\\u{1b}[2J\\nb\n"));
}

#[test]
fn durations_have_three_digits() {
    let told =
        [0, 999, 1_000, 9_994, 9_996, 99_960, 999_499, 999_500, 123_456_789, 999_500_000, 61_000_000_000]
            .map(duration);
    assert_eq!(
        told,
        [
            "0 ns", "999 ns", "1.00 us", "9.99 us", "10.0 us", "100 us", "999 us", "1.00 ms", "123 ms",
            "1.00 s", "61.0 s"
        ]
    );
}

#[test]
fn packets_and_connections_have_one_line_each() {
    // An ARP packet, as far as the Ethernet header and the first words of it.
    let bytes = [[0xff; 6].as_slice(), &[2; 6], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat();
    let packet = |verdict| {
        Record::Packet(PacketRecord {
            tsc: 1,
            thread: 4,
            interface: 0,
            direction: Direction::In,
            verdict,
            original: 60,
            bytes: Text::Bytes(&bytes),
        })
    };
    assert_eq!(told(&packet(Verdict::Accepted)), "packet in 60 bytes: arp");
    assert_eq!(told(&packet(Verdict::Checksum)), "packet in 60 bytes dropped: checksum: arp");
    let change = |new| {
        Record::Connection(ConnectionRecord {
            tsc: 3_000_000,
            thread: 4,
            id: 7,
            protocol: Protocol::Tcp,
            old: ConnectionState::SynReceived,
            new,
            ends: Endpoints {
                local: "10.0.2.15:80".parse().unwrap(),
                remote: "10.0.2.2:40112".parse().unwrap(),
            },
            served_by: 3,
            bytes_in: 20,
            bytes_out: 30,
            opened: 1_000_000,
        })
    };
    assert_eq!(
        told(&change(ConnectionState::Established)),
        "tcp established #7 10.0.2.15:80 - 10.0.2.2:40112 (was syn-received)"
    );
    assert_eq!(
        told(&change(ConnectionState::Closed)),
        "tcp closed #7 10.0.2.15:80 - 10.0.2.2:40112 (was syn-received) after 2.00 s, 20 bytes in, 30 out"
    );
}
