//! The network, as the kernel's stack sees it.

use core::ffi::c_char;
use core::mem::ManuallyDrop;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::slice;

use uniprof_probes::net::{self, Connection as Open, ConnectionState, Direction, Protocol, Verdict};

use crate::text::text_of;

/// Which way a packet goes: into the kernel.
pub const UNIPROF_IN: u8 = 0;
/// Out of it.
pub const UNIPROF_OUT: u8 = 1;

/// What becomes of a packet: it is taken, or sent.
pub const UNIPROF_ACCEPTED: u8 = 0;
/// It is dropped: there is no buffer for it.
pub const UNIPROF_NO_BUFFER: u8 = 1;
/// Its checksum is wrong.
pub const UNIPROF_CHECKSUM: u8 = 2;
/// It is malformed.
pub const UNIPROF_MALFORMED: u8 = 3;
/// Nobody listens there.
pub const UNIPROF_NO_LISTENER: u8 = 4;
/// The queue that it should go to is full.
pub const UNIPROF_QUEUE_FULL: u8 = 5;
/// It is another machine's.
pub const UNIPROF_NOT_FOR_US: u8 = 6;
/// Something else.
pub const UNIPROF_OTHER: u8 = 7;

/// States of a connection: those of TCP (RFC 9293).
pub const UNIPROF_CLOSED: u8 = 0;
/// A socket that waits for connections.
pub const UNIPROF_LISTEN: u8 = 1;
/// A SYN was sent.
pub const UNIPROF_SYN_SENT: u8 = 2;
/// A SYN came, and was answered.
pub const UNIPROF_SYN_RECEIVED: u8 = 3;
/// Established.
pub const UNIPROF_ESTABLISHED: u8 = 4;
/// This side has closed.
pub const UNIPROF_FIN_WAIT_1: u8 = 5;
/// This side has closed, and the other one knows.
pub const UNIPROF_FIN_WAIT_2: u8 = 6;
/// The other side has closed.
pub const UNIPROF_CLOSE_WAIT: u8 = 7;
/// Both have closed, and the other one does not know yet.
pub const UNIPROF_CLOSING: u8 = 8;
/// The other side had closed, and this one has.
pub const UNIPROF_LAST_ACK: u8 = 9;
/// It may still be spoken of.
pub const UNIPROF_TIME_WAIT: u8 = 10;
/// Of protocols without states.
pub const UNIPROF_OPEN: u8 = 11;

/// One end of a connection.
#[repr(C)]
pub struct Endpoint {
    /// In network order: 4 bytes of IPv4, or 16 of IPv6.
    pub address: [u8; 16],
    /// In the processor's own order.
    pub port: u16,
    /// 4 or 6.
    pub version: u8,
}

/// A connection under way. May be moved, and is not to be copied.
#[repr(C)]
pub struct Connection {
    /// Where it is told of; 0: nowhere.
    pub place: u64,
    /// Its number, which no other one has; 0 where nothing is told.
    pub id: u64,
}

impl Endpoint {
    fn socket(&self) -> SocketAddr {
        let [a, b, c, d, ..] = self.address;
        let address = match self.version {
            6 => IpAddr::V6(Ipv6Addr::from(self.address)),
            _ => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        };
        SocketAddr::new(address, self.port)
    }
}

/// Tells of an interface: its number (from 0), name (the first 32 bytes count), MAC address (6 bytes; null where packets begin with an IP
/// header) and MTU.
///
/// # Safety
/// Both pointers are what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_interface(index: u8, name: *const c_char, mac: *const u8, mtu: u32) {
    // SAFETY: the caller vouches for it.
    let (name, mac) = unsafe { (text_of(name), mac.cast::<[u8; 6]>().as_ref()) };
    match mac {
        Some(&mac) => net::interface(index, name, mac, mtu),
        None => net::ip_interface(index, name, mtu),
    }
}

