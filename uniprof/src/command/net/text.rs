//! What `uniprof net` tells, for people.

use std::io::Write as _;

use uniprof_flamegraph::Unit;

use super::document::{Connection, Counts, Document, Interface};
use crate::output;

pub(super) fn print(document: &Document) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if !document.connections.is_empty() {
        let head =
            ["PROTO", "STATE", "RX-Q", "TX-Q", "LOCAL", "REMOTE", "IN", "OUT", "AGE", "IDLE", "THREAD"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(document.connections.iter().map(row));
        output::table(&mut out, &rows)?;
        writeln!(out)?;
    }
    writeln!(out, "{}", sums(document))?;
    if !document.interfaces.is_empty() {
        let mut rows = vec![["INTERFACE", "MAC", "MTU", "IN", "OUT", "DROPPED"].map(str::to_owned)];
        rows.extend(document.interfaces.iter().map(interface));
        writeln!(out)?;
        output::table(&mut out, &rows)?;
    }
    Ok(out.flush()?)
}

fn row(connection: &Connection) -> [String; 11] {
    let seconds = |value: Option<f64>| value.map_or_else(|| "?".into(), seconds_short);
    let thread = match (connection.thread, &connection.thread_name) {
        (Some(id), Some(name)) => format!("{id} {name}"),
        (Some(id), None) => id.to_string(),
        (None, _) => String::new(),
    };
    [
        connection.protocol.to_owned(),
        connection.state.to_owned(),
        connection.rx_queue.to_string(),
        connection.tx_queue.to_string(),
        connection.local.clone(),
        connection.remote.clone().unwrap_or_else(|| "*".into()),
        bytes_short(connection.bytes_in),
        bytes_short(connection.bytes_out),
        seconds(connection.age_seconds),
        seconds(connection.idle_seconds),
        thread,
    ]
}

/// One line that sums up what is above it, and says what is not.
fn sums(document: &Document) -> String {
    let (sums, totals) = (&document.sums, &document.totals);
    let count = document.connections.len();
    let states: Vec<String> = sums.by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let mut line = match count {
        0 => "no connection".to_owned(),
        1 => format!("1 connection ({})", states.join(", ")),
        _ => format!("{count} connections ({})", states.join(", ")),
    };
    if count > 0 {
        line.push_str(&format!(
            ": {} to be read, {} to be sent, {} in, {} out",
            bytes_short(sums.rx_queue),
            bytes_short(sums.tx_queue),
            bytes_short(sums.bytes_in),
            bytes_short(sums.bytes_out)
        ));
    }
    line.push_str(&format!("; {} opened since boot", totals.opened));
    if totals.not_shown > 0 {
        line.push_str(&format!("; and {} that the guest's table has no room for", totals.not_shown));
    }
    if totals.torn > 0 {
        line.push_str(&format!("; {} entries were being written and are left out", totals.torn));
    }
    line
}

fn interface(interface: &Interface) -> [String; 6] {
    let counts = |counts: &Counts| {
        let word = if counts.packets == 1 { "packet" } else { "packets" };
        format!("{} {word}, {}", counts.packets, bytes_short(counts.bytes))
    };
    let dropped = [("in", &interface.received), ("out", &interface.sent)];
    let dropped: Vec<String> =
        dropped.into_iter().filter_map(|(direction, counts)| drops(direction, counts)).collect();
    [
        interface.name.clone(),
        interface.mac.clone().unwrap_or_default(),
        interface.mtu.to_string(),
        counts(&interface.received),
        counts(&interface.sent),
        if dropped.is_empty() { "none".into() } else { dropped.join("; ") },
    ]
}

fn drops(direction: &str, counts: &Counts) -> Option<String> {
    let reasons: Vec<String> =
        counts.dropped_by.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    (counts.dropped > 0).then(|| format!("{} {direction}: {}", counts.dropped, reasons.join(", ")))
}

fn bytes_short(bytes: u64) -> String {
    Unit::Bytes.short(bytes)
}

fn seconds_short(seconds: f64) -> String {
    Unit::Nanoseconds.short((seconds * 1e9) as u64)
}
