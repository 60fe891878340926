//! What is to be asked for, how often and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;

/// Different keys that are asked for.
const KEYS: u32 = 2_000;
const SCANNED: u32 = 20;
const VALUE_BYTES: std::ops::Range<usize> = 16..400;

/// Kinds of requests that the reference kernel's server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Reads one key.
    Get,
    /// Stores one key.
    Put,
    /// Removes one key.
    Delete,
    /// Reads some keys in order.
    Scan,
    /// A handler that sleeps for some milliseconds.
    Slow(u32),
    /// A handler that holds a lock which others want, for some microseconds.
    Lock(u32),
    /// A handler that allocates some bytes and forgets them.
    Leak(u32),
    /// Whether the server is there.
    Health,
}

impl Kind {
    /// The route, as the server's own statistics name it.
    #[must_use]
    pub const fn route(self) -> &'static str {
        match self {
            Self::Get | Self::Put | Self::Delete => "/kv",
            Self::Scan => "/scan",
            Self::Slow(_) => "/slow",
            Self::Lock(_) => "/lock",
            Self::Leak(_) => "/leak",
            Self::Health => "/healthz",
        }
    }

    /// The method.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            _ => "GET",
        }
    }

    /// One request of this kind, as it goes over the line.
    pub(crate) fn request(self, random: &mut Rng) -> Vec<u8> {
        let key = random.u32(0..KEYS);
        let target = match self {
            Self::Get | Self::Put | Self::Delete => format!("/kv/key-{key}"),
            Self::Scan => format!("/scan?from=key-{key}&count={SCANNED}"),
            Self::Slow(ms) => format!("/slow?ms={ms}"),
            Self::Lock(us) => format!("/lock?us={us}"),
            Self::Leak(bytes) => format!("/leak?bytes={bytes}"),
            Self::Health => "/healthz".to_owned(),
        };
        let body = (self == Self::Put).then(|| vec![b'v'; random.usize(VALUE_BYTES)]);
        let mut request = format!("{} {target} HTTP/1.1\r\nHost: guest\r\n", self.method());
        if let Some(body) = &body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend(body.unwrap_or_default());
        request
    }
}

/// Kinds of requests, each with its share.
#[derive(Clone, Debug)]
pub struct Mix {
    shares: Vec<(Kind, u32)>,
    sum: u32,
}

impl Mix {
    /// Each kind with its share of the sum; those with a share of 0 are left out.
    ///
    /// # Panics
    /// When nothing is left: what is asked for is written in a program.
    #[must_use]
    pub fn new(shares: &[(Kind, u32)]) -> Self {
        let shares: Vec<_> = shares.iter().copied().filter(|(_, share)| *share > 0).collect();
        let sum = shares.iter().map(|(_, share)| share).sum();
        assert!(sum > 0, "a mix of nothing");
        Self { shares, sum }
    }

    /// What a server of keys and values is asked for, mostly reads; now and then something slow, something contended, something that leaks.
    #[must_use]
    pub fn of_a_store() -> Self {
        Self::new(&[
            (Kind::Get, 45),
            (Kind::Put, 20),
            (Kind::Delete, 5),
            (Kind::Scan, 25),
            (Kind::Slow(5), 1),
            (Kind::Lock(200), 3),
            (Kind::Leak(64), 1),
        ])
    }

    pub(crate) fn choose(&self, random: &mut Rng) -> Kind {
        let mut at = random.u32(0..self.sum);
        for &(kind, share) in &self.shares {
            if at < share {
                return kind;
            }
            at -= share;
        }
        unreachable!("the shares add up to their sum")
    }
}

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Connections that are open at once, each with its own thread.
    pub connections: usize,
    /// Requests in all; no end where `None`.
    pub requests: Option<u64>,
    /// Most requests in a second, of all connections together; as many as are answered where `None`.
    pub rate: Option<f64>,
    /// After how many requests a connection is closed and another opened; never where `None`.
    pub requests_per_connection: Option<u64>,
    /// What is asked for.
    pub mix: Mix,
    /// How long nothing may come of an answer.
    pub patience: Duration,
    /// Two loads with the same seed ask for the same, connection by connection.
    pub seed: u64,
}

impl Plan {
    /// Four connections that ask [`Mix::of_a_store`] without end.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connections: 4,
            requests: None,
            rate: None,
            requests_per_connection: None,
            mix: Mix::of_a_store(),
            patience: Duration::from_secs(30),
            seed: 1,
        }
    }
}
