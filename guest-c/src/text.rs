//! Text from C: bytes up to a NUL.

use core::ffi::{CStr, c_char};

/// A text as bytes; none where there is a null pointer.
///
/// # Safety
/// `text` is null, or points to a NUL-terminated text that stays as it is while the result is used.
pub(crate) unsafe fn bytes_of<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for the text.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// A text as far as it is UTF-8.
///
/// # Safety
/// As [`bytes_of`].
pub(crate) unsafe fn text_of<'a>(text: *const c_char) -> &'a str {
    // SAFETY: the same contract.
    valid(unsafe { bytes_of(text) })
}

/// The bytes as far as they are UTF-8.
pub(crate) fn valid(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
