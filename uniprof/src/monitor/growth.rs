//! How the heap has grown by stack, in a guest of which only what lives now is seen: looks at it, compared.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Instant;

use rustc_hash::{FxBuildHasher, FxHashMap};
use uniprof_tui::picture::{HeapSite, Span};

use super::span::whole;

/// Looks that are kept: a look takes at least a second. The first is kept besides.
const MOST_LOOKS: usize = 128;

/// The last looks.
#[derive(Debug, Default)]
pub(super) struct Growth {
    looks: VecDeque<Look>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    /// Bytes by stack.
    bytes: FxHashMap<u64, u64>,
}

impl Growth {
    /// Takes a look in.
    pub(super) fn take(&mut self, at: Instant, sites: &[HeapSite]) {
        if self.looks.len() >= MOST_LOOKS {
            self.looks.remove(1);
        }
        let bytes = sites.iter().map(|site| (key(site), site.bytes)).collect();
        self.looks.push_back(Look { at, bytes });
    }

    /// Says of each of the sites of the last look how much it has grown within a span.
    pub(super) fn tell(&self, span: Span, sites: &mut [HeapSite]) {
        let Some(now) = self.looks.back() else { return };
        let age = |look: &Look| now.at.duration_since(look.at).as_secs_f64();
        let wanted = whole(span);
        let is_old = |look: &&Look| age(look) > 0.0 && age(look) >= wanted * 0.9;
        // Where none is as old as that, the oldest is.
        let then = self.looks.iter().rev().find(is_old).or(self.looks.front()).filter(|look| age(look) > 0.0);
        for site in sites {
            site.growth_rate = then.map_or(0.0, |then| {
                let before = then.bytes.get(&key(site)).copied().unwrap_or(0);
                rate(site.bytes, before, age(then))
            });
        }
    }
}

/// Bytes per second from `before` to `now`.
pub(super) fn rate(now: u64, before: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (now as f64 - before as f64) / seconds } else { 0.0 }
}

fn key(site: &HeapSite) -> u64 {
    FxBuildHasher.hash_one((&site.function, &site.stack))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn site(function: &str, bytes: u64) -> HeapSite {
        let function = function.to_owned();
        HeapSite { stack: vec![function.clone()], function, blocks: 1, bytes, growth_rate: 9.0 }
    }

    fn told(growth: &Growth, span: Span, sites: &[HeapSite]) -> Vec<f64> {
        let mut sites = sites.to_vec();
        growth.tell(span, &mut sites);
        sites.iter().map(|site| site.growth_rate).collect()
    }

    #[test]
    fn growth_is_that_of_the_span_that_is_wanted() {
        let (mut growth, begin) = (Growth::default(), Instant::now());
        let mut look = |second, a, b| {
            let sites = [site("a", a), site("b", b)];
            growth.take(begin + Duration::from_secs(second), &sites);
            (told(&growth, Span::Last(1.0), &sites), told(&growth, Span::All, &sites))
        };
        assert_eq!(look(0, 100, 50), (vec![0.0, 0.0], vec![0.0, 0.0]), "nothing to compare it with");
        assert_eq!(look(1, 140, 50), (vec![40.0, 0.0], vec![40.0, 0.0]));
        assert_eq!(look(2, 100, 70), (vec![-40.0, 20.0], vec![0.0, 10.0]));
        assert_eq!(
            told(&growth, Span::Last(10.0), &[site("c", 30)]),
            [15.0],
            "of two seconds, for want of ten"
        );
    }

    #[test]
    fn the_first_look_stays_and_others_go() {
        let (mut growth, begin) = (Growth::default(), Instant::now());
        for second in 0..1000 {
            growth.take(begin + Duration::from_secs(second), &[site("a", 10 * second)]);
        }
        assert_eq!(growth.looks.len(), MOST_LOOKS);
        let sites = [site("a", 9990)];
        for span in [Span::All, Span::Last(10.0), Span::Decay(10.0), Span::Last(f64::NAN)] {
            assert_eq!(told(&growth, span, &sites), [10.0], "{span:?}");
        }
    }
}
