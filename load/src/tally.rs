//! What a load did.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{Failure, Kind};

/// Longest latency that is told from a longer one, in nanoseconds.
const LONGEST: u64 = 600_000_000_000;
/// Two significant digits: a latency is known to within a hundredth of itself.
const DIGITS: u8 = 2;

/// What became of the requests of one kind.
#[derive(Clone, Debug)]
pub struct RouteTally {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// From the first byte sent to the last received, in nanoseconds, of the answered ones.
    pub latency: Histogram<u64>,
}

impl Default for RouteTally {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds that are in order");
        Self { statuses: BTreeMap::new(), latency }
    }
}

impl RouteTally {
    /// Requests that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// One connection, from when it was opened until it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTally {
    /// This end of it, where the operating system told.
    pub local: Option<SocketAddr>,
    /// Requests that were answered on it.
    pub answered: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// Bytes that came.
    pub bytes_received: u64,
}

/// What a load did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By kind of request.
    pub routes: BTreeMap<Kind, RouteTally>,
    /// Every connection that was open.
    pub connections: Vec<ConnectionTally>,
    /// Requests and connections that failed.
    pub failures: BTreeMap<Failure, u64>,
    /// From the first connection to the last answer.
    pub elapsed: Duration,
}

impl Tally {
    /// Requests that were answered, whatever the answer.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.routes.values().map(RouteTally::answered).sum()
    }

    pub(crate) fn count(&mut self, kind: Kind, status: u16, latency: Duration) {
        let route = self.routes.entry(kind).or_default();
        *route.statuses.entry(status).or_default() += 1;
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST).clamp(1, LONGEST);
        route.latency.saturating_record(nanoseconds);
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (kind, route) in other.routes {
            let sum = self.routes.entry(kind).or_default();
            for (status, count) in route.statuses {
                *sum.statuses.entry(status).or_default() += count;
            }
            sum.latency.add(&route.latency).expect("histograms with the same bounds");
        }
        self.connections.extend(other.connections);
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
    }
}
