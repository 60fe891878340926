//! Spans: what took how long. A span is on one thread, or goes from thread to thread.

use uniprof_wire::record::Kind;

use uniprof_wire::ring::{Payload, WriterWords};

use crate::arg::Args;
use crate::event::{Stamp, emit, emit_for};

/// Which span this is, wherever it goes: see [`Span::detach`]. What its first record begins with: two words, which functions return in
/// registers. A time of 0 stands for a span of a site that is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(Stamp);

impl SpanId {
    /// As two words, for languages without these types; both 0 for a span of a site that is off.
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        [self.0.shape, self.0.tsc]
    }

    /// What [`SpanId::to_words`] gave.
    #[must_use]
    pub const fn from_words([shape, tsc]: [u64; 2]) -> Self {
        Self(Stamp { shape, tsc })
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
        Self(SpanId(emit(Kind::SpanBegin, site, args)))
    }

    /// A span of a site that is off: nothing is recorded.
    #[inline(always)]
    pub const fn off() -> Self {
        Self(SpanId::from_words([0; 2]))
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
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.0.tsc != 0 {
            end(self.0.0);
        }
    }
}

#[inline(never)]
fn end(begin: Stamp) {
    emit_for(Kind::SpanEnd, begin.shape as u32, |end| Ended { begin, moved: begin.shape != end.shape });
}

/// What the record of an end has behind its site: when the span began and, if that was on another thread, on which.
#[derive(Clone, Copy)]
struct Ended {
    begin: Stamp,
    moved: bool,
}

impl Args for Ended {
    const MOST_WORDS: usize = 2;

    #[inline(always)]
    fn words(self) -> usize {
        1 + usize::from(self.moved)
    }

    #[inline(always)]
    fn put<W: WriterWords>(&self, payload: &Payload<W>, at: usize) -> usize {
        payload.put_counted(at, self.begin.tsc);
        if self.moved {
            payload.put_counted(at + 1, self.begin.shape >> 32);
        }
        at + self.words()
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
