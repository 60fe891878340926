//! What a frame is, before the stack sees it: the stack drops without saying why, and finds connections by asking each of them.

use core::net::Ipv4Addr;

use smoltcp::wire::{
    ArpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, IpAddress, IpProtocol,
    Ipv4Packet, TcpPacket, UdpPacket,
};

use crate::probes::net::Verdict;

/// The other end of a connection to this machine.
pub(super) type Peer = (Ipv4Addr, u16);

/// For whom a frame is.
pub(super) enum Frame {
    /// For a connection, or for whoever listens to the port.
    Tcp {
        peer: Peer,
        port: u16,
        opens: bool,
    },
    /// For the stack itself: ARP, ICMP.
    Stack,
    Dropped(Verdict),
}

/// Looks at a frame, which may be anything.
pub(super) fn classify(frame: &[u8], own: EthernetAddress, address: Ipv4Addr, broadcast: Ipv4Addr) -> Frame {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else { return Frame::Dropped(Verdict::Malformed) };
    if ethernet.dst_addr() != own && !ethernet.dst_addr().is_broadcast() {
        return Frame::Dropped(Verdict::NotForUs);
    }
    match ethernet.ethertype() {
        EthernetProtocol::Arp => match ArpPacket::new_checked(ethernet.payload()) {
            Ok(_) => Frame::Stack,
            Err(_) => Frame::Dropped(Verdict::Malformed),
        },
        EthernetProtocol::Ipv4 => ipv4(ethernet.payload(), address, broadcast),
        _ => Frame::Dropped(Verdict::Other),
    }
}

fn ipv4(packet: &[u8], address: Ipv4Addr, broadcast: Ipv4Addr) -> Frame {
    let Ok(packet) = Ipv4Packet::new_checked(packet) else { return Frame::Dropped(Verdict::Malformed) };
    if packet.version() != 4 {
        return Frame::Dropped(Verdict::Malformed);
    }
    if !packet.verify_checksum() {
        return Frame::Dropped(Verdict::Checksum);
    }
    let destination = packet.dst_addr();
    if destination != address && destination != broadcast && !destination.is_broadcast() {
        return Frame::Dropped(Verdict::NotForUs);
    }
    // The stack puts no fragments together.
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Frame::Dropped(Verdict::Other);
    }
    let ends = (IpAddress::Ipv4(packet.src_addr()), IpAddress::Ipv4(destination));
    let broken = |checksum_is_right| if checksum_is_right { Verdict::Malformed } else { Verdict::Checksum };
    match packet.next_header() {
        IpProtocol::Tcp => match TcpPacket::new_checked(packet.payload()) {
            Ok(tcp) if destination != address => {
                Frame::Dropped(broken(tcp.verify_checksum(&ends.0, &ends.1)))
            }
            Ok(tcp) if !tcp.verify_checksum(&ends.0, &ends.1) => Frame::Dropped(Verdict::Checksum),
            Ok(tcp) if tcp.src_port() == 0 || tcp.dst_port() == 0 => Frame::Dropped(Verdict::Malformed),
            Ok(tcp) => Frame::Tcp {
                peer: (packet.src_addr(), tcp.src_port()),
                port: tcp.dst_port(),
                opens: tcp.syn() && !tcp.ack() && !tcp.rst(),
            },
            Err(_) => Frame::Dropped(Verdict::Malformed),
        },
        IpProtocol::Icmp => match Icmpv4Packet::new_checked(packet.payload()) {
            Ok(icmp) if icmp.verify_checksum() => Frame::Stack,
            Ok(_) => Frame::Dropped(Verdict::Checksum),
            Err(_) => Frame::Dropped(Verdict::Malformed),
        },
        IpProtocol::Udp => match UdpPacket::new_checked(packet.payload()) {
            Ok(udp) if udp.verify_checksum(&ends.0, &ends.1) => Frame::Dropped(Verdict::NoListener),
            Ok(_) => Frame::Dropped(Verdict::Checksum),
            Err(_) => Frame::Dropped(Verdict::Malformed),
        },
        _ => Frame::Dropped(Verdict::Other),
    }
}
