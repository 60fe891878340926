//! `uniprof net` and `uniprof pcap` against what the clients know, and against what QEMU saw on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use rustix::process::Signal;
use serde_json::Value;
use uniprof_tests::consumers;
use uniprof_tests::web::WebServer;
use uniprof_tests::{Running, Scene, assert_matches_its_schema};

/// How long a slow machine may take for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOW: &str = "GET /slow?ms=10000 HTTP/1.1\r\nHost: x\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
/// The guest's MAC address, as QEMU gives it to the first card.
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn net(scene: &Scene, words: &[&str]) -> Value {
    let document = scene.run(&[words, &["--json"]].concat()).ok().json();
    assert_matches_its_schema(&document);
    document
}

/// Connections by the port of the client's end.
fn by_port(document: &Value) -> BTreeMap<u16, Value> {
    let connections = document["connections"].as_array().expect("connections");
    let port = |connection: &Value| -> Option<u16> {
        connection["remote"].as_str()?.rsplit_once(':')?.1.parse().ok()
    };
    connections.iter().filter_map(|connection| Some((port(connection)?, connection.clone()))).collect()
}

/// Looks until what is seen is as wanted.
fn until(scene: &Scene, what: &str, wanted: impl Fn(&BTreeMap<u16, Value>) -> bool) -> BTreeMap<u16, Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = by_port(&net(scene, &["net", "web"]));
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < until, "{what}: {seen:#?}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn port(stream: &TcpStream) -> u16 {
    stream.local_addr().expect("it is connected").port()
}

/// Asks, and reads the whole answer; how many bytes it had.
fn ask(stream: &mut TcpStream, request: &str) -> u64 {
    stream.write_all(request.as_bytes()).expect("the server listens");
    let mut answer = Vec::new();
    let is_whole = |answer: &[u8]| {
        let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        length.is_some_and(|length| length.trim().parse() == Ok(body.len()))
    };
    while !is_whole(&answer) {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).expect("the server answers");
        assert_ne!(count, 0, "the server has gone");
        answer.extend_from_slice(&piece[..count]);
    }
    answer.len() as u64
}

fn states(seen: &BTreeMap<u16, Value>) -> BTreeMap<u16, (String, u64, u64, u64)> {
    let number = |value: &Value| value.as_u64().expect("a number");
    let state = |one: &Value| {
        let state = one["state"].as_str().expect("a state").to_owned();
        (state, number(&one["rx_queue"]), number(&one["bytes_in"]), number(&one["bytes_out"]))
    };
    seen.iter().map(|(port, one)| (*port, state(one))).collect()
}

/// The client's own list, exactly: live, from a recording, from a core. Connections that idle, that have something unread because their handler is
/// slow, whose client has ended its half, whose client does not read, and that came and went.
#[test]
fn connections_are_those_that_the_clients_have() {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--vcpus", "2"]);
    let mut idle: Vec<TcpStream> = (0..12).map(|_| server.connect()).collect();
    let answered: Vec<u64> = idle.iter_mut().map(|stream| ask(stream, HEALTH)).collect();
    let recording = start_recording(&scene);
    let gone: BTreeMap<u16, u64> = (0..5)
        .map(|_| {
            let mut stream = server.connect();
            let bytes = ask(&mut stream, HEALTH);
            (port(&stream), bytes)
        })
        .collect();
    // Gone for good: nothing of them is in the table of the living.
    until(&scene, "closed connections", |seen| gone.keys().all(|port| !seen.contains_key(port)));

    let mut slow = server.connect();
    slow.write_all(SLOW.as_bytes()).unwrap();
    let mut half = server.connect();
    half.write_all(SLOW.as_bytes()).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    until(&scene, "work that is done", |seen| {
        [&slow, &half].iter().all(|one| seen.get(&port(one)).is_some_and(|one| !one["thread"].is_null()))
    });
    slow.write_all(HEALTH.repeat(3).as_bytes()).unwrap();
    let unread = 3 * HEALTH.len() as u64;
    let seen = until(&scene, "queues", |seen| {
        seen.get(&port(&slow)).is_some_and(|one| one["rx_queue"] == unread)
            && seen.get(&port(&half)).is_some_and(|one| one["state"] == "close-wait")
    });
    let request = HEALTH.len() as u64;
    let mut wanted: BTreeMap<u16, (String, u64, u64, u64)> = idle
        .iter()
        .zip(&answered)
        .map(|(stream, answer)| (port(stream), ("established".to_owned(), 0, request, *answer)))
        .collect();
    // Bytes count as come in once they have been taken out of the queue.
    wanted.insert(port(&slow), ("established".into(), unread, SLOW.len() as u64, 0));
    wanted.insert(port(&half), ("close-wait".into(), 0, SLOW.len() as u64, 0));
    assert_eq!(states(&seen), wanted);
    let threads: BTreeSet<&str> =
        [&slow, &half].iter().map(|one| seen[&port(one)]["thread_name"].as_str().expect("a name")).collect();
    assert!(threads.len() == 2 && threads.iter().all(|name| name.starts_with("http")), "{threads:?}");

    // Dead and recorded it says the same.
    scene.run(&["dump", "web", "-o", "web.core"]).ok();
    recording.signal(Signal::INT);
    recording.wait(PATIENCE).ok();
    assert_eq!(states(&by_port(&net(&scene, &["core", "net", "web.core"]))), wanted);
    assert_eq!(states(&by_port(&net(&scene, &["net", "web.uniprof"]))), wanted);
    let all = by_port(&net(&scene, &["net", "web.uniprof", "--all"]));
    for (port, bytes) in &gone {
        let one = &all[port];
        assert_eq!((&one["ended"], &one["state"]), (&true.into(), &"closed".into()), "{one}");
        assert_eq!((&one["bytes_in"], &one["bytes_out"]), (&request.into(), &(*bytes).into()), "{one}");
    }
    let listening = net(&scene, &["net", "web", "--listening"]);
    assert_eq!(listening["connections"][0]["local"], "10.0.2.15:80");
    assert_eq!(listening["connections"].as_array().map(Vec::len), Some(1));
    server.stop();
}

