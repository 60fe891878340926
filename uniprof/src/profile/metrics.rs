//! The numbers that a guest keeps of itself: its counters, gauges and histograms, by the site that they come from.

use std::collections::BTreeMap;

use uniprof_collector::histograms::Histograms;
use uniprof_wire::record::CounterRecord;
use uniprof_wire::tables::Histogram;

/// Sites whose values are kept: more than any kernel has, and few enough for damaged records that name others.
const MOST_SITES: usize = 1 << 16;

/// Numbers of a recording.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    values: BTreeMap<u32, Series>,
    /// Whether the histograms were looked at at all.
    has_looked: bool,
    /// Of the boots that are over.
    closed: Histograms,
    boot: Boot,
}

/// Values of one counter or gauge, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) records: u64,
    /// With their TSC.
    pub(crate) first: (u64, u64),
    pub(crate) last: (u64, u64),
}

/// What the histograms of one boot of the guest said at the first look and at the last.
#[derive(Debug, Clone, Default)]
struct Boot {
    session: Option<u32>,
    first: Histograms,
    last: Histograms,
}

impl Metrics {
    /// Takes in a record of a counter or a gauge. Those of several vCPUs come in no particular order.
    pub(crate) fn take_value(&mut self, record: &CounterRecord) {
        let value = (record.tsc, record.value);
        if let Some(series) = self.values.get_mut(&record.site) {
            series.records += 1;
            series.first = if value.0 < series.first.0 { value } else { series.first };
            series.last = if value.0 >= series.last.0 { value } else { series.last };
        } else if self.values.len() < MOST_SITES {
            self.values.insert(record.site, Series { records: 1, first: value, last: value });
        }
    }

    /// Takes in a look at the histograms.
    pub(crate) fn take_histograms(&mut self, session: u32, words: &[u64]) {
        let histograms = Histograms::from_words(words);
        self.has_looked = true;
        match self.boot.session {
            Some(known) if known == session => self.boot.last = histograms,
            known => {
                self.close_boot();
                // Of a boot that began while it was recorded, everything counts.
                let first = if known.is_none() { histograms.clone() } else { Histograms::default() };
                self.boot = Boot { session: Some(session), first, last: histograms };
            }
        }
    }

    /// Call at the end. `from_boot`: the recording has all of the guest's life.
    pub(crate) fn finish(&mut self, from_boot: bool) {
        if from_boot && self.closed.is_empty() {
            self.boot.first = Histograms::default();
        }
        self.close_boot();
    }

    fn close_boot(&mut self) {
        let boot = std::mem::take(&mut self.boot);
        let came = boot.last.since(&boot.first);
        let both = self.closed.iter().chain(came.iter()).map(|(site, histogram)| (site, histogram.clone()));
        self.closed = both.collect();
    }

    /// Whether the recording says anything about histograms, were it that they were empty.
    pub(crate) fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// Values of counters and gauges.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u32, &Series)> {
        self.values.iter().map(|(site, series)| (*site, series))
    }

    /// Histograms of what came while the recording was made.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (u32, &Histogram)> {
        self.closed.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(metrics: &mut Metrics, session: u32, values: &[u64]) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        let used = histogram.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        let buckets: Vec<u64> = used.flat_map(|(bucket, count)| [bucket as u64, *count]).collect();
        let mut words = vec![8, histogram.count, histogram.sum, histogram.max, buckets.len() as u64 / 2];
        words.extend(buckets);
        metrics.take_histograms(session, if values.is_empty() { &[] } else { &words });
    }

    fn told(mut metrics: Metrics, from_boot: bool) -> Vec<(u64, u64)> {
        metrics.finish(from_boot);
        metrics.histograms().map(|(_, histogram)| (histogram.count, histogram.sum)).collect()
    }

    #[test]
    fn what_came_before_a_late_reader_does_not_count() {
        let mut metrics = Metrics::default();
        look(&mut metrics, 0, &[1, 2]);
        look(&mut metrics, 0, &[1, 2, 3]);
        look(&mut metrics, 0, &[1, 2, 3, 7]);
        assert_eq!(told(metrics.clone(), false), [(2, 10)]);
        assert_eq!(told(metrics.clone(), true), [(4, 13)]);
        // The guest is restarted, and counts anew.
        look(&mut metrics, 1, &[100]);
        assert_eq!(told(metrics, false), [(3, 110)]);
    }

    #[test]
    fn a_first_look_without_values_is_one() {
        let mut metrics = Metrics::default();
        look(&mut metrics, 0, &[]);
        look(&mut metrics, 0, &[5]);
        assert!(metrics.has_looked() && !Metrics::default().has_looked());
        assert_eq!(told(metrics, false), [(1, 5)]);
        assert_eq!(told(Metrics::default(), true), []);
    }

    #[test]
    fn the_last_value_is_the_latest_whatever_ring_it_comes_from() {
        let mut metrics = Metrics::default();
        for (tsc, value) in [(5, 50), (9, 90), (1, 10), (7, 70)] {
            metrics.take_value(&CounterRecord { tsc, site: 3, thread: 0, value });
        }
        let (site, series) = metrics.values().next().unwrap();
        assert_eq!((site, series.records, series.first, series.last), (3, 4, (1, 10), (9, 90)));
    }
}
