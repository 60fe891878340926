//! How fast a guest's clock runs, as its pairs with the host's clock tell: what the guest says of that is a measurement that it made in some
//! 30 ms of its boot, or is invented.

use super::mapping::Sight;

/// A guest's own figure is taken if nothing contradicts it by more than that share.
const AGREES: f64 = 0.01;
/// How much a figure may still be off then: calibration in a vCPU that the host takes away now and then is no better.
const STATED_ERROR: f64 = 2e-3;
/// The same of a figure that was measured here.
const MEASURED_ERROR: f64 = 1e-2;
/// Of such stretches, a guest is hardly ever paused in most; and so many there must be to say that it is wrong about itself.
const SHORT_NS: i64 = 200_000_000;
const FEWEST_SHORT: usize = 10;
/// Over longer ones what is not known of the ends is small.
const LONG_NS: [i64; 3] = [1_000_000_000, 10_000_000_000, 100_000_000_000];
const FEWEST_LONG: usize = 3;

/// A rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    /// Nanoseconds of a tick.
    pub(super) tick_ns: f64,
    /// A tick is shorter than that by no more than this share.
    pub(super) error: f64,
    /// Whether the guest's own figure is wrong, or missing.
    pub(super) is_measured: bool,
}

/// The rate; `None` where neither the guest says one nor the pairs do. Pauses only make ticks look longer, so of several stretches the
/// short ones are believed; but not the very shortest, for a pair may be spoiled.
pub(super) fn rate(stated_hz: u64, sights: &[Sight]) -> Option<Rate> {
    let stated = (stated_hz > 0).then(|| 1e9 / stated_hz as f64);
    let most = LONG_NS.iter().filter_map(|baseline| {
        let stretches = stretches(sights, *baseline, false);
        quantile(stretches.iter().map(|stretch| stretch.most), 0.1, 1)
    });
    let most = most.min_by(f64::total_cmp);
    let long = stretches(sights, LONG_NS[0], true);
    let sharp = long.iter().filter(|stretch| stretch.is_sharp);
    let usual = quantile(sharp.map(|stretch| stretch.middle), 0.25, FEWEST_LONG);
    let measured = usual.map(|usual| most.map_or(usual, |most| usual.min(most)));
    let measured = measured.map(|tick_ns| Rate { tick_ns, error: MEASURED_ERROR, is_measured: true });
    let Some(stated) = stated else { return measured };
    let short = stretches(sights, SHORT_NS, true);
    let least = quantile(short.iter().map(|stretch| stretch.least), 0.1, FEWEST_SHORT);
    let is_contradicted = most.is_some_and(|most| most < stated * (1.0 - AGREES))
        || least.is_some_and(|least| least > stated * (1.0 + AGREES));
    match measured.filter(|_| is_contradicted) {
        Some(measured) => Some(measured),
        None => {
            let tick_ns = most.map_or(stated, |most| stated.min(most));
            Some(Rate { tick_ns, error: STATED_ERROR, is_measured: false })
        }
    }
}

/// What a tick took between two pairs: at least, by the middles of what is known of them, and at most.
#[derive(Clone, Copy)]
struct Stretch {
    least: f64,
    middle: f64,
    most: f64,
    /// Whether what is not known is small.
    is_sharp: bool,
}

/// From each pair to the first that is `baseline` later; `apart`: the next stretch begins where the last one ended, so that a pause lies in
/// one of them only.
fn stretches(sights: &[Sight], baseline: i64, apart: bool) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut begin, mut end) = (0, 0);
    while let Some(first) = sights.get(begin) {
        while sights.get(end).is_some_and(|last| last.high - first.high < baseline) {
            end += 1;
        }
        let Some(last) = sights.get(end) else { break };
        let (blur, long) = (first.width() + last.width(), last.high - first.high);
        let ticks = (last.tsc - first.tsc) as f64;
        stretches.push(Stretch {
            least: (last.low - first.high) as f64 / ticks,
            middle: (last.low + last.high - first.low - first.high) as f64 / 2.0 / ticks,
            most: (last.high - first.low) as f64 / ticks,
            is_sharp: blur <= long / 20,
        });
        begin = if apart { end } else { begin + 1 };
    }
    stretches
}

fn quantile(values: impl Iterator<Item = f64>, share: f64, fewest: usize) -> Option<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get((all.len() as f64 * share) as usize).copied().filter(|_| all.len() >= fewest)
}
