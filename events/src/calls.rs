//! Calls of the kernel's interface, summed up as `strace -c` does.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::kind::EventKind;
use crate::value::Value;

/// As [`Summary`](crate::Summary): what comes after that many is counted together.
const MOST_NAMES: usize = 1 << 16;
const OTHERS: &str = "others";

/// Time and errors of calls, by name.
#[derive(Clone, Debug, Default)]
pub struct Calls(BTreeMap<String, CallRow>);

/// The calls of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallRow {
    /// How many.
    pub calls: u64,
    /// How many of them returned a negative number.
    pub errors: u64,
    /// Ticks from call to return, all together.
    pub ticks: u64,
}

impl Calls {
    /// Takes an event in; what is no call is passed over.
    pub fn add(&mut self, event: &Event) {
        if event.kind != EventKind::Call {
            return;
        }
        let name = event.name();
        let is_full = self.0.len() >= MOST_NAMES && !self.0.contains_key(&*name);
        let name = if is_full { OTHERS.into() } else { name.into_owned() };
        self.0.entry(name).or_default().add(&CallRow {
            calls: 1,
            errors: event.result().is_some_and(Value::is_error).into(),
            ticks: event.ticks.unwrap_or(0),
        });
    }

    /// Those that took most time first.
    #[must_use]
    pub fn rows(&self) -> Vec<(&str, CallRow)> {
        let mut rows: Vec<_> = self.0.iter().map(|(name, row)| (name.as_str(), *row)).collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.ticks, row.calls)));
        rows
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> CallRow {
        let mut total = CallRow::default();
        self.0.values().for_each(|row| total.add(row));
        total
    }
}

impl CallRow {
    const fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.ticks = self.ticks.saturating_add(other.ticks);
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::{CallRecord, Record};
    use uniprof_wire::site::SiteKind;

    use super::*;
    use crate::sites::{Sites, tests::entry};

    #[test]
    fn calls_are_summed_up_and_negative_results_are_errors() {
        let mut section = entry(SiteKind::Call, "fs.read", &["iresult"]);
        let write = section.len() as u32;
        section.extend(entry(SiteKind::Call, "fs.write", &["uresult"]));
        let sites = Sites::of_section(&section);
        let mut calls = Calls::default();
        for (site, ticks, result) in
            [(0, 10, 1), (0, 20, -5i64), (write, 100, -1), (0, 30, -1), (write, 50, 7)]
        {
            let args = [result as u64];
            let record = CallRecord { tsc: 1000, site, thread: 1, begin: 1000 - ticks, args: &args };
            calls.add(&Event::new(0, &Record::Call(record), &sites).unwrap());
        }
        // One that was left early has no result.
        let left = CallRecord { tsc: 1000, site: 0, thread: 1, begin: 960, args: &[] };
        calls.add(&Event::new(0, &Record::Call(left), &sites).unwrap());
        // What an unsigned result says is no error, whatever its bits.
        assert_eq!(
            calls.rows(),
            [
                ("fs.write", CallRow { calls: 2, errors: 0, ticks: 150 }),
                ("fs.read", CallRow { calls: 4, errors: 2, ticks: 100 }),
            ]
        );
        assert_eq!(calls.total(), CallRow { calls: 6, errors: 2, ticks: 250 });
    }
}
