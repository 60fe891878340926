//! Text without a heap.

use core::fmt::{self, Write};

/// Formatted text of at most `N` bytes; what does not fit is left out.
pub(crate) struct FixedText<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> FixedText<N> {
    pub(crate) fn of(text: fmt::Arguments<'_>) -> Self {
        let mut fixed = Self { bytes: [0; N], length: 0 };
        // `write_str` below does not fail; a `Display` that does costs the rest of its text.
        let _ = fixed.write_fmt(text);
        fixed
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = &self.bytes[..self.length];
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

impl<const N: usize> Write for FixedText<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = text.len().min(N - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}
