//! Any other architecture: ordinary atomics, correct and slower.

use core::sync::atomic::{AtomicU64, Ordering};

use uniprof_wire::layout::Architecture;

use super::Aside;

pub(crate) const ARCHITECTURE: Architecture = Architecture::Aarch64;

/// Adds `value` to `*word`.
///
/// # Safety
/// `word` is valid, aligned, and written by this vCPU only.
pub(crate) unsafe fn local_add(word: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `word`.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(value, Ordering::Release);
}

/// Adds 1 to `words[index]`.
///
/// # Safety
/// `words[index]` is valid, aligned, and written by this vCPU only.
pub(crate) unsafe fn local_increment(words: *mut u64, index: usize) {
    // SAFETY: as above.
    unsafe { local_add(words.add(index), 1) }
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

/// Whether a bit below 31 of a static is set.
macro_rules! has_bits {
    ($word:path, $bits:expr) => {
        $word.load(::core::sync::atomic::Ordering::Relaxed) & $bits != 0
    };
}
pub(crate) use has_bits;

/// Whether the 32-bit word at byte `$offset` of a static is not 0. Nothing that the compiler sees ever changes a site: it must not know which
/// word this is, or it would take a site that is off for one that is always off.
#[doc(hidden)]
#[macro_export]
macro_rules! __is_on {
    ($word:path, $offset:expr) => {{
        // SAFETY: a static's word, which is only accessed as an atomic.
        let word = unsafe {
            let word = ::core::hint::black_box(&raw const $word).cast_mut().byte_add($offset);
            ::core::sync::atomic::AtomicU32::from_ptr(word.cast())
        };
        word.load(::core::sync::atomic::Ordering::Relaxed) != 0
    }};
}

/// Calls `function`, which is seldom needed.
pub(crate) fn call_aside(function: Aside, [a, b, c]: [u64; 3]) -> u64 {
    function(a, b, c)
}

/// Frame pointer and stack pointer of the caller; not known here.
pub(crate) fn frame() -> (usize, usize) {
    (0, 0)
}

/// [`poll`](crate::poll()) for whoever calls this, whose registers are not known here.
pub extern "C" fn poll_here() {
    crate::poll::poll_as(&[0; 8]);
}

/// Does nothing.
pub(crate) fn nothing() {}
