//! Any other architecture: ordinary atomics, correct and slower.

use core::sync::atomic::{AtomicU64, Ordering};

use uniprof_wire::layout::Architecture;

pub(crate) const ARCHITECTURE: Architecture = Architecture::Aarch64;

/// Adds `value` to `*word`.
///
/// # Safety
/// `word` is valid, aligned, and written by this vCPU only.
pub(crate) unsafe fn local_add(word: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `word`.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(value, Ordering::Release);
}

/// Stores `new` in `*word` if it holds `old`; whether it did.
///
/// # Safety
/// As [`local_add`].
pub(crate) unsafe fn local_compare_exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as above.
    let word = unsafe { AtomicU64::from_ptr(word) };
    word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Frame pointer and stack pointer of the caller; not known here.
pub(crate) fn frame() -> (usize, usize) {
    (0, 0)
}
