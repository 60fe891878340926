//! The stack and its connections.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::Ordering;

use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::socket::tcp::State;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};

use super::classify::{Frame, Peer, classify};
use super::connection::{Connection, End, Want};
use super::counters::{self, COUNTERS};
use super::limits::Limits;
use super::link::{Link, Sender};
use super::wire::{FULL, Wire};
use super::{Addresses, Answer, PORT, WORK};
use crate::arch;
use crate::probes::net::{self, ConnectionState, Protocol, Verdict};
use crate::virtio::FRAME_BYTES;

const ETHERNET_HEADER: u32 = 14;
/// The other end of a socket that listens.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn local(addresses: Addresses) -> SocketAddr {
    SocketAddr::new(addresses.own.into(), PORT)
}

pub(super) struct Stack {
    interface: Interface,
    own: EthernetAddress,
    network: Ipv4Cidr,
    /// For what is no connection's.
    nobody: SocketSet<'static>,
    limits: Limits,
    next: u32,
    connections: BTreeMap<u32, Connection>,
    by_peer: BTreeMap<Peer, u32>,
    /// When each is to be looked after.
    due: BTreeSet<(Instant, u32)>,
    /// Those to which something has happened.
    touched: Vec<u32>,
    /// What is told of the socket that listens.
    _listener: net::Connection,
}

impl Stack {
    pub(super) fn new(link: &mut Link, addresses: Addresses, limits: Limits, now: Instant) -> Self {
        let own = EthernetAddress(link.address());
        counters::interface(own.0, FRAME_BYTES as u32 - ETHERNET_HEADER);
        let mut config = Config::new(HardwareAddress::Ethernet(own));
        config.random_seed = arch::now();
        let mut interface = Interface::new(config, &mut Wire::new(None, &mut link.sender()), now);
        let cidr = Ipv4Cidr::new(addresses.own, addresses.prefix);
        interface.update_ip_addrs(|list| {
            // There is room for one.
            let _ = list.push(IpCidr::Ipv4(cidr));
        });
        if let Some(gateway) = addresses.gateway {
            // There is room for one.
            let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        }
        Self {
            interface,
            own,
            network: cidr,
            nobody: SocketSet::new(Vec::new()),
            limits,
            next: 1,
            connections: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            due: BTreeSet::new(),
            touched: Vec::new(),
            _listener: net::Connection::open(
                Protocol::Tcp,
                local(addresses),
                NOBODY,
                ConnectionState::Listen,
            ),
        }
    }

    /// A frame has come in.
    pub(super) fn receive(&mut self, frame: &[u8], sender: &mut Sender<'_>, now: Instant) {
        let broadcast = self.network.broadcast().unwrap_or(self.network.address());
        let wire = &mut Wire::new(Some(frame), sender);
        match classify(frame, self.own, self.network.address(), broadcast) {
            Frame::Tcp { peer, port, opens } => {
                let id = self.owner(peer, port, opens, now);
                counters::packet_in(
                    frame,
                    match id {
                        Some(_) => Verdict::Accepted,
                        // There is a listener, and no room.
                        None if opens && port == PORT => Verdict::QueueFull,
                        None => Verdict::NoListener,
                    },
                );
                self.segment(id, wire, now);
            }
            Frame::Stack => {
                counters::packet_in(frame, Verdict::Accepted);
                self.interface.poll_ingress_single(now, wire, &mut self.nobody);
            }
            Frame::Dropped(verdict) => counters::packet_in(frame, verdict),
        }
    }

    /// Whose a segment is.
    fn owner(&mut self, peer: Peer, port: u16, opens: bool, now: Instant) -> Option<u32> {
        let known = (port == PORT).then(|| self.by_peer.get(&peer).copied()).flatten();
        match known {
            // The same port again, of a connection that is over.
            Some(id) if opens && self.connections.get(&id).is_some_and(Connection::may_be_replaced) => {
                self.remove(id, &End::Closed);
                self.open(peer, now)
            }
            Some(id) => Some(id),
            None if opens && port == PORT => self.open(peer, now),
            None => None,
        }
    }

