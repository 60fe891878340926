//! What `uniprof net` tells, for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use uniprof_wire::net::{ConnectionState, Verdict};
use uniprof_wire::tables::{ConnectionEntry, InterfaceEntry, Traffic};

use super::read::Seen;

#[derive(Serialize)]
pub(super) struct Document {
    schema: &'static str,
    pub(super) guest: String,
    /// From the guest's boot to its last sign of life.
    up_seconds: Option<f64>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) connections: Vec<Connection>,
    /// Of the connections that are shown.
    pub(super) sums: Sums,
    pub(super) totals: Totals,
    pub(super) notes: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Interface {
    index: u8,
    pub(super) name: String,
    /// Null where it has none.
    pub(super) mac: Option<String>,
    pub(super) mtu: u32,
    /// What its packets begin with: pcap's number, 1 for Ethernet.
    link_type: u16,
    pub(super) received: Counts,
    pub(super) sent: Counts,
}

/// Since the guest's boot.
#[derive(Serialize)]
pub(super) struct Counts {
    /// Dropped ones among them.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
    /// By reason, those that occurred.
    pub(super) dropped_by: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
pub(super) struct Connection {
    /// Its number, which no other connection of the boot has.
    pub(super) id: u64,
    pub(super) protocol: &'static str,
    pub(super) state: &'static str,
    pub(super) local: String,
    /// Null where there is no other end: of a socket that listens.
    pub(super) remote: Option<String>,
    /// Bytes that have come and that nobody has read.
    pub(super) rx_queue: u32,
    /// Bytes that were not sent or not acknowledged yet.
    pub(super) tx_queue: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// The thread that serves it; null: none, or unknown.
    pub(super) thread: Option<u32>,
    pub(super) thread_name: Option<String>,
    /// Since it was opened; of one that has ended, until then.
    pub(super) age_seconds: Option<f64>,
    /// Since its last change.
    pub(super) idle_seconds: Option<f64>,
    pub(super) ended: bool,
}

#[derive(Default, Serialize)]
pub(super) struct Sums {
    pub(super) by_state: BTreeMap<&'static str, u64>,
    pub(super) rx_queue: u64,
    pub(super) tx_queue: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// Of the guest, since its boot.
#[derive(Serialize)]
pub(super) struct Totals {
    pub(super) opened: u64,
    closed: u64,
    /// Connections that exist and that the guest's table has no room for.
    pub(super) not_shown: u64,
    /// Entries that were being written, and are left out.
    pub(super) torn: u64,
}

impl Document {
    pub(super) fn new(seen: &Seen, shows: impl Fn(&ConnectionEntry) -> bool) -> Self {
        let seconds = |ticks: u64| (seen.tsc_hz > 0).then(|| ticks as f64 / seen.tsc_hz as f64);
        let mut shown: Vec<&ConnectionEntry> =
            seen.network.connections.iter().filter(|entry| shows(entry)).collect();
        shown.sort_by_key(|entry| (entry.state != ConnectionState::Listen, entry.id));
        let mut sums = Sums::default();
        for entry in &shown {
            *sums.by_state.entry(entry.state.name()).or_default() += 1;
            sums.rx_queue = sums.rx_queue.saturating_add(entry.rx_queue.into());
            sums.tx_queue = sums.tx_queue.saturating_add(entry.tx_queue.into());
            sums.bytes_in = sums.bytes_in.saturating_add(entry.bytes_in);
            sums.bytes_out = sums.bytes_out.saturating_add(entry.bytes_out);
        }
        let totals = &seen.network.totals;
        Self {
            schema: "uniprof.net/1",
            guest: seen.guest.clone(),
            up_seconds: seconds(seen.now.saturating_sub(seen.boot)),
            interfaces: seen
                .network
                .interfaces
                .iter()
                .map(|(index, entry)| Interface::new(*index, entry))
                .collect(),
            connections: shown.into_iter().map(|entry| Connection::new(entry, seen, seconds)).collect(),
            sums,
            totals: Totals {
                opened: totals.opened,
                closed: totals.closed,
                not_shown: totals.not_shown(),
                torn: seen.network.torn,
            },
            notes: seen.notes.clone(),
        }
    }
}

impl Interface {
    fn new(index: u8, entry: &InterfaceEntry) -> Self {
        let hex: Vec<String> = entry.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            index,
            name: String::from_utf8_lossy(entry.name.bytes()).into_owned(),
            mac: (entry.mac != [0; 6]).then(|| hex.join(":")),
            mtu: entry.mtu,
            link_type: entry.link_type,
            received: Counts::new(&entry.received),
            sent: Counts::new(&entry.sent),
        }
    }
}

impl Counts {
    fn new(traffic: &Traffic) -> Self {
        let reasons = Verdict::ALL.into_iter().filter(|verdict| verdict.is_drop());
        let counted = reasons.map(|verdict| (verdict.name(), traffic.by_verdict[verdict as usize]));
        Self {
            packets: traffic.packets(),
            bytes: traffic.bytes,
            dropped: traffic.dropped(),
            dropped_by: counted.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl Connection {
    fn new(entry: &ConnectionEntry, seen: &Seen, seconds: impl Fn(u64) -> Option<f64>) -> Self {
        let until = if entry.ended == 0 { seen.now } else { entry.ended };
        let remote = entry.ends.remote;
        let has_remote = remote.port() != 0 || !remote.ip().is_unspecified();
        Self {
            id: entry.id,
            protocol: entry.protocol.name(),
            state: entry.state.name(),
            local: entry.ends.local.to_string(),
            remote: has_remote.then(|| remote.to_string()),
            rx_queue: entry.rx_queue,
            tx_queue: entry.tx_queue,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            thread: (entry.thread != 0).then_some(entry.thread),
            thread_name: seen.threads.get(&entry.thread).cloned(),
            age_seconds: seconds(until.saturating_sub(entry.opened)),
            idle_seconds: seconds(seen.now.saturating_sub(entry.active)),
            ended: entry.ended != 0,
        }
    }
}
