//! The last of a recording's network, put together from its looks at the guest's table and from what its records say of connections.

use std::collections::{BTreeMap, BTreeSet};

use uniprof_collector::network::Network;
use uniprof_collector::tables::Tables;
use uniprof_wire::net::ConnectionState;
use uniprof_wire::record::{ConnectionRecord, Record};
use uniprof_wire::tables::ConnectionEntry;

use super::read::{Seen, absent, guest_name};
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::profile::walk::{Visitor, walk};
use crate::profile::{self, Source};

/// Connections that are kept; beyond, the oldest is forgotten.
const MOST_CONNECTIONS: usize = 1 << 20;

pub(super) fn at_the_end(input: &Input) -> anyhow::Result<Seen> {
    let session = profile::head(input)?.session;
    let mut known = Known::default();
    let figures = walk(Source::open(input)?, session, &mut known)?;
    let none = || Failure::error(Exit::Failed, "the recording holds no copy of the guest's tables");
    let tables = known.tables.ok_or_else(none)?;
    if !known.has_looked && known.connections.is_empty() {
        return Err(absent(&guest_name(&tables)));
    }
    let network = Network { connections: known.connections.into_values().collect(), ..known.network };
    let mut seen = Seen::new(network, &tables);
    known.threads.append(&mut seen.threads);
    Ok(Seen { threads: known.threads, notes: figures.notes, ..seen })
}

/// Connections as far as the recording has been read.
#[derive(Default)]
struct Known {
    tables: Option<Tables>,
    /// The latest look at the table, without its connections.
    network: Network,
    has_looked: bool,
    connections: BTreeMap<u64, ConnectionEntry>,
    /// Those of them that have not ended.
    living: BTreeSet<u64>,
    threads: BTreeMap<u32, String>,
}

impl Visitor for Known {
    fn record(&mut self, _vcpu: u32, record: &Record<'_>) {
        match record {
            Record::Connection(change) => self.change(change),
            Record::Thread(thread) if !thread.name.is_empty() => {
                let name: Vec<u8> = thread.name.bytes().collect();
                self.threads.insert(thread.thread, String::from_utf8_lossy(&name).into_owned());
            }
            _ => {}
        }
    }

    fn tables(&mut self, tables: &Tables) {
        self.tables = Some(tables.clone());
    }

    fn network(&mut self, network: &Network) {
        self.look(network.clone());
    }

    /// Its connections are others.
    fn boot(&mut self, _session: u32) {
        *self = Self::default();
    }
}

impl Known {
    /// Puts a connection in its place, or in that of the oldest.
    fn keep(&mut self, connection: ConnectionEntry) {
        if connection.ended == 0 {
            self.living.insert(connection.id);
        } else {
            self.living.remove(&connection.id);
        }
        self.connections.insert(connection.id, connection);
        if self.connections.len() > MOST_CONNECTIONS
            && let Some((id, _)) = self.connections.pop_first()
        {
            self.living.remove(&id);
        }
    }

    /// Takes in a look at the table. What lived before and is not in it any more has ended, with or without a record of that.
    fn look(&mut self, mut network: Network) {
        let there: BTreeSet<u64> = network.connections.iter().map(|connection| connection.id).collect();
        // Those that are newer than the look were opened after it: their records were read before it was told.
        let newest = there.last().copied().unwrap_or(0).max(network.totals.opened);
        let gone: Vec<u64> = self.living.range(..=newest).filter(|id| !there.contains(id)).copied().collect();
        for id in gone {
            self.living.remove(&id);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.state = ConnectionState::Closed;
                connection.ended = connection.active.max(1);
                (connection.rx_queue, connection.tx_queue) = (0, 0);
            }
        }
        for connection in network.connections.drain(..) {
            let known = self.connections.get(&connection.id);
            // Records are read in rounds, and a look may be older than what they say.
            if known.is_none_or(|known| known.active <= connection.active) {
                self.keep(connection);
            }
        }
        self.network = network;
        self.has_looked = true;
    }

    fn change(&mut self, change: &ConnectionRecord) {
        let known = self.connections.get(&change.id).copied();
        let mut known = known.unwrap_or(ConnectionEntry {
            id: change.id,
            state: change.new,
            protocol: change.protocol,
            ends: change.ends,
            thread: change.served_by,
            rx_queue: 0,
            tx_queue: 0,
            bytes_in: change.bytes_in,
            bytes_out: change.bytes_out,
            opened: change.opened,
            active: change.tsc,
            ended: 0,
        });
        if change.tsc >= known.active {
            (known.state, known.active, known.thread) = (change.new, change.tsc, change.served_by);
            (known.bytes_in, known.bytes_out) = (change.bytes_in, change.bytes_out);
        }
        if change.new == ConnectionState::Closed {
            (known.state, known.ended) = (ConnectionState::Closed, change.tsc.max(1));
            (known.rx_queue, known.tx_queue) = (0, 0);
        }
        self.keep(known);
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::net::{Endpoints, Protocol};

    use super::*;

    fn change(id: u64, tsc: u64, new: ConnectionState) -> ConnectionRecord {
        ConnectionRecord {
            tsc,
            thread: 1,
            id,
            protocol: Protocol::Tcp,
            old: ConnectionState::Closed,
            new,
            ends: Endpoints::UNSPECIFIED,
            served_by: 3,
            bytes_in: tsc,
            bytes_out: 2 * tsc,
            opened: 1,
        }
    }

    fn state(known: &Known, id: u64) -> (ConnectionState, bool) {
        let connection = &known.connections[&id];
        (connection.state, connection.ended != 0)
    }

    #[test]
    fn the_later_of_record_and_look_counts_whichever_is_read_first() {
        use ConnectionState::{CloseWait, Closed, Established};
        let mut known = Known::default();
        known.change(&change(1, 10, Established));
        known.change(&change(2, 10, Established));
        let look = |id, active, state| ConnectionEntry {
            state,
            active,
            rx_queue: 7,
            ..Known::default().connections.remove(&id).unwrap_or_else(|| {
                let mut known = Known::default();
                known.change(&change(id, active, state));
                known.connections.remove(&id).expect("it was told of")
            })
        };
        let connections = vec![look(1, 20, CloseWait), look(3, 5, Established)];
        known.look(Network { connections, ..Network::default() });
        assert_eq!(state(&known, 1), (CloseWait, false));
        assert_eq!(known.connections[&1].rx_queue, 7);
        assert_eq!(state(&known, 2), (Closed, true), "it is not in the table any more");
        // Read late.
        known.change(&change(1, 15, Established));
        assert_eq!(state(&known, 1), (CloseWait, false));
        known.change(&change(1, 30, Closed));
        known.change(&change(4, 30, Established));
        known.look(Network { connections: vec![look(3, 6, Established)], ..Network::default() });
        assert_eq!(state(&known, 1), (Closed, true));
        assert_eq!(known.connections[&1].bytes_out, 60);
        assert_eq!(state(&known, 4), (Established, false), "it is newer than the look");
    }
}
