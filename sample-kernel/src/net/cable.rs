//! A machine at the other end of a cable that exists in memory only: for clients that are threads of this kernel, so that neither a device
//! nor the host's pace has a part in what serving costs.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, IpEndpoint};

use super::mailbox::Mailbox;
use super::{Addresses, BELL, PORT};
use crate::virtio::FRAME_BYTES;
use crate::{arch, time};

/// Addresses of the two ends.
pub(super) const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BUFFER_BYTES: usize = 16 << 10;
/// Where a client's port numbers begin.
const FIRST_PORT: u16 = 49_152;

static IN: Mailbox<Vec<u8>> = Mailbox::new();
static OUT: Mailbox<Vec<u8>> = Mailbox::new();

/// This end of the cable.
#[derive(Default)]
pub(super) struct Cable {
    shown: Vec<u8>,
}

impl Cable {
    pub(super) fn has_some(&self) -> bool {
        !IN.is_empty()
    }

    /// The next frame, if there is one.
    pub(super) fn receive(&mut self) -> Option<&[u8]> {
        self.shown = IN.try_take()?;
        Some(&self.shown)
    }
}

/// Sends a frame that `write` fills.
pub(super) fn send<R>(bytes: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut frame = vec![0; bytes];
    let result = write(&mut frame);
    OUT.put(frame);
    result
}

/// The machine at the other end, with one connection to the server.
pub(crate) struct Client {
    end: OtherEnd,
    interface: Interface,
    sockets: SocketSet<'static>,
}

/// Of the cable.
struct OtherEnd {
    next: Option<Vec<u8>>,
}

struct Incoming(Vec<u8>);
struct Outgoing;

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(&self.0)
    }
}

impl TxToken for Outgoing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        let mut frame = vec![0; bytes];
        let result = write(&mut frame);
        IN.put(frame);
        BELL.ring();
        result
    }
}

impl Device for OtherEnd {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing)> {
        Some((Incoming(self.next.take().or_else(|| OUT.try_take())?), Outgoing))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing> {
        Some(Outgoing)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

fn now() -> Instant {
    Instant::from_micros(time::nanoseconds(arch::now()) as i64 / 1000)
}

impl Client {
    /// Connects to the server of those addresses. `None`: it does not let it.
    pub(crate) fn connect(server: Addresses) -> Option<Self> {
        let mut end = OtherEnd { next: None };
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(OTHER)));
        let mut interface = Interface::new(config, &mut end, now());
        let own = neighbour(server);
        interface.update_ip_addrs(|list| {
            // There is room for one.
            let _ = list.push(IpCidr::new(own.into(), server.prefix));
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let remote = IpEndpoint::new(server.own.into(), PORT);
        socket.connect(interface.context(), remote, FIRST_PORT).ok()?;
        let mut sockets = SocketSet::new(Vec::new());
        sockets.add(socket);
        let mut client = Self { end, interface, sockets };
        while client.socket().state() != State::Established {
            client.socket().is_active().then_some(())?;
            client.turn(|socket| socket.state() == State::Established || !socket.is_active());
        }
        Some(client)
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        let (_, socket) = self.sockets.iter_mut().next().expect("the one that was added");
        let smoltcp::socket::Socket::Tcp(socket) = socket;
        socket
    }

    /// Lets the stack send what it has, waits for a frame, and takes it. What it waits for may have come while it sent, and then no frame
    /// would ever come.
    fn turn(&mut self, has_come: impl Fn(&Socket<'static>) -> bool) {
        self.poll();
        if !has_come(self.socket()) {
            self.end.next = OUT.take();
            self.poll();
        }
    }

    fn poll(&mut self) {
        self.interface.poll(now(), &mut self.end, &mut self.sockets);
    }

    /// Sends a request and adds what comes to `answer` until `is_whole` says so. False: the server has closed the connection.
    pub(crate) fn exchange(
        &mut self,
        request: &[u8],
        answer: &mut Vec<u8>,
        is_whole: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let mut rest = request;
        loop {
            let socket = self.socket();
            let sent = socket.send_slice(rest).unwrap_or(0);
            rest = &rest[sent..];
            while socket.can_recv() {
                let taken = socket.recv(|bytes| {
                    answer.extend_from_slice(bytes);
                    (bytes.len(), ())
                });
                if taken.is_err() {
                    return false;
                }
            }
            if is_whole(answer) {
                return true;
            }
            if !socket.may_recv() {
                return false;
            }
            self.turn(|socket| socket.can_recv() || !socket.may_recv());
        }
    }
}

/// Another address of the same network.
fn neighbour(server: Addresses) -> Ipv4Addr {
    Ipv4Addr::from_bits(server.own.to_bits() ^ 1)
}
