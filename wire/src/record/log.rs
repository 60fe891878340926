//! Lines of text.

use super::Text;

/// Longest log line or mark in bytes; longer ones are cut by the guest.
pub const MAX_LOG_BYTES: usize = 1024;

/// A line of the guest's log or console.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// When.
    pub tsc: u64,
    /// On which thread.
    pub thread: u32,
    /// The line.
    pub text: Text<'a>,
}

impl core::fmt::Debug for LogRecord<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Log {{ tsc: {}, thread: {}, text: {:?} }}", self.tsc, self.thread, self.text)
    }
}
