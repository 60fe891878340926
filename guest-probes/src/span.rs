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

impl SpanId {
    /// As two words, for languages without these types; both 0 for a span of a site that is off.
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        match self.0 {
            Some(Begun { site, thread, tsc }) => [site as u64 | (thread as u64) << 32, tsc],
            None => [0; 2],
        }
    }

    /// What [`SpanId::to_words`] gave.
    #[must_use]
    pub const fn from_words([shape, tsc]: [u64; 2]) -> Self {
        if tsc == 0 {
            return Self(None);
        }
        Self(Some(Begun { site: shape as u32, thread: (shape >> 32) as u32, tsc }))
    }
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
