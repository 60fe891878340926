//! Which of many differences are sure.
//!
//! One comparison in twenty is wrong at 95 %; a profile has hundreds. The procedure of Benjamini and Hochberg (J. R.
//! Statist. Soc. B 57, 1995) bounds the expected share of false ones among those that are called sure. Intervals are widened
//! to the level at which it decided (Benjamini and Yekutieli, J. Am. Stat. Assoc. 100, 2005), so that an interval excludes
//! zero just where the difference is sure.

/// How sure a single comparison has to be, so that of all `chances` that are called sure at most the share `false_share`
/// is expected to be so by chance.
pub(super) fn level(chances: &[f64], false_share: f64) -> f64 {
    let count = chances.len().max(1) as f64;
    let mut sorted = chances.to_vec();
    sorted.sort_by(f64::total_cmp);
    let step = false_share / count;
    let called = sorted.iter().enumerate().rev().find(|(rank, chance)| **chance <= step * (*rank + 1) as f64);
    step * called.map_or(1.0, |(rank, _)| (rank + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn the_level_grows_with_what_is_sure() {
        assert_eq!(level(&[], 0.05), 0.05);
        assert_eq!(level(&[0.04], 0.05), 0.05);
        assert_eq!(level(&[0.5, 0.04, 0.9, 0.3], 0.05), 0.0125, "none is sure");
        // The fifteen of the paper's own example, of which four are sure.
        let paper = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        assert!((level(&paper, 0.05) - 0.05 * 4.0 / 15.0).abs() < 1e-12);
    }
}
