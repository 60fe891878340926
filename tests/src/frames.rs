//! A network of two: a guest, and a test that puts any frame on the wire.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    HardwareAddress, Icmpv4Packet, IpAddress, IpCidr, IpProtocol, Ipv4Address, Ipv4Packet, TcpPacket,
    TcpSeqNumber,
};

/// QEMU's first network device, unless it is told another.
const GUEST: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const GUEST_ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
/// The well-behaved client. The fuzzer never pretends to be him.
const CLIENT: u8 = 77;
const PATIENCE: Duration = Duration::from_secs(60);
const FRAME: usize = 1514;

/// The wire.
#[derive(Debug)]
pub struct Segment {
    socket: UnixDatagram,
    guest: PathBuf,
    host: PathBuf,
}

impl Segment {
    /// One whose sockets are in that directory.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        let (guest, host) = (dir.join("guest.net"), dir.join("host.net"));
        let socket = UnixDatagram::bind(&host).expect("a socket in a directory of the test's own");
        socket.set_write_timeout(Some(PATIENCE)).expect("a time limit");
        Self { socket, guest, host }
    }

    /// What `--net` takes.
    #[must_use]
    pub fn argument(&self) -> String {
        let (guest, host) = (self.guest.display(), self.host.display());
        format!("dgram,local.type=unix,local.path={guest},remote.type=unix,remote.path={host}")
    }

    /// Waits for as long as the guest takes no frame, but not for ever.
    fn send(&self, frame: &[u8]) {
        if !frame.is_empty() {
            self.socket.set_nonblocking(false).expect("a socket's mode");
            self.socket.send_to(frame, &self.guest).expect("the guest takes frames");
        }
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 4096];
        self.socket.set_nonblocking(true).expect("a socket's mode");
        match self.socket.recv(&mut frame) {
            Ok(bytes) => {
                frame.truncate(bytes);
                Some(frame)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A well-behaved client with a stack of its own; what it sends may be spoilt on the way.
#[derive(Debug)]
pub struct Client<'a> {
    segment: &'a Segment,
    /// Of how many frames one is sent a second time with mistakes.
    spoils: Option<(Rng, u32)>,
}

impl<'a> Client<'a> {
    /// One whose frames arrive as they are.
    #[must_use]
    pub fn new(segment: &'a Segment) -> Self {
        Self { segment, spoils: None }
    }

    /// One of whose frames one in so many is doubled, spoilt.
    #[must_use]
    pub fn spoilt(segment: &'a Segment, seed: u64, one_in: u32) -> Self {
        Self { segment, spoils: Some((Rng::with_seed(seed), one_in)) }
    }

    /// Sends a request over a new connection, and gives what came back until its end.
    pub fn ask(&mut self, request: &[u8], port: u16, patience: Duration) -> Vec<u8> {
        let mut config = Config::new(HardwareAddress::Ethernet(station(CLIENT)));
        config.random_seed = port.into();
        let begin = Instant::now();
        let now = || smoltcp::time::Instant::from_micros(begin.elapsed().as_micros() as i64);
        let mut interface = Interface::new(config, self, now());
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(10, 0, 2, CLIENT), 24)).expect("room for one");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 16 << 10]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(interface.context(), (GUEST_ADDRESS, 80), port).expect("a new socket connects");
        let (mut sent, mut said) = (0, Vec::new());
        while begin.elapsed() < patience {
            interface.poll(now(), self, &mut sockets);
            let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
            if socket.can_send() && sent < request.len() {
                sent += socket.send_slice(&request[sent..]).unwrap_or(0);
            }
            let _ = socket.recv(|bytes| {
                said.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            if !socket.is_active() || (socket.state() == tcp::State::CloseWait && !socket.can_recv()) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.abort();
        interface.poll(now(), self, &mut sockets);
        said
    }
}

/// A frame for the stack to look at.
#[derive(Debug)]
pub struct Incoming(Vec<u8>);

/// Room for one of its own.
#[derive(Debug)]
pub struct Outgoing<'c, 's>(&'c mut Client<'s>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(&self.0)
    }
}

