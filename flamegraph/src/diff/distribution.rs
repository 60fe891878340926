//! Tails of the normal distribution and of Student's t.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, PI};

/// Degrees of freedom above which t and the normal distribution are the same for every use made of them here.
const NORMAL_FROM: u32 = 1_000;

/// The probability that |t| exceeds `value` by chance; `freedom` of `None` is the normal distribution.
pub(super) fn two_sided(value: f64, freedom: Option<u32>) -> f64 {
    let value = value.abs();
    match freedom {
        Some(freedom) if freedom < NORMAL_FROM => student(value, freedom),
        _ => normal(value),
    }
}

/// The value that |t| exceeds with `probability` (above 0, at most 1) by chance.
pub(super) fn quantile(probability: f64, freedom: Option<u32>) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided(high, freedom) > probability && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if two_sided(middle, freedom) > probability { low = middle } else { high = middle }
    }
    high
}

/// Near the middle the series, in the tails the continued fraction: Abramowitz and Stegun, 26.2.11 and 26.2.14.
fn normal(value: f64) -> f64 {
    let density = (-value * value / 2.0).exp() / (2.0 * PI).sqrt();
    if value < 3.0 {
        let (mut term, mut sum) = (value, value);
        for step in 1..60 {
            term *= value * value / f64::from(2 * step + 1);
            sum += term;
        }
        return (1.0 - 2.0 * density * sum).max(0.0);
    }
    let fraction = (1..=60).rev().fold(value, |below, step| value + f64::from(step) / below);
    2.0 * density / fraction
}

/// The finite sums for whole degrees of freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn student(value: f64, freedom: u32) -> f64 {
    let angle = (value / f64::from(freedom).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let square = cosine * cosine;
    let sum = |first: f64, start: u32| {
        let (mut term, mut sum) = (first, 0.0);
        for step in (start..).step_by(2).take(freedom as usize / 2) {
            sum += term;
            term *= square * f64::from(step) / f64::from(step + 1);
        }
        sum
    };
    match freedom {
        0 => 1.0,
        1 => 1.0 - FRAC_2_PI * angle,
        odd if odd % 2 == 1 => {
            // What is beyond the angle, rather than what is within it from one: tails keep their digits for longer.
            FRAC_2_PI * ((FRAC_PI_2 - angle) - sine * sum(cosine, 2)).max(0.0)
        }
        _ => (1.0 - sine * sum(1.0, 1)).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the tables of Abramowitz and Stegun (26.1, 26.10).
    #[test]
    fn tables_agree() {
        for (probability, freedom, value) in [
            (0.05, None, 1.959_964),
            (0.001, None, 3.290_527),
            (1e-6, None, 4.891_638),
            (0.05, Some(1), 12.706_205),
            (0.05, Some(2), 4.302_653),
            (0.05, Some(15), 2.131_450),
            (0.01, Some(31), 2.744_042),
            (0.001, Some(30), 3.645_959),
            (0.001, Some(15), 4.072_765),
        ] {
            let found = quantile(probability, freedom);
            assert!((found - value).abs() < 1e-4, "{probability} {freedom:?}: {found}, not {value}");
        }
        assert!((two_sided(2.0, None) - 0.045_500_26).abs() < 1e-7);
        assert!((two_sided(3.0, None) - two_sided(2.999_999_9, None)).abs() < 1e-8, "the two forms meet");
        assert_eq!(two_sided(0.0, Some(31)), 1.0);
    }
}
