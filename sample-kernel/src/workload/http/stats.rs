//! What the server has done, counted by itself, and as JSON.

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use super::latency::Latency;
use super::response::Text;
use super::route::Route;
use super::status::Status;
use super::store::Store;
use crate::console::print_line;
use crate::net::COUNTERS;
use crate::probes::net::Verdict;
use crate::{arch, time};

/// Of one route.
struct Counts {
    statuses: [AtomicU64; Status::COUNT],
    latency: Latency,
}

pub(super) struct Stats {
    routes: [Counts; Route::COUNT],
    total: AtomicU64,
    pub(super) leaked: AtomicU64,
}

impl Stats {
    pub(super) const fn new() -> Self {
        Self {
            routes: [const {
                Counts { statuses: [const { AtomicU64::new(0) }; Status::COUNT], latency: Latency::new() }
            }; Route::COUNT],
            total: AtomicU64::new(0),
            leaked: AtomicU64::new(0),
        }
    }

    /// One more request has been answered; how many those are.
    pub(super) fn add(&self, route: Route, status: Status, ticks: u64) -> u64 {
        let counts = &self.routes[route as usize];
        counts.latency.add(time::nanoseconds(ticks));
        counts.statuses[status as usize].fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many have been answered, however.
    pub(super) fn requests(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The last line of a server that ends.
    pub(super) fn print_line(&self) {
        let [opened, closed] =
            [&COUNTERS.opened, &COUNTERS.closed].map(|count| count.load(Ordering::Relaxed));
        print_line!("http: requests={} connections={opened} closed={closed}", self.requests());
    }

    /// All of it, for `/stats`.
    pub(super) fn json(&self, store: &Store) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4096);
        // Writing to memory does not fail.
        let _ = self.write(&mut Text(&mut bytes), store);
        bytes
    }

    fn write(&self, out: &mut Text<'_>, store: &Store) -> fmt::Result {
        write!(
            out,
            "{{\"schema\":\"uniprof.http-stats/1\",\"uptime_ns\":{}",
            time::nanoseconds(arch::now())
        )?;
        write!(out, ",\"requests\":{},\"routes\":[", self.requests())?;
        let mut comma = "";
        for route in Route::ALL {
            let counts = &self.routes[route as usize];
            let summary = counts.latency.summary();
            if summary.count == 0 {
                continue;
            }
            write!(out, "{comma}{{\"method\":\"{}\",\"route\":\"{}\"", route.method(), route.path())?;
            write!(out, ",\"requests\":{},\"statuses\":{{", summary.count)?;
            counts.write_statuses(out)?;
            let super::latency::Summary { p50, p90, p99, max, sum, .. } = summary;
            write!(
                out,
                "}},\"latency_ns\":{{\"p50\":{p50},\"p90\":{p90},\"p99\":{p99},\"max\":{max},\"sum\":{sum}}}}}"
            )?;
            comma = ",";
        }
        out.write_str("]")?;
        write_network(out)?;
        let (keys, held, most) = store.figures();
        let leaked = self.leaked.load(Ordering::Relaxed);
        writeln!(
            out,
            ",\"store\":{{\"keys\":{keys},\"bytes\":{held},\"most_bytes\":{most}}},\"leaked_bytes\":{leaked}}}"
        )
    }
}

impl Counts {
    fn write_statuses(&self, out: &mut Text<'_>) -> fmt::Result {
        let mut comma = "";
        for status in Status::ALL {
            let count = self.statuses[status as usize].load(Ordering::Relaxed);
            if count > 0 {
                write!(out, "{comma}\"{}\":{count}", status.code())?;
                comma = ",";
            }
        }
        Ok(())
    }
}

fn write_network(out: &mut Text<'_>) -> fmt::Result {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (opened, closed) = (read(&COUNTERS.opened), read(&COUNTERS.closed));
    write!(
        out,
        ",\"connections\":{{\"opened\":{opened},\"closed\":{closed},\"now\":{}",
        opened.saturating_sub(closed)
    )?;
    write!(
        out,
        ",\"most_at_once\":{},\"refused\":{}",
        read(&COUNTERS.most_at_once),
        read(&COUNTERS.refused)
    )?;
    write!(out, ",\"reset\":{},\"timed_out\":{}}}", read(&COUNTERS.reset), read(&COUNTERS.timed_out))?;
    write!(
        out,
        ",\"packets\":{{\"in\":{},\"out\":{}",
        read(&COUNTERS.packets_in),
        read(&COUNTERS.packets_out)
    )?;
    write!(out, ",\"bytes_in\":{},\"bytes_out\":{}", read(&COUNTERS.bytes_in), read(&COUNTERS.bytes_out))?;
    out.write_str(",\"drops\":{")?;
    let mut comma = "";
    for verdict in Verdict::ALL.into_iter().filter(|verdict| verdict.is_drop()) {
        write!(out, "{comma}\"{}\":{}", verdict.name(), COUNTERS.dropped(verdict))?;
        comma = ",";
    }
    out.write_str("}}")
}