/// Tells of a packet and of what becomes of it, once, when that is known: UNIPROF_IN or UNIPROF_OUT, and UNIPROF_ACCEPTED and so on. Counts
/// it, and records its first bytes if somebody wants that.
///
/// # Safety
/// `packet` is null or points to so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_packet(
    interface: u8,
    direction: u8,
    packet: *const u8,
    bytes: usize,
    verdict: u8,
) {
    // SAFETY: the caller vouches for it.
    let packet = if packet.is_null() { &[] } else { unsafe { slice::from_raw_parts(packet, bytes) } };
    let direction = if direction == UNIPROF_OUT { Direction::Out } else { Direction::In };
    net::packet(interface, direction, packet, Verdict::from_number(verdict).unwrap_or(Verdict::Other));
}

/// Tells of a connection, or of a socket that listens (then `remote` is all 0): its protocol as in IP headers (6 TCP, 17 UDP) and its
/// state, UNIPROF_ESTABLISHED and so on.
///
/// # Safety
/// Both ends are what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_connection_open(
    protocol: u8,
    local: *const Endpoint,
    remote: *const Endpoint,
    state: u8,
) -> Connection {
    // SAFETY: the caller vouches for it.
    let (Some(local), Some(remote)) = (unsafe { (local.as_ref(), remote.as_ref()) }) else {
        return Connection { place: 0, id: 0 };
    };
    let state = ConnectionState::from_number(state).unwrap_or_default();
    let open = Open::open(Protocol::from_number(protocol), local.socket(), remote.socket(), state);
    let [place, id] = open.into_words();
    Connection { place, id }
}

/// Does something with a connection, which goes on.
///
/// # Safety
/// `connection` is null or what `uniprof_connection_open` gave.
unsafe fn with(connection: *const Connection, then: impl FnOnce(&Open)) {
    // SAFETY: the caller vouches for it.
    if let Some(&Connection { place, id }) = unsafe { connection.as_ref() } {
        // SAFETY: as above; it is not dropped, so it does not end.
        then(&ManuallyDrop::new(unsafe { Open::from_words([place, id]) }));
    }
}

/// Its state is another one: UNIPROF_ESTABLISHED and so on.
///
/// # Safety
/// `connection` is null or what `uniprof_connection_open` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_connection_state(connection: *const Connection, state: u8) {
    // SAFETY: the same contract.
    unsafe { with(connection, |open| open.state(ConnectionState::from_number(state).unwrap_or_default())) }
}

/// The thread that serves it; 0: none.
///
/// # Safety
/// `connection` is null or what `uniprof_connection_open` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_connection_served_by(connection: *const Connection, thread: u32) {
    // SAFETY: the same contract.
    unsafe { with(connection, |open| open.served_by(thread)) }
}

/// Bytes that wait to be read, and bytes that wait to be sent or acknowledged.
///
/// # Safety
/// `connection` is null or what `uniprof_connection_open` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_connection_queues(
    connection: *const Connection,
    to_read: u32,
    to_send: u32,
) {
    // SAFETY: the same contract.
    unsafe { with(connection, |open| open.queues(to_read, to_send)) }
}

/// It has brought so many bytes more, and taken so many.
///
/// # Safety
/// `connection` is null or what `uniprof_connection_open` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_connection_moved(connection: *const Connection, received: u64, sent: u64) {
    let tell = |open: &Open| {
        if received != 0 {
            open.received(received);
        }
        if sent != 0 {
            open.sent(sent);
        }
    };
    // SAFETY: the same contract.
    unsafe { with(connection, tell) }
}

/// It has ended. What it was kept in then tells of no connection.
///
/// # Safety
/// `connection` is null or what `uniprof_connection_open` gave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_connection_close(connection: *mut Connection) {
    // SAFETY: the caller vouches for it.
    if let Some(connection) = unsafe { connection.as_mut() } {
        let Connection { place, id } = core::mem::replace(connection, Connection { place: 0, id: 0 });
        // SAFETY: as above, and nobody has these words any more.
        unsafe { Open::from_words([place, id]) }.close();
    }
}
