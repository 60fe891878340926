//! Histograms of a guest, out of its region: those of all vCPUs together, at one moment.

use std::collections::BTreeMap;

use uniprof_wire::layout::Geometry;
use uniprof_wire::tables::{HISTOGRAM_BUCKETS, HISTOGRAM_WORDS, Histogram, MAX_HISTOGRAMS, histogram_field};

use crate::memory::Window;

/// Words of one histogram before its buckets, in a recording.
const HEAD: usize = 5;

/// What the histograms said when they were looked at, by site. Those without a value are left out.
///
/// ```
/// use uniprof_collector::histograms::Histograms;
/// use uniprof_wire::tables::Histogram;
///
/// let mut latency = Histogram::default();
/// (1..=100).for_each(|value| latency.record(value));
/// let earlier: Histograms = [(64, latency.clone())].into_iter().collect();
/// latency.record(5000);
/// let later: Histograms = [(64, latency)].into_iter().collect();
///
/// assert_eq!(later.get(64).unwrap().count, 101);
/// assert_eq!(later.since(&earlier).get(64).unwrap().count, 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histograms(BTreeMap<u32, Box<Histogram>>);

impl Histograms {
    /// Reads those of a region, whose words may be changing meanwhile: then a value may be in the count and not in its bucket.
    pub(crate) fn read(region: &Window, geometry: Geometry) -> Self {
        let mut all = Self::default();
        let mut words = [0; HISTOGRAM_WORDS];
        for vcpu in 0..geometry.vcpus() {
            let first = geometry.histogram_table(vcpu) / 8;
            for number in 0..geometry.histograms() as usize {
                let at = first + number * HISTOGRAM_WORDS;
                let has_values = region.load(at + histogram_field::COUNT).is_some_and(|count| count > 0);
                if has_values
                    && region.copy(at, &mut words)
                    && let Some((site, histogram)) = Histogram::from_words(&words)
                {
                    all.add(site, &histogram);
                }
            }
        }
        all
    }

    /// Reads those of a copy of the region's part that has nothing else.
    pub(crate) fn of_table(table: &[u64], geometry: Geometry) -> Self {
        let count = geometry.vcpus() as usize * geometry.histograms() as usize;
        let copies = table.as_chunks::<HISTOGRAM_WORDS>().0.iter().take(count);
        let mut all = Self::default();
        for words in copies.filter(|words| words[histogram_field::COUNT] > 0) {
            if let Some((site, histogram)) = Histogram::from_words(words) {
                all.add(site, &histogram);
            }
        }
        all
    }

    /// At most as many sites as there are histograms, whatever the guest says on each vCPU.
    fn add(&mut self, site: u32, histogram: &Histogram) {
        if let Some(sum) = self.0.get_mut(&site) {
            sum.add(histogram);
        } else if self.0.len() < MAX_HISTOGRAMS as usize {
            self.0.insert(site, Box::new(histogram.clone()));
        }
    }

    /// That of a site.
    #[must_use]
    pub fn get(&self, site: u32) -> Option<&Histogram> {
        self.0.get(&site).map(|histogram| &**histogram)
    }