impl TxToken for Outgoing<'_, '_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        let mut frame = vec![0; bytes];
        let result = write(&mut frame);
        if let Some((random, one_in)) = &mut self.0.spoils
            && random.u32(0..*one_in) == 0
        {
            let mut spoilt = frame.clone();
            spoil(&mut spoilt, random);
            if random.bool() {
                mend(&mut spoilt);
            }
            self.0.segment.send(&spoilt);
        }
        self.0.segment.send(&frame);
        result
    }
}

impl<'s> Device for Client<'s> {
    type RxToken<'c>
        = Incoming
    where
        Self: 'c;
    type TxToken<'c>
        = Outgoing<'c, 's>
    where
        Self: 'c;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Incoming, Outgoing<'_, 's>)> {
        let frame = self.segment.receive()?;
        Some((Incoming(frame), Outgoing(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outgoing<'_, 's>> {
        Some(Outgoing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

fn station(host: u8) -> EthernetAddress {
    EthernetAddress([0x02, 0, 0, 0, 0, host])
}

/// Puts frames of every kind on the wire, and answers what it takes to get far: address requests, and the guest's half of handshakes.
#[derive(Debug)]
pub struct Fuzzer<'a> {
    segment: &'a Segment,
    random: Rng,
    /// By the fuzzer's host and port: what the guest expects next, and what it has said so far.
    open: BTreeMap<(u8, u16), (TcpSeqNumber, TcpSeqNumber)>,
}

impl<'a> Fuzzer<'a> {
    /// One that sends the same for the same seed, but for what the guest says.
    #[must_use]
    pub fn new(segment: &'a Segment, seed: u64) -> Self {
        Self { segment, random: Rng::with_seed(seed), open: BTreeMap::new() }
    }

    /// Sends so many frames.
    pub fn run(&mut self, frames: u32) {
        for _ in 0..frames {
            let frame = self.frame();
            self.segment.send(&frame);
            while let Some(frame) = self.segment.receive() {
                self.hear(&frame);
            }
        }
    }

    /// Opens so many connections and never says more.
    pub fn flood(&mut self, connections: u16) {
        for port in 0..connections {
            let mut segment = vec![0; 20];
            let mut tcp = TcpPacket::new_unchecked(&mut segment[..]);
            tcp.set_src_port(1_000 + port);
            tcp.set_dst_port(80);
            tcp.set_header_len(20);
            tcp.set_syn(true);
            tcp.set_window_len(1_000);
            let mut frame = ipv4(9, GUEST_ADDRESS, IpProtocol::Tcp, &segment);
            mend(&mut frame);
            self.segment.send(&frame);
            while let Some(frame) = self.segment.receive() {
                self.answer_address_request(&frame);
            }
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let mut frame = match random.u8(..20) {
            0 => bytes(random, 200),
            1 => {
                let mut frame =
                    ethernet(other_host(random), EthernetProtocol::from(random.u16(..)), &bytes(random, 100));
                frame[..6].copy_from_slice(&[0xff; 6]);
                frame
            }
            2 => self.arp(),
            3 => {
                let host = other_host(random);
                let mut echo = vec![*random.choice(&[8, 0, 3, 13]).unwrap_or(&8), random.u8(..3), 0, 0];
                echo.extend(bytes(random, 1_400));
                ipv4(host, destination(random), IpProtocol::Icmp, &echo)
            }
            4 => ipv4(other_host(random), destination(random), IpProtocol::Udp, &bytes(random, 64)),
            5 => ipv4(
                other_host(random),
                destination(random),
                IpProtocol::from(random.u8(..)),
                &bytes(random, 64),
            ),
            _ => self.tcp(),
        };
        let random = &mut self.random;
        mend(&mut frame);
        if random.u8(..5) == 0 {
            spoil(&mut frame, random);
            if random.bool() {
                mend(&mut frame);
            }
        }
        frame
    }

    fn arp(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let host = other_host(random);
        let repr = ArpRepr::EthernetIpv4 {
            operation: if random.bool() { ArpOperation::Request } else { ArpOperation::Reply },
            source_hardware_addr: station(host),
            source_protocol_addr: Ipv4Address::new(10, 0, 2, host),
            target_hardware_addr: GUEST,
            target_protocol_addr: GUEST_ADDRESS,
        };
        let mut payload = vec![0; repr.buffer_len()];
        repr.emit(&mut ArpPacket::new_unchecked(&mut payload[..]));
        ethernet(host, EthernetProtocol::Arp, &payload)
    }

    fn tcp(&mut self) -> Vec<u8> {
        const TEXT: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        let random = &mut self.random;
        let known = (!self.open.is_empty() && random.u8(..4) > 0).then(|| random.usize(..self.open.len()));
        let known =
            known.and_then(|index| self.open.iter().nth(index)).map(|(key, sequence)| (*key, *sequence));
        let ((host, port), (next, heard)) = known.unwrap_or_else(|| {
            let sequence = TcpSeqNumber(random.i32(..));
            ((other_host(random), random.u16(1..600)), (sequence, TcpSeqNumber(random.i32(..))))
        });
        let options = 4 * random.usize(..11);
        let payload = &TEXT[..random.usize(..TEXT.len())];
        let mut segment = vec![0; 20 + options + payload.len()];
        for byte in &mut segment[20..20 + options] {
            *byte = *random.choice(&[0, 1, 2, 3, 4, 5, 8, 10, 255]).unwrap_or(&0);
        }
        segment[20 + options..].copy_from_slice(payload);
        let mut tcp = TcpPacket::new_unchecked(&mut segment[..]);
        tcp.set_src_port(port);
        tcp.set_dst_port(if random.u8(..10) > 0 { 80 } else { random.u16(..) });
        let away = [0, 0, 0, 1, 5, 4_000, 70_000][random.usize(..7)] as usize;
        tcp.set_seq_number(next + away);
        tcp.set_ack_number(heard + [0, 0, 0, 1, 100][random.usize(..5)] as usize);
        tcp.set_header_len((20 + options) as u8);
        tcp.set_window_len([0, 1, 536, 65_535][random.usize(..4)]);
        let opens = known.is_none() && random.u8(..4) > 0;
        tcp.set_syn(opens || random.u8(..20) == 0);
        tcp.set_ack(!opens && random.u8(..10) > 0);
        tcp.set_psh(random.bool());
        tcp.set_fin(random.u8(..12) == 0);
        tcp.set_rst(random.u8(..30) == 0);
        tcp.set_urg(random.u8(..20) == 0);
        ipv4(host, destination(random), IpProtocol::Tcp, &segment)
    }

    /// Learns from what the guest says.
    fn hear(&mut self, frame: &[u8]) {
        if self.answer_address_request(frame) {
            return;
        }
        let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
            panic!("the guest sent no frame: {frame:?}")
        };
        let Ok(packet) = Ipv4Packet::new_checked(ethernet.payload()) else { return };
        if packet.next_header() != IpProtocol::Tcp {
            return;
        }
        let tcp = TcpPacket::new_checked(packet.payload()).expect("the guest's segments are whole");
        let ends = [packet.src_addr(), packet.dst_addr()].map(IpAddress::Ipv4);
        assert!(
            packet.verify_checksum() && tcp.verify_checksum(&ends[0], &ends[1]),
            "a wrong checksum: {frame:?}"
        );
        let key = (packet.dst_addr().octets()[3], tcp.dst_port());
        if tcp.rst() {
            self.open.remove(&key);
        } else if self.open.len() < 200 || self.open.contains_key(&key) {
            self.open.insert(key, (tcp.ack_number(), tcp.seq_number() + tcp.segment_len()));
        }
    }

    fn answer_address_request(&mut self, frame: &[u8]) -> bool {
        let ethernet =
            EthernetFrame::new_checked(frame).ok().filter(|frame| frame.ethertype() == EthernetProtocol::Arp);
        let arp =
            ethernet.and_then(|frame| ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok());
        let Some(ArpRepr::EthernetIpv4 { operation, target_protocol_addr, .. }) = arp else { return false };
        let host = target_protocol_addr.octets()[3];
        if operation == ArpOperation::Request && host != CLIENT {
            let repr = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: station(host),
                source_protocol_addr: target_protocol_addr,
                target_hardware_addr: GUEST,
                target_protocol_addr: GUEST_ADDRESS,
            };
            let mut payload = vec![0; repr.buffer_len()];
            repr.emit(&mut ArpPacket::new_unchecked(&mut payload[..]));
            self.segment.send(&ethernet_frame(station(host), EthernetProtocol::Arp, &payload));
        }
        true
    }
}

fn other_host(random: &mut Rng) -> u8 {
    // Few, so that they meet again.
    random.u8(3..9)
}

fn destination(random: &mut Rng) -> Ipv4Address {
    match random.u8(..12) {
        0 => Ipv4Address::new(10, 0, 2, 255),
        1 => Ipv4Address::from(random.u32(..)),
        _ => GUEST_ADDRESS,
    }
}

fn bytes(random: &mut Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.usize(..=most)];
    random.fill(&mut bytes);
    bytes
}

fn ethernet(host: u8, protocol: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    ethernet_frame(station(host), protocol, payload)
}

fn ethernet_frame(from: EthernetAddress, protocol: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; EthernetFrame::<&[u8]>::buffer_len(payload.len())];
    let repr = EthernetRepr { src_addr: from, dst_addr: GUEST, ethertype: protocol };
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    repr.emit(&mut ethernet);
    ethernet.payload_mut().copy_from_slice(payload);
    frame
}

fn ipv4(host: u8, to: Ipv4Address, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + payload.len()];
    bytes[20..].copy_from_slice(payload);
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len((20 + payload.len()) as u16);
    packet.set_hop_limit(64);
    packet.set_next_header(protocol);
    packet.set_src_addr(Ipv4Address::new(10, 0, 2, host));
    packet.set_dst_addr(to);
    ethernet(host, EthernetProtocol::Ipv4, &bytes)
}

/// Changes some of it.
fn spoil(frame: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        match random.u8(..4) {
            0 if !frame.is_empty() => frame.truncate(random.usize(..frame.len())),
            1 => frame.extend(bytes(random, 40)),
            // Mostly of the headers.
            _ if frame.len() > 12 => {
                let at = 12 + random.usize(..(frame.len() - 12).min(60));
                frame[at] = random.u8(..);
            }
            _ => {}
        }
    }
    frame.truncate(FRAME);
}

/// Gives it right checksums, as far as it can have any.
fn mend(frame: &mut [u8]) {
    let Ok(mut ethernet) = EthernetFrame::new_checked(frame) else { return };
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return;
    }
    let Ok(mut packet) = Ipv4Packet::new_checked(ethernet.payload_mut()) else { return };
    if usize::from(packet.header_len()) < 20 {
        return;
    }
    packet.fill_checksum();
    let ends = [packet.src_addr(), packet.dst_addr()].map(IpAddress::Ipv4);
    let protocol = packet.next_header();
    let payload = packet.payload_mut();
    match protocol {
        IpProtocol::Tcp if payload.len() >= 20 => {
            TcpPacket::new_unchecked(payload).fill_checksum(&ends[0], &ends[1])
        }
        IpProtocol::Icmp if payload.len() >= 4 => {
            Icmpv4Packet::new_unchecked(payload).fill_checksum();
        }
        _ => {}
    }
}
