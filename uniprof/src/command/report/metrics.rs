//! The part of a report that is the guest's own numbers: its histograms, counters and gauges.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use uniprof_wire::site::SiteKind;

use crate::output;
use crate::profile::Named;
use crate::profile::metrics::Series;
use crate::sites::{Site, Sites};

/// What came while the recording was made.
#[derive(Serialize)]
pub(super) struct Histogram {
    #[serde(flatten)]
    place: Place,
    count: u64,
    mean: Option<f64>,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    max: u64,
}

/// Values of a counter or a gauge.
#[derive(Serialize)]
pub(super) struct Value {
    #[serde(flatten)]
    place: Place,
    kind: &'static str,
    records: u64,
    first: f64,
    last: f64,
}

/// Where in the kernel's source a number comes from.
#[derive(Serialize)]
struct Place {
    name: String,
    file: Option<String>,
    line: Option<u32>,
}

impl Place {
    fn new(id: u32, site: Option<&Arc<Site>>) -> Self {
        Self {
            name: site.map_or_else(|| format!("site {id}"), |site| site.name.clone()),
            file: site.map(|site| site.file.clone()),
            line: site.map(|site| site.line),
        }
    }
}

/// The histograms that got values.
pub(super) fn histograms(named: &Named) -> Vec<Histogram> {
    let row = |(id, histogram): (u32, &uniprof_wire::tables::Histogram)| Histogram {
        place: Place::new(id, named.sites.get(id)),
        count: histogram.count,
        mean: histogram.mean(),
        p50: histogram.quantile(0.5),
        p90: histogram.quantile(0.9),
        p99: histogram.quantile(0.99),
        max: histogram.max,
    };
    named.figures.metrics.histograms().map(row).collect()
}

/// The counters and gauges that told a value.
pub(super) fn values(named: &Named) -> Vec<Value> {
    named.figures.metrics.values().map(|(id, series)| value(id, series, &named.sites)).collect()
}

fn value(id: u32, series: &Series, sites: &Sites) -> Value {
    let site = sites.get(id);
    let kind = site.map_or(SiteKind::Counter, |site| site.kind);
    let number = |(_, word): (u64, u64)| match kind {
        SiteKind::Gauge => f64::from_bits(word),
        _ => word as f64,
    };
    Value {
        place: Place::new(id, site),
        kind: if kind == SiteKind::Gauge { "gauge" } else { "counter" },
        records: series.records,
        first: number(series.first),
        last: number(series.last),
    }
}

/// Prints a table of each, where there are any.
pub(super) fn print(out: &mut impl Write, named: &Named) -> std::io::Result<()> {
    let unknown = || "-".to_owned();
    let mut rows = vec![["HISTOGRAM", "COUNT", "MEAN", "P50", "P90", "P99", "MAX"].map(str::to_owned)];
    rows.extend(histograms(named).into_iter().map(|row| {
        let mean = row.mean.map_or_else(unknown, |mean| format!("{mean:.1}"));
        let [p50, p90, p99] =
            [row.p50, row.p90, row.p99].map(|value| value.map_or_else(unknown, |value| value.to_string()));
        [row.place.name, row.count.to_string(), mean, p50, p90, p99, row.max.to_string()]
    }));
    print_if_any(out, &rows)?;
    let mut rows = vec![["VALUE", "KIND", "RECORDS", "FIRST", "LAST"].map(str::to_owned)];
    rows.extend(values(named).into_iter().map(|row| {
        let [first, last] = [row.first, row.last].map(|value| value.to_string());
        [row.place.name, row.kind.to_owned(), row.records.to_string(), first, last]
    }));
    print_if_any(out, &rows)
}

fn print_if_any<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> std::io::Result<()> {
    if rows.len() > 1 {
        writeln!(out)?;
        output::table(out, rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_their_sites_say() {
        let site = |id, kind| Site {
            id,
            kind,
            name: "load".into(),
            file: "a.rs".into(),
            line: 7,
            enabled: true,
            slot: None,
            args: Vec::new(),
        };
        let sites: Sites = [site(8, SiteKind::Gauge), site(16, SiteKind::Counter)].into_iter().collect();
        let series = Series { records: 2, first: (1, 0.25f64.to_bits()), last: (2, (-3f64).to_bits()) };
        let gauge = value(8, &series, &sites);
        assert_eq!((gauge.kind, gauge.first, gauge.last, gauge.place.line), ("gauge", 0.25, -3.0, Some(7)));
        let counter = value(16, &Series { records: 1, first: (1, 5), last: (1, 5) }, &sites);
        assert_eq!((counter.kind, counter.last, counter.place.name.as_str()), ("counter", 5.0, "load"));
        assert_eq!(value(9, &series, &sites).place.name, "site 9");
    }
}
