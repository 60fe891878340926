//! A packet in a few words, as far as its kept bytes tell: `10.0.2.2:40112 > 10.0.2.15:80 tcp SYN,ACK`.

use std::fmt::Write as _;
use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};

/// Addresses, protocol, flags; empty where the bytes are of nothing that is known. A packet may begin with an Ethernet or with an IP header.
#[must_use]
pub fn packet_summary(bytes: &[u8]) -> String {
    let sliced = LaxSlicedPacket::from_ethernet(bytes).ok().filter(|packet| packet.net.is_some());
    sliced.or_else(|| LaxSlicedPacket::from_ip(bytes).ok()).map(|packet| told(&packet)).unwrap_or_default()
}

fn told(packet: &LaxSlicedPacket<'_>) -> String {
    let (from, to): (IpAddr, IpAddr) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        Some(LaxNetSlice::Arp(_)) => return "arp".into(),
        None => return String::new(),
    };
    let ported = |port: u16, address: IpAddr| match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let (from, to) = (ported(tcp.source_port(), from), ported(tcp.destination_port(), to));
            format!("{from} > {to} tcp{}", flags(tcp))
        }
        Some(TransportSlice::Udp(udp)) => {
            format!("{} > {} udp", ported(udp.source_port(), from), ported(udp.destination_port(), to))
        }
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => format!("{from} > {to} icmp"),
        Some(TransportSlice::Igmp(_)) => format!("{from} > {to} igmp"),
        None => format!("{from} > {to}"),
    }
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let all =
        [(tcp.syn(), "SYN"), (tcp.fin(), "FIN"), (tcp.rst(), "RST"), (tcp.psh(), "PSH"), (tcp.ack(), "ACK")];
    let mut text = String::new();
    for (_, name) in all.iter().filter(|(is_set, _)| *is_set) {
        let before = if text.is_empty() { ' ' } else { ',' };
        // Writing to a String can't fail.
        let _ = write!(text, "{before}{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    fn tcp() -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 2, 2], [10, 0, 2, 15], 64)
            .tcp(40112, 80, 7, 100)
            .syn()
            .ack(3)
            .write(&mut bytes, &[9; 200])
            .unwrap();
        bytes
    }

    #[test]
    fn a_packet_that_was_cut_says_what_is_left() {
        let bytes = tcp();
        let whole = "10.0.2.2:40112 > 10.0.2.15:80 tcp SYN,ACK";
        assert_eq!(packet_summary(&bytes), whole);
        assert_eq!(packet_summary(&bytes[..64]), whole);
        assert_eq!(packet_summary(&bytes[14..]), whole, "without an Ethernet header");
        assert_eq!(packet_summary(&bytes[..40]), "10.0.2.2 > 10.0.2.15");
        assert_eq!(packet_summary(&bytes[..20]), "");
        let mut udp = Vec::new();
        let ip = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
        ip.udp(53, 5353).write(&mut udp, &[]).unwrap();
        assert!(packet_summary(&udp).ends_with("]:5353 udp"), "{}", packet_summary(&udp));
    }

    proptest! {
        #[test]
        fn any_bytes_say_something(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..100) {
            let _ = packet_summary(&bytes);
            let mut near = tcp();
            for (to, from) in near.iter_mut().skip(cut).zip(&bytes) {
                *to = *from;
            }
            let _ = packet_summary(&near);
        }
    }
}
