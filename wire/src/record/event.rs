//! Records that come from sites: events, spans, counters, calls.

/// Most arguments of one event, span or call.
pub const MAX_ARGS: usize = 16;
/// Most bytes that are kept of one argument that is text or bytes; the guest cuts what is longer, and says how long it was.
pub const MAX_ARG_BYTES: usize = 128;
/// Most words of all arguments of one record together; what does not fit is cut.
pub const MAX_ARG_WORDS: usize = 128;

/// An event, or the beginning of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRecord<'a> {
    /// When.
    pub tsc: u64,
    /// Byte offset of its entry in the site section.
    pub site: u32,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// Raw arguments, at most [`MAX_ARG_WORDS`]; the site knows their names and types ([`Site::values`](crate::site::Site::values)).
    pub args: &'a [u64],
}

/// The end of a span. It carries its begin, so that it stands alone when the begin has been overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanEndRecord {
    /// When.
    pub tsc: u64,
    /// Byte offset of its entry in the site section.
    pub site: u32,
    /// On which thread.
    pub thread: u32,
    /// TSC of the matching begin.
    pub begin: u64,
    /// The thread on which it began: spans go from thread to thread. With the site and `begin` it says which span this is.
    pub begun_on: u32,
}

/// A new value of a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRecord {
    /// When.
    pub tsc: u64,
    /// Byte offset of its entry in the site section.
    pub site: u32,
    /// On which thread.
    pub thread: u32,
    /// The value, as the type of the site's argument says.
    pub value: u64,
}

/// A call of the kernel's own interface, written when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord<'a> {
    /// When it returned.
    pub tsc: u64,
    /// Byte offset of its entry in the site section.
    pub site: u32,
    /// On which thread.
    pub thread: u32,
    /// When it was called, TSC.
    pub begin: u64,
    /// The arguments as in [`EventRecord::args`], then the result: the site's last argument. A call that was left without a result
    /// (by an early return) has none.
    pub args: &'a [u64],
}
