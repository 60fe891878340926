//! The network's part of the probes, in a "kernel" that is this process; tables and records are read back as a host would.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use uniprof_probes as probe;
use uniprof_probes::net::{self, Connection, ConnectionState, Direction, Protocol, Verdict};
use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Class, MAX_PACKET_BYTES, Record};
use uniprof_wire::tables::{
    CONNECTION_WORDS, ConnectionEntry, ControlRequest, INTERFACE_WORDS, InterfaceEntry, NET_HEAD_WORDS,
    NET_TOTALS_WORDS, NetTotals, Slot, VcpuStats,
};

mod machine;

use machine::{drain, header, words};

probe::region!(bytes = 1 << 20);

const SLOTS: usize = 64;

fn totals() -> NetTotals {
    NetTotals::from_words(&words(header().geometry.net_table()))
}

fn interface(index: usize) -> Option<InterfaceEntry> {
    let first = NET_TOTALS_WORDS + index * INTERFACE_WORDS;
    InterfaceEntry::from_words(&words(header().geometry.net_table() + first * 8)).entry()
}

fn slot(index: usize) -> Slot<ConnectionEntry> {
    let first = NET_HEAD_WORDS + index * CONNECTION_WORDS;
    ConnectionEntry::from_words(&words(header().geometry.net_table() + first * 8))
}

fn entry(id: u64) -> Option<ConnectionEntry> {
    (0..SLOTS).filter_map(|index| slot(index).entry()).find(|entry| entry.id == id)
}

