//! `uniprof trace --stats`: calls of the kernel's interface, in the columns of `strace -c`.
//!
//! ```text
//! $ uniprof trace calls.uniprof --stats
//! % time     seconds  usecs/call     calls    errors call
//! ------ ----------- ----------- --------- --------- ----------------
//!  39.76    0.001305       0.652      2000           fs.write
//!  19.77    0.000649       0.649      1000           fs.open
//!  17.21    0.000565       0.565      1000           fs.close
//!  15.32    0.000503       0.126      4000      1000 fs.read
//!   7.94    0.000261       0.130      2000      1000 fs.seek
//! ------ ----------- ----------- --------- --------- ----------------
//! 100.00    0.003281       0.328     10000      2000 total
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_events::{CallRow, Calls, Guest};
use uniprof_wire::record::Class;

use crate::exit::{Exit, Failure};
use crate::output;
use crate::profile::Figures;

const SCHEMA: &str = "uniprof.trace-stats/1";
const RULE: &str = "------ ----------- ----------- --------- --------- ----------------";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    guest: &'a str,
    calls: Vec<Row<'a>>,
    total: Row<'a>,
    /// Calls that were lost, of whatever name.
    lost: u64,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    calls: u64,
    /// Those with a negative result.
    errors: u64,
    /// From call to return, all together; they may have waited meanwhile.
    seconds: f64,
    /// Of the time of all calls, 0 to 1.
    share: f64,
}

/// Prints the table.
pub(super) fn print(calls: &Calls, guest: &Guest, figures: &Figures, json: bool) -> anyhow::Result<()> {
    let total = calls.total();
    let lost = figures.class(Class::Call).lost();
    let row = |name, row: CallRow| Row {
        name,
        calls: row.calls,
        errors: row.errors,
        seconds: guest.nanoseconds(row.ticks).unwrap_or(0) as f64 / 1e9,
        share: if total.ticks == 0 { 0.0 } else { row.ticks as f64 / total.ticks as f64 },
    };
    let rows: Vec<Row<'_>> = calls.rows().into_iter().map(|(name, of)| row(name, of)).collect();
    let total = row("total", total);
    if json {
        let guest = &figures.session.guest;
        return output::json(&Document {
            schema: SCHEMA,
            guest,
            calls: rows,
            total,
            lost,
            notes: &figures.notes,
        });
    }
    if rows.is_empty() {
        let why = if figures.recorded() & Class::Call.bit() == 0 {
            "calls were not recorded; `uniprof record -e +calls` records them"
        } else {
            "there is no call: does the kernel have `call!` sites, and does the filter match any?"
        };
        return Err(Failure::error(Exit::Failed, why));
    }
    let mut out = output::stdout();
    writeln!(out, "% time     seconds  usecs/call     calls    errors call\n{RULE}")?;
    rows.iter().try_for_each(|row| writeln!(out, "{}", row.line()))?;
    writeln!(out, "{RULE}\n{}", total.line())?;
    Ok(out.flush()?)
}

impl Row<'_> {
    fn line(&self) -> String {
        let errors = if self.errors == 0 { String::new() } else { self.errors.to_string() };
        let each = self.seconds * 1e6 / self.calls.max(1) as f64;
        let name = output::printable(self.name);
        let share = self.share * 100.0;
        format!("{share:>6.2} {:>11.6} {each:>11.3} {:>9} {errors:>9} {name}", self.seconds, self.calls)
    }
}
