//! Log-linear buckets of durations (as in HdrHistogram, Tene): each power of two is split into `2^split_log2` of them, so that a
//! value is known to within that part of itself.

/// The bucket that `value` falls into.
#[must_use]
pub const fn bucket_of(value: u64, split_log2: u32) -> u16 {
    if value < 1 << split_log2 {
        return value as u16;
    }
    let shift = value.ilog2() - split_log2;
    ((shift as u16 + 1) << split_log2) | (value >> shift & ((1 << split_log2) - 1)) as u16
}

/// The largest value that falls into `bucket`.
#[must_use]
pub const fn upper_end(bucket: u16, split_log2: u32) -> u64 {
    let row = (bucket >> split_log2) as u32;
    if row == 0 {
        return bucket as u64;
    }
    let within = (bucket as u64 & ((1 << split_log2) - 1)) | 1 << split_log2;
    (within << (row - 1)) + ((1 << (row - 1)) - 1)
}
