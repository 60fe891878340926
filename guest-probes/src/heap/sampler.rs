//! Which bytes are sampled, and what a sampled block stands for. Integers only: kernels do not save floating-point state here.
//!
//! Samples are a Poisson process over allocated bytes, of one in `mean` bytes. A block of `s` bytes is hit by at least one with probability
//! `p = 1 - exp(-s / mean)`, so a sampled block that counts as `s / p` bytes makes the expected sum what was allocated, for every size
//! by itself. (The same estimator as in tcmalloc and Go's `runtime.MemProfile`.)

const ONE: u128 = 1 << 32;
/// ln 2 in units of 2^-32.
const LN_2: u128 = 2_977_044_472;
/// From this many means on, a block is as good as always sampled.
const CERTAIN: u128 = 32;

/// Bytes up to the next sample: exponentially distributed with the mean `mean`, at least 1.
pub(super) fn gap(random: &mut u64, mean: u64) -> u64 {
    /// Random bits in use.
    const BITS: u32 = 52;
    // 1 to 2^52, so that the logarithm exists. -ln(u / 2^52) is exponentially distributed, as u / 2^52 is uniform.
    let uniform = (next(random) >> (64 - BITS)) + 1;
    let exponent = (u128::from(BITS) << 32) - log2(uniform);
    let bytes = (((exponent * LN_2) >> 32) * u128::from(mean)) >> 32;
    u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
}

/// Bytes that a sampled block of so many bytes stands for; never fewer than it has.
pub(super) fn weight(bytes: u64, mean: u64) -> u64 {
    let (bytes, mean) = (u128::from(bytes), u128::from(mean.max(1)));
    if bytes / mean >= CERTAIN {
        return bytes as u64;
    }
    // Halved until it is below 1, where the series converges at once; then 1 - (1 - p)² as often.
    let mut x = (bytes << 32) / mean;
    let mut halvings = 0;
    while x >= ONE {
        x /= 2;
        halvings += 1;
    }
    // (1 - exp(-x)) / x = 1 - x/2 (1 - x/3 (1 - x/4 (…)))
    let ratio = (2..=12).rev().fold(ONE, |inner, n| ONE - ((x * inner / n) >> 32));
    if halvings == 0 {
        return (mean * ONE / ratio).max(bytes) as u64;
    }
    let mut miss = ONE - ((x * ratio) >> 32);
    for _ in 0..halvings {
        miss = (miss * miss) >> 32;
    }
    (bytes * ONE / (ONE - miss)) as u64
}

/// The logarithm to base 2 of a number from 1 on, in units of 2^-32.
fn log2(number: u64) -> u128 {
    /// Bits of the fraction that are computed.
    const FRACTION: u32 = 24;
    let whole = number.ilog2();
    // From 1 to 2, in units of 2^-31.
    let mut mantissa = if whole > 31 { number >> (whole - 31) } else { number << (31 - whole) };
    let mut fraction = 0;
    for _ in 0..FRACTION {
        mantissa = (mantissa * mantissa) >> 31;
        let bit = mantissa >> 32;
        mantissa >>= bit;
        fraction = fraction << 1 | bit;
    }
    u128::from(whole) << 32 | u128::from(fraction << (32 - FRACTION))
}

/// xorshift64*: the multiplication makes the high bits good enough for a logarithm.
fn next(random: &mut u64) -> u64 {
    let mut x = (*random).max(1);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *random = x;
    x.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_right() {
        for number in [1, 2, 3, 10, 1 << 31, (1 << 31) + 12_345, 1 << 40, (1 << 52) - 1, 1 << 52] {
            let told = log2(number) as f64 / ONE as f64;
            assert!((told - (number as f64).log2()).abs() < 1e-6, "{number}: {told}");
        }
    }

    #[test]
    fn weights_are_bytes_by_probability() {
        for mean in [4096, 512 << 10, 1 << 30] {
            for bytes in [1, 16, 100, 4000, 70_000, 512 << 10, 3 << 20, 16 << 20, 1 << 34] {
                let exact = bytes as f64 / -(-(bytes as f64) / mean as f64).exp_m1();
                let told = weight(bytes, mean) as f64;
                assert!((told - exact).abs() <= exact * 1e-5 + 1.0, "{bytes} of {mean}: {told}, not {exact}");
                assert!(told >= bytes as f64);
            }
        }
        assert_eq!(weight(u64::MAX, 4096), u64::MAX);
        assert!(weight(0, 4096) >= 4096, "a block of nothing stands for something once it is sampled");
    }

    #[test]
    fn gaps_are_exponential() {
        let mut random = 7;
        let gaps: Vec<f64> = (0..200_000).map(|_| gap(&mut random, 1 << 19) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64 / f64::from(1 << 19);
        assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
        for quantile in [0.01_f64, 0.1, 0.5, 0.9, 0.99] {
            let below = -(1.0 - quantile).ln() * f64::from(1 << 19);
            let share = gaps.iter().filter(|&&gap| gap < below).count() as f64 / gaps.len() as f64;
            let error = (quantile * (1.0 - quantile) / gaps.len() as f64).sqrt();
            assert!(
                (share - quantile).abs() < 4.0 * error,
                "{share} of the gaps below the {quantile} quantile"
            );
        }
    }

    /// The whole point: the weights of sampled blocks sum to what was allocated, for each size by itself.
    #[test]
    fn the_estimate_of_each_size_is_unbiased() {
        const MEAN: u64 = 64 << 10;
        let mut random = 42;
        let mut left = gap(&mut random, MEAN);
        let sizes = [24_u64, 200, 4000, 60_000, 300_000];
        let (mut allocated, mut estimated, mut sampled) = ([0_u64; 5], [0_u64; 5], [0_u32; 5]);
        for round in 0..2_000_000_u64 {
            // Small blocks are many and large ones few, as in life.
            let class = (round.trailing_zeros() as usize / 2).min(4);
            let bytes = sizes[class];
            allocated[class] += bytes;
            if bytes < left {
                left -= bytes;
                continue;
            }
            left = gap(&mut random, MEAN);
            estimated[class] += weight(bytes, MEAN);
            sampled[class] += 1;
        }
        for class in 0..5 {
            let ratio = estimated[class] as f64 / allocated[class] as f64;
            // Four standard errors: of n samples, 1/√n, and less where nearly every block is one.
            let bound = 4.0 / f64::from(sampled[class]).sqrt();
            assert!(sampled[class] > 100, "{sampled:?}");
            assert!((ratio - 1.0).abs() < bound, "blocks of {}: {ratio} ± {bound}", sizes[class]);
        }
    }
}