    /// All of them, by site.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Histogram)> {
        self.0.iter().map(|(site, histogram)| (*site, &**histogram))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What came after an earlier look at the same guest.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let came = |(site, now): (u32, &Histogram)| match earlier.get(site) {
            Some(before) => (site, now.since(before)),
            None => (site, now.clone()),
        };
        self.iter().map(came).filter(|(_, histogram)| histogram.count > 0).collect()
    }

    /// For a recording: for each `site │ count │ sum │ maximum │ n`, then `n` times `bucket │ its count`.
    pub(crate) fn to_words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        for (site, histogram) in self.iter() {
            let used = || histogram.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
            words.extend([site.into(), histogram.count, histogram.sum, histogram.max]);
            words.push(used().count() as u64);
            words.extend(used().flat_map(|(bucket, count)| [bucket as u64, *count]));
        }
        words
    }

    /// Out of a recording. What makes no sense ends it: what came before is good.
    #[must_use]
    pub fn from_words(mut words: &[u64]) -> Self {
        let mut all = Self::default();
        while let Some((&[site, count, sum, max, used], rest)) = words.split_first_chunk::<HEAD>() {
            let (Ok(site), Ok(used)) = (u32::try_from(site), usize::try_from(used)) else { break };
            let Some((buckets, rest)) = used
                .checked_mul(2)
                .and_then(|used| rest.split_at_checked(used))
                .filter(|_| used > 0 || count > 0)
            else {
                break;
            };
            words = rest;
            let mut histogram = Histogram { count, sum, max, ..Histogram::default() };
            for [bucket, count] in buckets.as_chunks::<2>().0 {
                if let Some(slot) = usize::try_from(*bucket).ok().and_then(|at| histogram.buckets.get_mut(at))
                {
                    *slot = *count;
                }
            }
            all.add(site, &histogram);
        }
        all
    }

    /// Most words that [`Histograms::to_words`] gives.
    pub(crate) const MOST_WORDS: usize = MAX_HISTOGRAMS as usize * (HEAD + 2 * HISTOGRAM_BUCKETS);
}

impl FromIterator<(u32, Histogram)> for Histograms {
    fn from_iter<T: IntoIterator<Item = (u32, Histogram)>>(histograms: T) -> Self {
        let mut all = Self::default();
        histograms.into_iter().for_each(|(site, histogram)| all.add(site, &histogram));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    #[test]
    fn a_guests_vcpus_are_added_up() {
        let geometry = Geometry::with_ring_bytes(2, 8 << 10).unwrap().with_histograms(3).unwrap();
        let mut region = vec![0; geometry.region_bytes() / 8];
        let mut put = |vcpu: u32, number: usize, site: u32, histogram: &Histogram| {
            let at = geometry.histogram_table(vcpu) / 8 + number * HISTOGRAM_WORDS;
            let head = [1 + u64::from(site), histogram.count, histogram.sum, histogram.max, 0, 0, 0, 0];
            for (word, value) in region[at..].iter_mut().zip(head.iter().chain(&histogram.buckets)) {
                *word = *value;
            }
        };
        put(0, 0, 40, &of(&[1, 2]));
        put(1, 0, 40, &of(&[1, 90]));
        put(0, 1, 80, &of(&[]));
        put(1, 2, 120, &of(&[u64::MAX]));
        let read = Histograms::read(&Window::from_words(&region), geometry);
        let wanted: Histograms = [(40, of(&[1, 2, 1, 90])), (120, of(&[u64::MAX]))].into_iter().collect();
        assert_eq!(read, wanted);
        assert_eq!(Histograms::from_words(&read.to_words()), wanted);
        // A window that is shorter than its geometry, as that of a dump can be.
        assert_eq!(Histograms::read(&Window::from_words(&region[..100]), geometry), Histograms::default());
    }

    #[test]
    fn a_guest_that_names_a_site_anew_on_each_vcpu_fills_no_memory() {
        let many = (0..1000).map(|site| (site, of(&[1])));
        assert_eq!(many.collect::<Histograms>().iter().count(), MAX_HISTOGRAMS as usize);
    }

    #[test]
    fn words_of_any_kind_are_read_as_far_as_they_make_sense() {
        let words = Histograms::from_iter([(8, of(&[5])), (16, of(&[6, 700]))]).to_words();
        for len in 0..words.len() {
            assert!(Histograms::from_words(&words[..len]).iter().count() < 2, "{len} words");
        }
        assert!(Histograms::from_words(&[1, 0, 0, 0, u64::MAX]).is_empty());
        assert!(Histograms::from_words(&[0; 1000]).is_empty());
        let no_such_bucket = Histograms::from_words(&[8, 1, 5, 5, 1, 1 << 40, 1]);
        assert_eq!(no_such_bucket.get(8).unwrap().quantile(0.5), None);
        assert!(words.len() < Histograms::MOST_WORDS);
    }
}
