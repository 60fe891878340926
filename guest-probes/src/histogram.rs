//! Histograms: how often values of each size came, added up in the region, without a record for each value.

use uniprof_wire::layout::Geometry;
use uniprof_wire::ring::WriterWords;
use uniprof_wire::site::SiteKind;
use uniprof_wire::tables::{HISTOGRAM_WORDS, bucket_of, histogram_field};

use crate::platform::{self, Pinned};
use crate::region::{Words, region_of};
use crate::sites::{self, Entry};

/// The sites that want a histogram.
pub(crate) fn sites() -> impl Iterator<Item = Entry> {
    sites::entries().filter(|site| site.kind() == Some(SiteKind::Histogram))
}

/// Empties the table and gives each site its histogram, the same on every vCPU; from `init`. A site for which there is no room has
/// none: its values are not kept, and hosts say so.
pub(crate) fn format(words: Words, geometry: Geometry) {
    let table = words.at_byte(geometry.histogram_table(0));
    let of_vcpu = geometry.histograms() as usize * HISTOGRAM_WORDS;
    (0..of_vcpu * geometry.vcpus() as usize).for_each(|word| table.store(word, 0));
    for (number, site) in sites().enumerate() {
        let has_room = number < geometry.histograms() as usize;
        site.set_slot(if has_room { 1 + number as u32 } else { 0 });
        if has_room {
            let states_site = |vcpu: usize| {
                let own = vcpu * of_vcpu + number * HISTOGRAM_WORDS;
                table.store(own + histogram_field::SITE, 1 + u64::from(site.id()));
            };
            (0..geometry.vcpus() as usize).for_each(states_site);
        }
    }
}

/// Expansion of [`histogram!`](crate::histogram!): counts a value in the vCPU's own copy of the histogram. Handlers and NMIs may do the
/// same between any two instructions of this, and nothing is lost.
#[inline]
pub fn record(slot: u32, value: u64) {
    let _pinned = Pinned::new();
    let vcpu = platform::vcpu();
    let Some(region) = region_of(vcpu) else { return };
    let histograms = region.geometry.histograms();
    let number = slot.wrapping_sub(1);
    if number >= histograms {
        return;
    }
    let number = (vcpu * histograms + number) as usize;
    let own = region.histograms.at_byte(number * HISTOGRAM_WORDS * 8);
    own.local_increment(histogram_field::COUNT);
    own.local_add(histogram_field::SUM, value);
    own.local_increment(histogram_field::BUCKETS + bucket_of(value));
    let mut largest = own.load(histogram_field::MAX);
    while value > largest && !own.local_compare_exchange(histogram_field::MAX, largest, value) {
        largest = own.load(histogram_field::MAX);
    }
}

/// Counts a value, an unsigned integer, in a histogram: how often values of each size came is added up in the region, to within a sixteenth of
/// the value, and no record is written. For what happens too often for events, and of which percentiles are to be known.
///
/// A region has room for at most 64, behind its rings and its heap table; `uniprof list` says which have none.
///
/// ```text
/// uniprof_probes::histogram!("http.latency_ns", nanoseconds);
/// ```
#[macro_export]
macro_rules! histogram {
    ($name:literal, $value:expr $(,)?) => {{
        if let Some(site) = $crate::__site!(Histogram, $name, value u64) {
            $crate::expansion::record(site.slot(), $crate::Unsigned::word($value));
        }
    }};
}
