//! What tables and records of the network have in common: endpoints, states, what became of a packet.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The number of `address`'s family in tables and records: 4 or 6.
const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    }
}

/// An address in 16 bytes, in network order; those that an IPv4 address does not need are 0.
const fn address_words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => [u32::from_le_bytes(v4.octets()) as u64, 0],
        IpAddr::V6(v6) => {
            let bytes = u128::from_le_bytes(v6.octets());
            [bytes as u64, (bytes >> 64) as u64]
        }
    }
}

fn address(family: u8, [low, high]: [u64; 2]) -> Option<IpAddr> {
    match family {
        4 => Some(Ipv4Addr::from((low as u32).to_le_bytes()).into()),
        6 => Some(Ipv6Addr::from((u128::from(low) | u128::from(high) << 64).to_le_bytes()).into()),
        _ => None,
    }
}

/// The two ends of a connection; what is not known, as the remote end of a socket that listens, is unspecified (`0.0.0.0:0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// The guest's own end.
    pub local: SocketAddr,
    /// The other.
    pub remote: SocketAddr,
}

impl Endpoints {
    /// Nothing known.
    pub const UNSPECIFIED: Self = {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self { local: nowhere, remote: nowhere }
    };

    /// The families in a byte: the local end's in its low half.
    pub(crate) const fn families(&self) -> u8 {
        family(self.local.ip()) | family(self.remote.ip()) << 4
    }

    /// Ports (local in the low 16 bits, remote in the next), then the local address, then the remote one.
    pub(crate) const fn to_words(self) -> [u64; 5] {
        let ports = self.local.port() as u64 | (self.remote.port() as u64) << 16;
        let [local_low, local_high] = address_words(self.local.ip());
        let [remote_low, remote_high] = address_words(self.remote.ip());
        [ports, local_low, local_high, remote_low, remote_high]
    }

    /// `None`: a family that is not known.
    pub(crate) fn from_words(families: u8, words: [u64; 5]) -> Option<Self> {
        let [ports, local_low, local_high, remote_low, remote_high] = words;
        let local = address(families & 0xf, [local_low, local_high])?;
        let remote = address(families >> 4, [remote_low, remote_high])?;
        Some(Self {
            local: SocketAddr::new(local, ports as u16),
            remote: SocketAddr::new(remote, (ports >> 16) as u16),
        })
    }
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp = 6,
    /// UDP.
    Udp = 17,
    /// Another one.
    Other = 255,
}

impl Protocol {
    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Other => "other",
        }
    }

    /// From IP's number for it; those without a name are [`Protocol::Other`].
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            _ => Self::Other,
        }
    }
}

/// State of a connection: those of TCP (RFC 9293, section 3.3.2), and one for what has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ConnectionState {
    /// There is none, or no more.
    #[default]
    Closed = 0,
    /// Waits for whoever wants to connect.
    Listen = 1,
    /// Asked for a connection.
    SynSent = 2,
    /// Was asked, and answered.
    SynReceived = 3,
    /// Data may go both ways.
    Established = 4,
    /// The guest has said that it sends no more.
    FinWait1 = 5,
    /// The other side has heard that, and may still send.
    FinWait2 = 6,
    /// The other side sends no more; the guest may.
    CloseWait = 7,
    /// Both have said so, and the other's acknowledgement is awaited.
    Closing = 8,
    /// The guest has said so last, and waits for the acknowledgement.
    LastAck = 9,
    /// Waits until no packet of it can be under way any more.
    TimeWait = 10,
    /// A socket of a protocol without states.
    Open = 11,
}

impl ConnectionState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Open,
    ];

    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Listen => "listen",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::Established => "established",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::CloseWait => "close-wait",
            Self::Closing => "closing",
            Self::LastAck => "last-ack",
            Self::TimeWait => "time-wait",
            Self::Open => "open",
        }
    }

    /// The state with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// To the guest.
    In = 0,
    /// From it.
    Out = 1,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::In, Self::Out];

    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// It was taken in, or sent.
    #[default]
    Accepted = 0,
    /// Dropped: there was no memory for it.
    NoBuffer = 1,
    /// Dropped: a checksum was wrong.
    Checksum = 2,
    /// Dropped: it made no sense.
    Malformed = 3,
    /// Dropped, perhaps with an answer that says so: nobody listens there.
    NoListener = 4,
    /// Dropped: the queue where it belongs was full.
    QueueFull = 5,
    /// Dropped: it was for somebody else.
    NotForUs = 6,
    /// Dropped for another reason.
    Other = 7,
}

/// How many verdicts there are.
pub const VERDICTS: usize = Verdict::ALL.len();

impl Verdict {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::NoBuffer,
        Self::Checksum,
        Self::Malformed,
        Self::NoListener,
        Self::QueueFull,
        Self::NotForUs,
        Self::Other,
    ];

    /// Whether the packet was dropped.
    #[must_use]
    pub const fn is_drop(self) -> bool {
        !matches!(self, Self::Accepted)
    }

    /// A word for people and for file formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NoBuffer => "no-buffer",
            Self::Checksum => "checksum",
            Self::Malformed => "malformed",
            Self::NoListener => "no-listener",
            Self::QueueFull => "queue-full",
            Self::NotForUs => "not-for-us",
            Self::Other => "other",
        }
    }

    /// The verdict with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_each_one_of_a_kind() {
        for (number, state) in (0..).zip(ConnectionState::ALL) {
            assert_eq!((state as u8, ConnectionState::from_number(number)), (number, Some(state)));
            assert_eq!(ConnectionState::ALL.iter().filter(|other| other.name() == state.name()).count(), 1);
        }
        for (number, verdict) in (0..).zip(Verdict::ALL) {
            assert_eq!((verdict as u8, Verdict::from_number(number)), (number, Some(verdict)));
            assert_eq!(verdict.is_drop(), number != 0);
            assert_eq!(Verdict::ALL.iter().filter(|other| other.name() == verdict.name()).count(), 1);
        }
        assert_eq!((ConnectionState::from_number(12), Verdict::from_number(8)), (None, None));
    }

    #[test]
    fn addresses_are_in_network_order() {
        let ends = Endpoints {
            local: SocketAddr::new(Ipv4Addr::new(10, 0, 2, 15).into(), 80),
            remote: SocketAddr::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), 0xffff),
        };
        let words = ends.to_words();
        assert_eq!(words[1].to_le_bytes(), [10, 0, 2, 15, 0, 0, 0, 0]);
        assert_eq!(words[3].to_le_bytes(), [0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
        assert_eq!(words[4].to_le_bytes(), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Endpoints::from_words(ends.families(), words), Some(ends));
        assert_eq!(Endpoints::from_words(0x40, words), None);
    }
}