    fn segment(&mut self, id: Option<u32>, wire: &mut Wire<'_>, now: Instant) {
        let Some((id, connection)) = id.and_then(|id| Some((id, self.connections.get_mut(&id)?))) else {
            self.interface.poll_ingress_single(now, wire, &mut self.nobody);
            return;
        };
        self.interface.poll_ingress_single(now, wire, &mut connection.sockets);
        if connection.state() == State::Listen {
            // The stack found fault with the segment.
            self.remove(id, &End::Closed);
            return;
        }
        self.touched.push(id);
    }

    /// A new connection, if there is room for one.
    fn open(&mut self, peer: Peer, now: Instant) -> Option<u32> {
        if self.connections.len() >= self.limits.connections {
            let over = self
                .connections
                .iter()
                .find(|(_, connection)| connection.may_be_replaced())
                .map(|(id, _)| *id);
            match over {
                Some(id) => self.remove(id, &End::Closed),
                None => {
                    counters::count(&COUNTERS.refused);
                    return None;
                }
            }
        }
        let id = self.next;
        let connection = Connection::new(id, self.network.address(), peer, now)?;
        self.next = self.next.wrapping_add(1).max(1);
        self.connections.insert(id, connection);
        self.by_peer.insert(peer, id);
        counters::count(&COUNTERS.opened);
        let now_open = self.connections.len() as u64;
        if now_open > COUNTERS.most_at_once.load(Ordering::Relaxed) {
            COUNTERS.most_at_once.store(now_open, Ordering::Relaxed);
        }
        Some(id)
    }

    fn remove(&mut self, id: u32, end: &End) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.by_peer.remove(&connection.peer);
        if let Some(due) = connection.due {
            self.due.remove(&(due, id));
        }
        counters::count(&COUNTERS.closed);
        match end {
            End::Closed => {}
            End::Reset => counters::count(&COUNTERS.reset),
            End::TimedOut => counters::count(&COUNTERS.timed_out),
        }
    }

    /// Somebody has answered.
    pub(super) fn answered(&mut self, answer: Answer, now: Instant) {
        let id = answer.connection;
        // Its client may have gone away meanwhile.
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.answered(answer, now);
            self.touched.push(id);
        }
    }

    /// Looks after everybody to whom something has happened, or whose time has come. When there is more to do.
    pub(super) fn look_after(&mut self, sender: &mut Sender<'_>, now: Instant) -> Option<Instant> {
        while let Some(&(due, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.due = None;
                self.touched.push(id);
            }
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        for id in core::mem::take(&mut self.touched) {
            self.look_after_one(id, sender, now);
        }
        self.due.first().map(|(due, _)| *due)
    }

    fn look_after_one(&mut self, id: u32, sender: &mut Sender<'_>, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let want = connection.look_after(now);
        let mut wire = Wire::new(None, sender);
        // One segment at a time.
        while self.interface.poll_egress(now, &mut wire, &mut connection.sockets)
            == PollResult::SocketStateChanged
        {}
        if let Want::Service(work) = want {
            WORK.put(work);
        } else if let Want::Removal(end) = want {
            self.remove(id, &end);
            return;
        }
        if let Some(due) = connection.due.take() {
            self.due.remove(&(due, id));
        }
        connection.plan(&mut self.interface, now);
        let again = if wire.was_full { now + Duration::from(FULL) } else { now };
        if let Some(due) = connection.due.as_mut() {
            // What the stack would do at once it has just done, or could not.
            *due = (*due).max(again + Duration::from_micros(1));
            self.due.insert((*due, id));
        }
    }

    /// Whether something is still to be sent.
    pub(super) fn is_busy(&self) -> bool {
        self.connections.values().any(Connection::is_busy)
    }

    /// Ends all connections.
    pub(super) fn abort(&mut self, sender: &mut Sender<'_>, now: Instant) {
        for connection in self.connections.values_mut() {
            connection.abort();
            self.interface.poll_egress(now, &mut Wire::new(None, sender), &mut connection.sockets);
        }
    }
}