/// Started, and in effect.
fn start_recording(scene: &Scene) -> Running {
    let recording = scene.start(&["record", "web", "-e", "+net", "-o", "web.uniprof"]);
    wait_for_class(scene);
    recording
}

/// Until the guest records packets and connections.
fn wait_for_class(scene: &Scene) {
    let until = Instant::now() + PATIENCE;
    loop {
        let told = scene.run(&["ctl", "web", "--json"]).ok().json();
        let classes = told["effect"]["classes"].as_array().expect("classes");
        if classes.iter().any(|class| class == "net") {
            return;
        }
        assert!(Instant::now() < until, "{told}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_a_client_does_not_read_waits_to_be_sent() {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &[]);
    let value = "x".repeat(8 << 10);
    let mut stream = server.connect();
    for key in 0..100 {
        let put = format!("PUT /kv/{key:03} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", value.len());
        ask(&mut stream, &(put + &value));
    }
    // Much more than sockets on the way hold. Whatever the server can't take any more is not written either.
    let mut deaf = server.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let scan = "GET /scan?count=100 HTTP/1.1\r\nHost: x\r\n\r\n";
    let until = Instant::now() + PATIENCE;
    loop {
        let _ = deaf.write(scan.as_bytes());
        let seen = by_port(&net(&scene, &["net", "web"]));
        let one = seen.get(&port(&deaf)).unwrap_or_else(|| panic!("it is gone: {seen:#?}"));
        if one["tx_queue"].as_u64() > Some(0) && one["idle_seconds"].as_f64() > Some(0.5) {
            break;
        }
        assert!(Instant::now() < until, "{one}");
    }
    server.stop();
}

/// A packet: when a length and the first bytes of it are all that counts.
type Packet = (u32, Vec<u8>);

/// Those to the guest, and those from it.
fn apart(packets: Vec<Packet>) -> [Vec<Packet>; 2] {
    let (out, to) = packets.into_iter().partition(|(_, bytes)| bytes.get(6..12) == Some(&MAC));
    [to, out]
}

/// QEMU's capture, as much of each packet as `snaplen` says.
fn dumped(path: &Path, snaplen: usize) -> Vec<Packet> {
    let bytes = fs::read(path).expect("QEMU's capture");
    let mut reader = PcapReader::new(&bytes[..]).expect("a capture");
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.expect("a packet");
        packets.push((packet.orig_len, packet.data[..packet.data.len().min(snaplen)].to_vec()));
    }
    packets
}

/// The file of `uniprof pcap`: its packets, each checked to go the way that its flags say.
fn captured(path: &Path, snaplen: u32) -> Vec<Packet> {
    let bytes = fs::read(path).expect("the capture");
    let mut reader = PcapNgReader::new(&bytes[..]).expect("a pcapng file");
    let (mut packets, mut latest, mut statistics) = (Vec::new(), Duration::ZERO, 0);
    while let Some(block) = reader.next_block() {
        match block.expect("a block") {
            Block::InterfaceDescription(interface) => {
                assert_eq!(interface.snaplen, snaplen);
                let options = &interface.options;
                assert!(options.contains(&InterfaceDescriptionOption::IfName("eth0".into())), "{options:?}");
                assert!(options.contains(&InterfaceDescriptionOption::IfMacAddr(MAC.to_vec().into())));
                assert!(options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
            }
            Block::EnhancedPacket(packet) => {
                let is_out = packet.data.get(6..12) == Some(&MAC);
                let flags = EnhancedPacketOption::Flags(if is_out { 2 } else { 1 });
                assert!(packet.options.contains(&flags), "{packet:?}");
                assert!(packet.timestamp >= latest && packet.data.len() <= snaplen as usize);
                latest = packet.timestamp;
                packets.push((packet.original_len, packet.data.into_owned()));
            }
            Block::InterfaceStatistics(told) => {
                statistics += 1;
                assert!(told.options.contains(&InterfaceStatisticsOption::IsbOsDrop(0)), "{told:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(statistics, 1);
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    assert!(latest < now && now - latest < Duration::from_secs(600), "{latest:?} is no time of today");
    packets
}

/// What QEMU has dumped of the guest's network is what the guest has recorded of it: from when it was asked for packets on, packet for packet,
/// each direction in its order. (The guest records a packet when it is done with it: an answer may stand before it.)
#[test]
fn packets_are_those_on_the_wire() {
    for snaplen in [2048, 96] {
        let scene = Scene::with_guest();
        let dump = scene.path("wire.pcap");
        let filter = format!("filter-dump,id=wire,netdev=net0,file={}", dump.display());
        let qemu = ["--qemu-arg=-object", &format!("--qemu-arg={filter}")];
        let server = WebServer::start(&scene, &[&["--vcpus", "2"][..], &qemu].concat());
        let length = snaplen.to_string();
        let capture = scene.start(&["pcap", "web", "-w", "web.pcapng", "--snaplen", &length]);
        wait_for_class(&scene);
        // Addresses are asked for before anybody connects, the guest may do so at any time before.
        let value = "x".repeat(20_000);
        let mut clients: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
        for (key, client) in clients.iter_mut().enumerate() {
            let put = format!("PUT /kv/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", value.len());
            ask(client, &(put + &value));
            ask(client, "GET /scan?count=10 HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        drop(clients);
        until(&scene, "the end of all connections", BTreeMap::is_empty);
        // What the last packets were is known before the capture is told to end.
        thread::sleep(Duration::from_millis(500));
        capture.signal(Signal::INT);
        let said = capture.wait(PATIENCE).ok().stderr;
        assert!(said.contains(" 0 records of packets and connections lost in the ring"), "{said}");
        let wire = apart(dumped(&dump, snaplen as usize));
        let seen = apart(captured(&scene.path("web.pcapng"), snaplen));
        for (wire, seen) in wire.iter().zip(&seen) {
            assert!(seen.len() > 30 && seen.len() <= wire.len(), "{} of {}", seen.len(), wire.len());
            let (before, after) = wire.split_at(wire.len() - seen.len());
            assert!(seen == after, "packets differ\n{said}");
            // IPv4 begins behind the Ethernet header: what was missed is what announces addresses.
            let is_ip = |(_, bytes): &Packet| bytes.get(12..14) == Some(&[8, 0]);
            assert!(!before.iter().any(is_ip), "{} packets are missing at the beginning", before.len());
        }
        let fields = ["-r", "web.pcapng", "-T", "fields", "-e", "frame.len", "-e", "frame.cap_len"];
        let read = scene.run_command(&mut consumers::system(&scene, "tshark", &fields)).ok().stdout;
        let count: usize = seen.iter().map(Vec::len).sum();
        assert_eq!(read.lines().count(), count);
        let bytes: u64 = seen.iter().flatten().map(|(length, _)| u64::from(*length)).sum();
        let told: u64 = read.lines().filter_map(|line| line.split('\t').next()?.parse::<u64>().ok()).sum();
        assert_eq!(told, bytes);
        server.stop();
    }
}

#[test]
fn a_guest_without_a_network_says_so() {
    let scene = Scene::with_guest();
    let guest = scene.start(&["run", "bundled", "--name", "web", "--", "workload=idle", "seconds=60"]);
    uniprof_tests::web::until_said(&guest, "uniprof-sample-kernel: ");
    let words = ["has no network"];
    scene.run(&["net", "web"]).failed_with(6).says(&words);
    scene.run(&["pcap", "web", "-w", "x.pcapng"]).failed_with(6).says(&words);
    assert!(!scene.path("x.pcapng").exists());
    scene.run(&["net", "sample"]).failed_with(6).says(&["tell of no network"]);
    guest.signal(Signal::INT);
    guest.wait(PATIENCE);
}

/// The table and the packets come over a port as they come out of memory.
#[test]
fn without_shared_memory_it_is_the_same() {
    let scene = Scene::with_guest();
    let server = WebServer::start(&scene, &["--transport", "virtio-serial"]);
    let capture = scene.start(&["pcap", "web", "-w", "web.pcapng"]);
    uniprof_tests::web::until_said(&capture, "eth0: up to 2048 bytes");
    let mut client = server.connect();
    let answer = ask(&mut client, HEALTH);
    let wanted = BTreeMap::from([(port(&client), ("established".into(), 0, HEALTH.len() as u64, answer))]);
    until(&scene, "the connection, with what it has moved", |seen| states(seen) == wanted);
    // Asked over and over, because the capture may have been in effect only after the first time.
    let is_seen = |packets: &[Packet]| {
        let holds = |bytes: &[u8]| bytes.windows(HEALTH.len()).any(|part| part == HEALTH.as_bytes());
        packets.iter().filter(|(_, bytes)| holds(bytes)).count()
    };
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        ask(&mut client, HEALTH);
    }
    thread::sleep(Duration::from_millis(500));
    capture.signal(Signal::INT);
    let said = capture.wait(PATIENCE).ok().stderr;
    assert!(said.contains(" 0 records of packets and connections lost in the ring"), "{said}");
    assert!(is_seen(&captured(&scene.path("web.pcapng"), 2048)) >= 1, "{said}");
    server.stop();
}