/// An observer who has not been there before asks for the class, and is heard.
fn ask(owner: u64, packet_bytes: u32) {
    let classes = Class::Net.bit();
    let asked = ControlRequest {
        owner,
        renewals: 1,
        lease_ms: 60_000,
        classes,
        packet_bytes,
        ..ControlRequest::default()
    };
    machine::request(0, &asked);
    machine::pass(100_000);
    probe::poll();
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn open(remote_port: u16) -> Connection {
    let remote = SocketAddr::new([10, 0, 2, 2].into(), remote_port);
    Connection::open(Protocol::Tcp, address("10.0.2.15:80"), remote, ConnectionState::SynReceived)
}

/// One test, because the probes of a process are one.
#[test]
fn the_network_is_told_of() {
    net::packet(0, Direction::In, &[1], Verdict::Accepted);
    assert_eq!(open(1).id(), 0, "nothing is told before init");
    let config = probe::Config {
        name: "test",
        tsc_hz: 1_000_000,
        vcpus: 1,
        ring_bytes: 128 << 10,
        sample_hz: 0,
        classes: 0,
        connections: SLOTS as u32 - 5,
        ..probe::Config::new(region_memory())
    };
    // SAFETY: the static region; left over from an earlier boot.
    unsafe { region_memory().base.write_bytes(0xff, 1 << 20) };
    // SAFETY: the static region.
    assert_eq!(unsafe { probe::init(config) }, probe::Status::On);
    assert_eq!(header().geometry.connections(), SLOTS as u32);
    assert!((0..net::MAX_INTERFACES).all(|index| interface(index).is_none()));
    assert!((0..SLOTS).all(|index| slot(index) == Slot::Empty));

    packets_are_counted_whether_recorded_or_not();
    a_connection_is_in_the_table_until_it_ends();
    a_full_table_counts_what_it_can_not_hold();
    packets_are_kept_up_to_the_length_that_was_asked_for();
    states_are_recorded();
    many_vcpus_at_once();
}

fn packets_are_counted_whether_recorded_or_not() {
    net::interface(1, "eth1", [0x52, 0x54, 0, 1, 2, 3], 1500);
    net::packet(1, Direction::In, &[0; 60], Verdict::Accepted);
    net::packet(1, Direction::In, &[0; 61], Verdict::Checksum);
    net::packet(1, Direction::Out, &[0; 1514], Verdict::Accepted);
    net::packet(net::MAX_INTERFACES as u8, Direction::Out, &[0; 1], Verdict::Accepted);
    net::packet(255, Direction::Out, &[0; 1], Verdict::Accepted);
    let told = interface(1).expect("told of");
    assert_eq!((told.name.as_str(), told.mac, told.mtu), ("eth1", [0x52, 0x54, 0, 1, 2, 3], 1500));
    assert_eq!((told.received.packets(), told.received.dropped(), told.received.bytes), (2, 1, 121));
    assert_eq!(told.received.by_verdict[Verdict::Checksum as usize], 1);
    assert_eq!((told.sent.packets(), told.sent.dropped(), told.sent.bytes), (1, 0, 1514));
    assert!(interface(0).is_none());
    net::ip_interface(0, "tun0", 1400);
    assert_eq!(interface(0).map(|it| (it.link_type, it.mtu)), Some((InterfaceEntry::RAW_IP, 1400)));
    assert_eq!(drain(RingKind::Events, |record| panic!("{record:?}")), 0, "nobody asked for records");
}

fn a_connection_is_in_the_table_until_it_ends() {
    let first = open(40_000);
    let id = first.id();
    assert_ne!(id, 0);
    let told = entry(id).expect("in the table");
    assert_eq!((told.state, told.protocol, told.ended), (ConnectionState::SynReceived, Protocol::Tcp, 0));
    assert_eq!(told.ends.local, address("10.0.2.15:80"));
    assert_eq!(told.ends.remote, address("10.0.2.2:40000"));
    first.state(ConnectionState::Established);
    first.served_by(9);
    first.received(100);
    first.received(20);
    first.sent(5);
    first.queues(70, u32::MAX);
    let told = entry(id).expect("in the table");
    assert_eq!((told.state, told.thread), (ConnectionState::Established, 9));
    assert_eq!((told.bytes_in, told.bytes_out), (120, 5));
    assert_eq!((told.rx_queue, told.tx_queue), (70, u32::MAX));
    assert!(told.active > told.opened);

    let v6 =
        Connection::open(Protocol::Udp, address("[fe80::1]:53"), address("[::]:0"), ConnectionState::Open);
    assert_eq!(entry(v6.id()).map(|told| told.ends.local), Some(address("[fe80::1]:53")));
    drop(v6);
    first.close();
    let told = entry(id).expect("until its slot is needed");
    assert_eq!((told.state, told.rx_queue, told.bytes_in), (ConnectionState::Closed, 0, 120));
    assert!(told.ended != 0);
    assert_eq!((totals().opened, totals().closed, totals().not_shown()), (2, 2, 0));
}

fn a_full_table_counts_what_it_can_not_hold() {
    let before = totals();
    let mut all: Vec<_> = (0..SLOTS as u16).map(|port| open(1000 + port)).collect();
    assert!(all.iter().all(|one| entry(one.id()).is_some()));
    assert_eq!(totals().no_room, before.no_room);
    let too_many: Vec<_> = (0..3).map(open).collect();
    too_many.iter().for_each(|one| {
        one.state(ConnectionState::Established);
        one.received(1);
        assert!(one.id() != 0 && entry(one.id()).is_none());
    });
    assert_eq!(totals().not_shown(), 3);
    drop(too_many);
    assert_eq!(totals().not_shown(), 0);
    // A slot in the middle becomes free, and is found.
    let gone = all.remove(SLOTS / 2).id();
    let late = open(7);
    assert!(entry(late.id()).is_some() && entry(gone).is_none());
    assert_eq!(totals().no_room - before.no_room, 3);
    drop((all, late));
    assert_eq!(totals().opened, totals().closed);
}

fn packets_are_kept_up_to_the_length_that_was_asked_for() {
    let frame: Vec<u8> = (0..3000_u32).map(|n| n as u8).collect();
    for (owner, asked, kept) in
        [(1, 0, 128), (2, 1, 1), (3, 999, 999), (4, 2048, MAX_PACKET_BYTES), (5, u32::MAX, MAX_PACKET_BYTES)]
    {
        ask(owner, asked);
        assert!(probe::recording(Class::Net));
        let stats = VcpuStats::from_words(&words(header().geometry.vcpu_table()));
        assert_eq!(stats.packet_bytes as usize, kept);
        net::packet(1, Direction::Out, &frame, Verdict::QueueFull);
        net::packet(0, Direction::In, &[], Verdict::Accepted);
        let mut seen = vec![];
        drain(RingKind::Events, |record| {
            let Record::Packet(packet) = record else { panic!("{record:?}") };
            assert_eq!(packet.thread, machine::THREAD);
            assert!(packet.bytes.bytes().eq(frame[..packet.bytes.len()].iter().copied()));
            seen.push((
                packet.interface,
                packet.direction,
                packet.verdict,
                packet.original,
                packet.bytes.len(),
            ));
        });
        let out = (1, Direction::Out, Verdict::QueueFull, 3000, kept);
        assert_eq!(seen, [out, (0, Direction::In, Verdict::Accepted, 0, 0)], "{asked} bytes asked for");
    }
}

fn states_are_recorded() {
    let connection = open(50_000);
    let id = connection.id();
    connection.state(ConnectionState::Established);
    connection.state(ConnectionState::Established);
    connection.served_by(3);
    connection.received(10);
    connection.sent(20);
    connection.state(ConnectionState::CloseWait);
    drop(connection);
    let mut seen = vec![];
    drain(RingKind::Events, |record| {
        let Record::Connection(change) = record else { panic!("{record:?}") };
        assert_eq!((change.id, change.ends.remote.port()), (id, 50_000));
        seen.push((change.old, change.new, change.served_by, change.bytes_in, change.bytes_out));
    });
    use ConnectionState::{CloseWait, Closed, Established, SynReceived};
    let wanted = [
        (Closed, SynReceived, 0, 0, 0),
        (SynReceived, Established, 0, 0, 0),
        (Established, CloseWait, 3, 10, 20),
        (CloseWait, Closed, 3, 10, 20),
    ];
    assert_eq!(seen, wanted);
}

/// Connections come and go on several threads, while another reads: what it takes for whole is of one connection. Nobody records meanwhile,
/// because there is one ring.
fn many_vcpus_at_once() {
    machine::request(0, &ControlRequest::default());
    machine::pass(100_000);
    probe::poll();
    assert!(!probe::recording(Class::Net));
    let done = AtomicBool::new(false);
    let before = totals();
    const ROUNDS: u16 = 4000;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u16)
            .map(|writer| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let held: Vec<_> = (0..30).map(|_| open(writer << 12 | round & 0xfff)).collect();
                        for connection in &held {
                            connection.served_by((writer << 12 | round & 0xfff).into());
                            net::packet(2, Direction::In, &[0; 10], Verdict::Accepted);
                        }
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut whole = 0;
            while !done.load(Ordering::Relaxed) {
                for index in 0..SLOTS {
                    let first = slot(index);
                    let sequence = sequence(index);
                    let (Slot::Whole(a), Slot::Whole(b)) = (first, slot(index)) else { continue };
                    // What has ended may be of the steps before this one.
                    let lives = b.ended == 0 && b.thread != 0;
                    if sequence == self::sequence(index) && a.id == b.id && lives {
                        assert_eq!(u32::from(b.ends.remote.port()), b.thread);
                        whole += 1;
                    }
                }
            }
            whole
        });
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("no panic") > 0);
    });
    let opened = 3 * u64::from(ROUNDS) * 30;
    let after = totals();
    assert_eq!((after.opened - before.opened, after.closed - before.closed), (opened, opened));
    assert!(after.no_room > before.no_room, "90 connections and 64 slots");
    assert_eq!(after.not_shown(), 0);
    net::interface(2, "eth2", [0; 6], 0);
    let told = interface(2).expect("told of after its packets");
    assert_eq!((told.received.packets(), told.received.bytes), (opened, opened * 10));
    // None was lost: all slots can be had again.
    let all: Vec<_> = (0..SLOTS as u16).map(open).collect();
    assert!(all.iter().all(|one| entry(one.id()).is_some()));
}

fn sequence(index: usize) -> u64 {
    machine::word(header().geometry.net_table() + (NET_HEAD_WORDS + index * CONNECTION_WORDS) * 8)
}
