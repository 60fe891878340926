//! `uniprof trace --summary`: how often each name came, and how long what has a duration took.
//!
//! ```text
//! $ uniprof trace calls.uniprof --summary
//! NAME       KIND       RECEIVED  LOST  PER SECOND      P50      P99      MAX
//! fs.read    call          4,000     0      17,789   100 ns   290 ns  43.7 us
//! fs.seek    call          2,000     0       8,895    80 ns   452 ns  63.0 us
//! switch     switch          105     0         467
//! resume     resume           51     0         227  2.17 ms   115 ms   115 ms
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_collector::accounting::Tally;
use uniprof_events::{EventKind, Guest, NameSummary, Summary};
use uniprof_wire::record::Class;

use super::line::ticks_shown;
use crate::output;
use crate::profile::Figures;

const SCHEMA: &str = "uniprof.trace-summary/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    guest: &'a str,
    /// From the first event to the last.
    seconds: f64,
    events: Vec<Row<'a>>,
    classes: Vec<ClassRow>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    kind: &'static str,
    class: &'static str,
    /// `null` where records of the class were lost: the guest counts those by class, not by name.
    emitted: Option<u64>,
    /// Records; a span has two.
    received: u64,
    lost: Option<u64>,
    /// Records of all names of the class that were lost.
    class_lost: u64,
    per_second: Option<f64>,
    /// Spans that ended, calls that returned, and the like.
    #[serde(flatten)]
    latencies: Option<Durations>,
}

#[derive(Serialize)]
struct Durations {
    count: u64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
    total_ns: Option<u64>,
}

/// What became of all records of a class, whatever the filter.
#[derive(Serialize)]
struct ClassRow {
    class: &'static str,
    emitted: u64,
    received: u64,
    lost: u64,
    lost_by: std::collections::BTreeMap<&'static str, u64>,
}

/// Prints the sums.
pub(super) fn print(sums: &Summary, guest: &Guest, figures: &Figures, json: bool) -> anyhow::Result<()> {
    let seconds = guest.nanoseconds(sums.ticks()).unwrap_or(0) as f64 / 1e9;
    let mut rows: Vec<Row<'_>> =
        sums.names().map(|(kind, name, sum)| Row::new(kind, name, sum, guest, figures, seconds)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.received));
    if json {
        return output::json(&Document {
            schema: SCHEMA,
            guest: &figures.session.guest,
            seconds,
            events: rows,
            classes: EventKind::classes().map(|class| ClassRow::new(class, figures.class(class))).collect(),
            notes: &figures.notes,
        });
    }
    let mut cells = vec![HEAD.map(str::to_owned)];
    cells.extend(sorted(sums).iter().map(|(kind, name, sum)| {
        let row = Row::new(*kind, name, sum, guest, figures, seconds);
        row.cells(sum, guest)
    }));
    let mut out = output::stdout();
    table(&mut out, &cells)?;
    for class in EventKind::classes().filter(|class| figures.class(*class).lost() > 0) {
        let tally = figures.class(class);
        writeln!(
            out,
            "{}: {} of {} records are lost; of which names is not known, since the guest counts them by class",
            class.name(),
            count(tally.lost()),
            count(tally.emitted())
        )?;
    }
    Ok(out.flush()?)
}

/// Those that came most often first.
fn sorted(sums: &Summary) -> Vec<(EventKind, &str, &NameSummary)> {
    let mut names: Vec<_> = sums.names().collect();
    names.sort_by_key(|(_, _, sum)| std::cmp::Reverse(sum.received));
    names
}

impl<'a> Row<'a> {
    fn new(
        kind: EventKind,
        name: &'a str,
        sum: &NameSummary,
        guest: &Guest,
        figures: &Figures,
        seconds: f64,
    ) -> Self {
        let class = kind.class();
        let tally = figures.class(class);
        // Neither is known to the end where the account is not closed.
        let is_exact = figures.is_settled && tally.inconsistent == 0;
        let emitted = sum.emitted(tally.lost()).filter(|_| is_exact);
        let latencies = &sum.latencies;
        let ns = |ticks| guest.nanoseconds(ticks);
        Self {
            name,
            kind: kind.group(),
            class: class.name(),
            emitted,
            received: sum.received,
            lost: emitted.map(|emitted| emitted - sum.received),
            class_lost: tally.lost(),
            per_second: (seconds > 0.0).then(|| sum.received as f64 / seconds),
            latencies: (latencies.count() > 0).then(|| Durations {
                count: latencies.count(),
                p50_ns: ns(latencies.quantile(0.5)),
                p99_ns: ns(latencies.quantile(0.99)),
                max_ns: ns(latencies.max()),
                total_ns: ns(latencies.sum()),
            }),
        }
    }

    fn cells(&self, sum: &NameSummary, guest: &Guest) -> [String; 8] {
        let latency = |ticks: u64| match sum.latencies.count() {
            0 => String::new(),
            _ => ticks_shown(ticks, guest),
        };
        [
            output::printable(self.name),
            self.kind.to_owned(),
            count(self.received),
            self.lost.map_or_else(|| "?".to_owned(), count),
            self.per_second.map_or_else(String::new, |rate| count(rate.round() as u64)),
            latency(sum.latencies.quantile(0.5)),
            latency(sum.latencies.quantile(0.99)),
            latency(sum.latencies.max()),
        ]
    }
}

impl ClassRow {
    fn new(class: Class, tally: Tally) -> Self {
        Self {
            class: class.name(),
            emitted: tally.emitted(),
            received: tally.received,
            lost: tally.lost(),
            lost_by: tally.causes().into_iter().collect(),
        }
    }
}

const HEAD: [&str; 8] = ["NAME", "KIND", "RECEIVED", "LOST", "PER SECOND", "P50", "P99", "MAX"];

/// Names to the left, numbers to the right.
fn table(out: &mut impl std::io::Write, rows: &[[String; 8]]) -> std::io::Result<()> {
    let mut widths = [0; 8];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|digit| char::from(*digit)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(count), ["0", "12", "999", "1,000", "1,234,567"]);
    }
}
