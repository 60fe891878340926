//! Spans: what took how long. A span is on one thread, or goes from thread to thread.

use uniprof_wire::record::Kind;

use crate::arg::{Args, Word};
use crate::event::emit;
use crate::platform::{self, ThreadId};

/// Which span this is, wherever it goes: see [`Span::detach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(Option<Begun>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    site: u32,
    thread: ThreadId,
    tsc: u64,
}

/// An open span: ends when dropped. Made by [`span!`](crate::span!).
#[must_use = "a span lasts until it is dropped: bind it to a name, `let _span = span!(…)`"]
#[derive(Debug)]
pub struct Span(SpanId);

impl Span {
    /// Opens a span of the site.
    #[inline(never)]
    pub fn begin<A: Args>(site: u32, args: A) -> Self {
        let thread = platform::thread();
        let tsc = emit(Kind::SpanBegin, site, args);
        Self(SpanId(Some(Begun { site, thread, tsc })))
    }

    /// A span of a site that is off: nothing is recorded.
    #[inline(always)]
    pub const fn off() -> Self {
        Self(SpanId(None))
    }

    /// Lets the span go on beyond this scope: whoever gets the number, on this thread or on another, ends it
    /// with [`Span::adopt`]. It may be kept where a request waits for its turn, for example.
    #[must_use = "the span ends with the number that stands for it: hand it on to `Span::adopt`"]
    pub fn detach(self) -> SpanId {
        let id = self.0;
        core::mem::forget(self);
        id
    }

    /// Takes over a span that was [detached](Span::detach): it ends when what is returned is dropped.
    #[inline]
    pub const fn adopt(id: SpanId) -> Self {
        Self(id)
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        let SpanId(Some(Begun { site, thread, tsc })) = self.0 else { return };
        if platform::thread() == thread {
            emit(Kind::SpanEnd, site, (Word(tsc),));
        } else {
            emit(Kind::SpanEnd, site, (Word(tsc), Word(thread.into())));
        }
    }
}

/// Opens a span that lasts as long as the value it returns. Arguments as for [`event!`](crate::event!).
#[macro_export]
macro_rules! span {
    ($name:literal $(, $key:ident $(: $type:ident)? = $value:expr)* $(,)?) => {{
        if let Some(site) = $crate::__site!(Span, $name $(, $key $($type)?)*) {
            $crate::Span::begin(site.id(), ($($crate::__arg!($($type)? => $value),)*))
        } else {
            $crate::Span::off()
        }
    }};
}
