//! Where interfaces and connections are read: in memory, over a serial port, in a recording.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use uniprof_collector::attach::{Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::dump::{self, OpenOptions};
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::memory::GuestMemory;
use uniprof_collector::network::Network;
use uniprof_collector::tables::Tables;
use uniprof_postmortem::{Evidence, Region};

use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::input::Input;
use crate::profile;
use crate::{options, output};

use super::recorded;

/// How long a guest may take to tell of its network over its port.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

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
    /// What a reader should know of it.
    pub(super) notes: Vec<String>,
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

pub(crate) fn absent(guest: &str) -> anyhow::Error {
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
        _ => recorded::at_the_end(input),
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
    if let Some(port) = &attached.port {
        port.discard_messages();
    }
    let network = attached.network(PATIENCE, &cancel)?;
    let network = network.ok_or_else(|| absent(&guest_name(&attached.tables)))?;
    let look = attached.port.as_ref().and_then(|port| port.look(PATIENCE, &cancel));
    let now = look.and_then(|bytes| Tables::parse(&bytes).ok());
    Ok(Seen::new(network, &now.unwrap_or(attached.tables)))
}

pub(super) fn guest_name(tables: &Tables) -> String {
    let name = String::from_utf8_lossy(tables.header.name.bytes()).into_owned();
    if name.is_empty() { "the guest".into() } else { output::printable(&name) }
}

impl Seen {
    pub(super) fn new(network: Network, tables: &Tables) -> Self {
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
            notes: Vec::new(),
        }
    }
}
