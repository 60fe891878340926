//! Intervals for a share, for the difference of two shares, and for their ratio.
//!
//! A share's interval is Wilson's score interval (J. Am. Stat. Assoc. 22, 1927). The one of a difference combines those of
//! both shares as Newcombe proposed (Statistics in Medicine 17, 1998, method 10), the one of a ratio in the same way by
//! the method of variance estimates recovery (Donner and Zou, Statistical Methods in Medical Research 21, 2012).

use super::distribution::{quantile, two_sided};

/// An estimate and the bounds around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The best guess.
    pub estimate: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound; infinite where nothing bounds it.
    pub high: f64,
}

/// A share and how much is known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// 0 to 1.
    pub value: f64,
    /// How many independent samples would know as much.
    pub effective_samples: f64,
}

impl Share {
    fn wilson(self, deviations: f64) -> (f64, f64) {
        let Self { value, effective_samples: count } = self;
        if count <= 0.0 {
            return (0.0, 1.0);
        }
        let square = deviations * deviations / count;
        let middle = (value + square / 2.0) / (1.0 + square);
        let spread = value * (1.0 - value) / count + square / (4.0 * count);
        let half = deviations * spread.max(0.0).sqrt() / (1.0 + square);
        ((middle - half).clamp(0.0, value), (middle + half).clamp(value, 1.0))
    }
}

/// Two shares to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Of the first profile.
    pub before: Share,
    /// Of the second profile.
    pub after: Share,
    /// The degrees of freedom with which the effective samples are known; `None` where they are given.
    pub freedom: Option<u32>,
}

impl Evidence {
    /// By how much the share differs (-1 to 1), with an interval that is wrong with probability `alpha`.
    #[must_use]
    pub fn difference(&self, alpha: f64) -> Interval {
        self.difference_within(quantile(alpha, self.freedom))
    }

    /// The same with the bounds so many standard deviations away.
    pub(super) fn difference_within(&self, deviations: f64) -> Interval {
        let (before, after) = (self.before.value, self.after.value);
        let (before_low, before_high) = self.before.wilson(deviations);
        let (after_low, after_high) = self.after.wilson(deviations);
        let down = (after - after_low).hypot(before_high - before);
        let up = (after_high - after).hypot(before - before_low);
        let estimate = after - before;
        Interval { estimate, low: estimate - down, high: estimate + up }
    }

    /// By what the share was multiplied, with an interval that is wrong with probability `alpha`; `None` where it was and
    /// is zero. Infinite where it was zero.
    #[must_use]
    pub fn ratio(&self, alpha: f64) -> Option<Interval> {
        self.ratio_within(quantile(alpha, self.freedom))
    }

    /// The same with the bounds so many standard deviations away.
    pub(super) fn ratio_within(&self, deviations: f64) -> Option<Interval> {
        let (before, after) = (self.before.value, self.after.value);
        if before <= 0.0 && after <= 0.0 {
            return None;
        }
        let (before_low, before_high) = self.before.wilson(deviations);
        let (after_low, after_high) = self.after.wilson(deviations);
        let product = before * after;
        // Each bound is where `after - bound * before` stops to differ from zero.
        let spread = |bound: f64, of: f64| of * of - (bound - of) * (bound - of);
        let (above, below) = (spread(before_high, before), spread(after_low, after));
        let root = (product * product - above * below).max(0.0).sqrt();
        let low = if below <= 0.0 { 0.0 } else { below / (product + root) };
        let (above, below) = (spread(before_low, before), spread(after_high, after));
        let root = (product * product - above * below).max(0.0).sqrt();
        let high = if above <= 0.0 { f64::INFINITY } else { (product + root) / above };
        Some(Interval { estimate: if before > 0.0 { after / before } else { f64::INFINITY }, low, high })
    }

    /// The probability of a difference at least this large where there is none.
    #[must_use]
    pub fn chance(&self) -> f64 {
        let excludes_zero = |deviations: f64| {
            let Interval { low, high, .. } = self.difference_within(deviations);
            low > 0.0 || high < 0.0
        };
        let (mut low, mut high) = (0.0, 64.0);
        if !excludes_zero(1e-9) {
            return 1.0;
        }
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if excludes_zero(middle) { low = middle } else { high = middle }
        }
        two_sided(low, self.freedom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(before: (f64, f64), after: (f64, f64)) -> Evidence {
        let share = |(count, of): (f64, f64)| Share { value: count / of, effective_samples: of };
        Evidence { before: share(before), after: share(after), freedom: None }
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-4, "{found}, not {wanted}");
    }

    /// The examples of Newcombe's table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 5/56 - 0/29, 0/10 - 0/10.
    #[test]
    fn newcombes_own_examples() {
        for (one, other, low, high) in [
            ((56.0, 70.0), (48.0, 80.0), 0.0524, 0.3339),
            ((9.0, 10.0), (3.0, 10.0), 0.1705, 0.8090),
            ((5.0, 56.0), (0.0, 29.0), -0.0381, 0.1926),
            ((0.0, 10.0), (0.0, 10.0), -0.2775, 0.2775),
        ] {
            let found = evidence(other, one).difference(0.05);
            close(found.low, low);
            close(found.high, high);
        }
    }

    #[test]
    fn a_ratio_and_a_difference_agree_on_what_is_sure() {
        for (before, after) in
            [(100.0, 130.0), (100.0, 160.0), (0.0, 9.0), (9.0, 0.0), (0.0, 2.0), (5.0, 5.0)]
        {
            let evidence = evidence((before, 1000.0), (after, 1000.0));
            for alpha in [0.05, 0.001] {
                let (difference, ratio) = (evidence.difference(alpha), evidence.ratio(alpha).unwrap());
                assert_eq!(
                    difference.low > 0.0,
                    ratio.low > 1.0,
                    "{before} {after} {difference:?} {ratio:?}"
                );
                assert_eq!(
                    difference.high < 0.0,
                    ratio.high < 1.0,
                    "{before} {after} {difference:?} {ratio:?}"
                );
                assert_eq!(difference.low > 0.0 || difference.high < 0.0, evidence.chance() < alpha);
            }
        }
        assert_eq!(evidence((0.0, 10.0), (0.0, 10.0)).ratio(0.05), None);
        assert_eq!(evidence((0.0, 10.0), (3.0, 10.0)).ratio(0.05).unwrap().high, f64::INFINITY);
        assert_eq!(evidence((5.0, 10.0), (5.0, 10.0)).chance(), 1.0);
    }
}
