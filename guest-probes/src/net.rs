//! The network as its stack sees it: interfaces with exact counters, connections, and records of packets and of states.
//!
//! ```
//! # use uniprof_probes::net::{self, Connection, ConnectionState, Direction, Protocol, Verdict};
//! # use core::net::SocketAddr;
//! net::interface(0, "eth0", [0x52, 0x54, 0, 0x12, 0x34, 0x56], 1500);
//! # let frame = [0; 60];
//! net::packet(0, Direction::In, &frame, Verdict::Accepted);
//!
//! let local: SocketAddr = "10.0.2.15:80".parse().unwrap();
//! let remote: SocketAddr = "10.0.2.2:40112".parse().unwrap();
//! let connection = Connection::open(Protocol::Tcp, local, remote, ConnectionState::SynReceived);
//! connection.state(ConnectionState::Established);
//! connection.served_by(7);
//! connection.received(120);
//! connection.queues(120, 0);
//! connection.close(); // or when it is dropped
//! ```
//!
//! Counters and connections lie in the region's network table, which a region has if [`Config::connections`](crate::Config::connections)
//! asks for it and there is room. They are kept whether somebody looks or not: a packet costs two additions, a connection's change a few stores.
//! Records are written for observers of the class `net`, each packet with as many of its bytes as they asked for.
//!
//! All of it may be called from any vCPU and from interrupts. Of one connection, calls that change the same thing (its state; its
//! queues) come one after the other: a stack has a lock for that, or one thread.

mod connection;
mod table;

use uniprof_wire::record::{Class, MAX_PACKET_BYTES, PacketRecord, Record, Text};
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{INTERFACE_SLOTS, InterfaceEntry};
use uniprof_wire::text::FixedText;

pub use self::connection::Connection;
pub use uniprof_wire::net::{ConnectionState, Direction, Protocol, Verdict};

pub(crate) use self::table::start;
use self::table::{Table, interface_field};
use crate::platform::{self, Pinned};
use crate::{control, hook};

/// Interfaces that are told of; those with higher numbers are counted nowhere.
pub const MAX_INTERFACES: usize = INTERFACE_SLOTS;

/// Tells of an interface whose packets begin with an Ethernet header: its number (from 0), name (the first 32 bytes count), MAC address and
/// MTU.
pub fn interface(index: u8, name: &str, mac: [u8; 6], mtu: u32) {
    describe(index, name, mac, mtu, InterfaceEntry::ETHERNET);
}

/// Tells of an interface whose packets begin with an IP header.
pub fn ip_interface(index: u8, name: &str, mtu: u32) {
    describe(index, name, [0; 6], mtu, InterfaceEntry::RAW_IP);
}

fn describe(index: u8, name: &str, mac: [u8; 6], mtu: u32, link_type: u16) {
    let Some(words) = Table::get().and_then(|table| table.interface(index)) else { return };
    let name = FixedText::<4>::new(name.as_bytes()).to_words();
    words.change(|words| {
        words.store(interface_field::SHAPE, InterfaceEntry::shape_word(mtu, link_type));
        words.store(interface_field::MAC, InterfaceEntry::mac_word(mac));
        name.iter().enumerate().for_each(|(i, &word)| words.store(interface_field::NAME + i, word));
    });
}

/// Tells of a packet that came in or goes out, and what becomes of it: once, when that is known. Counts it, and records it with its
/// first bytes if somebody wants that.
pub fn packet(interface: u8, direction: Direction, bytes: &[u8], verdict: Verdict) {
    if let Some(words) = Table::get().and_then(|table| table.interface(interface)) {
        words.add(interface_field::packets(direction, verdict), 1);
        words.add(interface_field::bytes(direction), bytes.len() as u64);
    }
    if hook::recording(Class::Net) {
        record(interface, direction, bytes, verdict);
    }
}

#[cold]
#[inline(never)]
fn record(interface: u8, direction: Direction, bytes: &[u8], verdict: Verdict) {
    let _pinned = Pinned::new();
    let (tsc, thread) = (platform::now(), platform::thread());
    let original = bytes.len() as u32;
    let kept = bytes.len().min(control::packet_bytes() as usize).min(MAX_PACKET_BYTES);
    let bytes = Text::Bytes(&bytes[..kept]);
    let record = PacketRecord { tsc, thread, interface, direction, verdict, original, bytes };
    hook::write_counted(&Record::Packet(record), tsc);
}
