//! Where interfaces and connections are read: in memory, over a serial port, in a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use uniprof_collector::attach::{Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::dump::{self, OpenOptions};
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::ledger::Ledger;
use uniprof_collector::memory::GuestMemory;
use uniprof_collector::network::Network;
use uniprof_collector::recording::{Body, Item};
use uniprof_collector::tables::Tables;
use uniprof_postmortem::{Evidence, Region};
use uniprof_wire::net::ConnectionState;
use uniprof_wire::record::{ConnectionRecord, Record};
use uniprof_wire::stream::Area;
use uniprof_wire::tables::ConnectionEntry;

use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::input::Input;
use crate::profile::{self, Source};
use crate::{options, output};

/// How long a guest may take to tell of its network over its port.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of a recording that are kept; beyond, the oldest is forgotten.
const MOST_CONNECTIONS: usize = 1 << 20;

/// What was seen of a guest's network.
pub(super) struct Seen {
    pub(super) guest: String,
    pub(super) network: Network,
    /// Names of threads.
    pub(super) threads: BTreeMap<u32, String>,
    /// The guest's clock when it was looked at.
    pub(super) now: u64,
    pub(super) boot: u64,
    pub(super) tsc_hz: u64,
}

/// Why there is nothing to show, in a sentence.
pub(crate) fn no_network(guest: &str, has_table: bool) -> String {
    if has_table {
        format!("{guest} has no network: its kernel has told of no interface and of no connection")
    } else {
        format!(
            "the probes of {guest} tell of no network: its kernel asks for no network table (`connections` in the probes' `Config`), or is of a \
             version that had none"
        )
    }
}

fn absent(guest: &str) -> anyhow::Error {
    Failure::error(Exit::NoNetwork, no_network(guest, false))
}

pub(super) fn read(input: &Input, how: &options::Dump) -> anyhow::Result<Seen> {
    match input {
        Input::Core(path) => of_dump(path, how),
        Input::File(path) if how.is_raw() => of_dump(path, how),
        Input::Guest(name) => match profile::find_guest(name)? {
            Target::Ours(entry) if entry.port.is_some() => of_port(&entry),
            target => {
                let memory = target.region_memory()?;
                let region = Region::find(&*memory, None).map_err(|why| Failure::error(Exit::Failed, why))?;
                of_memory(&*memory, &region)
            }
        },
        _ => of_recording(Source::open(input)?),
    }
}

fn of_dump(path: &Path, how: &options::Dump) -> anyhow::Result<Seen> {
    let dump = dump::open(path, &OpenOptions { raw: how.is_raw(), cpus: how.cpus() })?;
    let evidence = Evidence::of_dump(dump);
    let region = evidence.region.as_ref().map_err(|why| Failure::error(Exit::Failed, why.clone()))?;
    of_memory(&*evidence.memory, region)
}

fn of_memory(memory: &dyn GuestMemory, region: &Region) -> anyhow::Result<Seen> {
    let name = guest_name(&region.tables);
    let network = Network::read(memory, region.found.at, region.found.header.geometry)?;
    Ok(Seen::new(network.ok_or_else(|| absent(&name))?, &region.tables))
}

fn of_port(entry: &GuestEntry) -> anyhow::Result<Seen> {
    let cancel = Cancel::new();
    let wait = WaitOptions { limit: PATIENCE, hint: None, cancel: cancel.clone() };
    let attached = wait_for_region(&Observed::Other(entry), &wait)?;
    let silent = || Failure::error(Exit::Failed, "the guest does not tell its network over its serial port");
    let port = attached.port.as_ref().ok_or_else(silent)?;
    port.discard_messages();
    let geometry = attached.region.header.geometry;
    if geometry.connections() == 0 {
        return Err(absent(&guest_name(&attached.tables)));
    }
    let bytes = port.area(Area::Net, PATIENCE, &cancel).ok_or_else(silent)?;
    let network = Network::of_bytes(&bytes, geometry).ok_or_else(silent)?;
    let now = port.look(PATIENCE, &cancel).and_then(|bytes| Tables::parse(&bytes).ok());
    let tables = now.unwrap_or(attached.tables);
    Ok(Seen::new(network, &tables))
}

fn guest_name(tables: &Tables) -> String {
    let name = String::from_utf8_lossy(tables.header.name.bytes()).into_owned();
    if name.is_empty() { "the guest".into() } else { output::printable(&name) }
}

impl Seen {
    fn new(network: Network, tables: &Tables) -> Self {
        let named = tables.threads.iter().filter_map(|slot| slot.entry());
        let named = named.filter(|thread| !thread.name.bytes().is_empty());
        let beat = tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
        // The tables were read first.
        let now = network.connections.iter().map(|connection| connection.active).fold(beat, u64::max);
        Self {
            guest: guest_name(tables),
            threads: named
                .map(|thread| (thread.id, String::from_utf8_lossy(thread.name.bytes()).into_owned()))
                .collect(),
            now,
            boot: tables.header.boot_tsc,
            tsc_hz: tables.header.tsc_hz,
            network,
        }
    }
}

/// The last of a recording, put together from its snapshots and from what its records say of connections.
fn of_recording(mut source: Source) -> anyhow::Result<Seen> {
    let mut ledger = Ledger::new();
    let mut known = Known::default();
    let (mut session, mut tables) = (0, None);
    while let Some(item) = source.next()? {
        let message = match item {
            Item::Message(message) => message,
            Item::Gap => {
                ledger.gap();
                continue;
            }
            Item::Session(_) | Item::Attachment(_) => continue,
        };
        if message.session != session {
            // Another boot: its connections are others.
            (session, known, tables) = (message.session, Known::default(), None);
        }
        match &message.body {
            Body::Region { bytes, .. } => tables = Tables::parse(bytes).ok().or(tables),
            Body::Network(words) => known.look(Network::from_words(words)),
            _ => {}
        }
        ledger.feed(&message, |_, record| match record {
            Record::Connection(change) => known.change(&change),
            Record::Thread(thread) if !thread.name.is_empty() => {
                let name: Vec<u8> = thread.name.bytes().collect();
                known.threads.insert(thread.thread, String::from_utf8_lossy(&name).into_owned());
            }
            _ => {}
        });
    }
    let none = || Failure::error(Exit::Failed, "the recording holds no copy of the guest's tables");
    let tables = tables.ok_or_else(none)?;
    let has_any = known.has_looked || !known.connections.is_empty();
    if !has_any {
        return Err(absent(&guest_name(&tables)));
    }
    let network = Network { connections: known.connections.into_values().collect(), ..known.network };
    let mut seen = Seen::new(network, &tables);
    known.threads.append(&mut seen.threads);
    seen.threads = known.threads;
    Ok(seen)
}

/// Connections as far as a recording has been read.
#[derive(Default)]
struct Known {
    /// The latest look at the table, without its connections.
    network: Network,
    has_looked: bool,
    connections: BTreeMap<u64, ConnectionEntry>,
    /// Those of them that have not ended.
    living: BTreeSet<u64>,
    threads: BTreeMap<u32, String>,
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
