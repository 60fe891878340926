//! Events, spans and counters: records in the events ring, each from a static site.

use uniprof_wire::layout::RingKind;
use uniprof_wire::record::{Kind, MAX_ARGS};
use uniprof_wire::tables::VcpuField;

use crate::platform::{self, Pinned};
use crate::region::writer;
use crate::vcpu::Vcpu;

/// A value that fits one word of an event.
pub trait Arg: Copy {
    /// Its bits; signed integers are extended by sign, floats are taken as `f64`.
    fn word(self) -> u64;
}

macro_rules! integer_arg {
    ($($type:ty),*) => {$(
        impl Arg for $type {
            #[inline(always)]
            fn word(self) -> u64 {
                self as u64
            }
        }
    )*};
}
integer_arg!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, bool, char);

impl Arg for f64 {
    #[inline(always)]
    fn word(self) -> u64 {
        self.to_bits()
    }
}

impl Arg for f32 {
    #[inline(always)]
    fn word(self) -> u64 {
        f64::from(self).to_bits()
    }
}

impl<T> Arg for *const T {
    #[inline(always)]
    fn word(self) -> u64 {
        self as u64
    }
}

/// One event in how many measures its own cost, which then counts for all of them.
const COST_SHARE_LOG2: u32 = 6;

/// Whether the event at `tsc` measures itself: by a hash, because real counters step by more than one.
#[inline(always)]
const fn measures_itself(tsc: u64) -> bool {
    tsc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - COST_SHARE_LOG2) == 0
}

#[inline(always)]
fn emit<const N: usize>(kind: Kind, site: u32, words: [u64; N]) -> u64 {
    const { assert!(N <= MAX_ARGS) };
    let _pinned = Pinned::new();
    let vcpu = platform::vcpu();
    let tsc = platform::now();
    let Some(writer) = writer(vcpu, RingKind::Events) else { return tsc };
    let shape = u64::from(site) | u64::from(platform::thread()) << 32;
    // A refusal is counted in the ring.
    let _ = writer.write(kind, 2 + N, |payload| {
        payload.put(0, tsc);
        payload.put(1, shape);
        (0..N).for_each(|i| payload.put(2 + i, words[i]));
    });
    if measures_itself(tsc) {
        add_cost(vcpu, tsc);
    }
    tsc
}

#[cold]
fn add_cost(vcpu: u32, begin: u64) {
    if let Some(vcpu) = Vcpu::of(vcpu) {
        let cost = platform::now().saturating_sub(begin);
        vcpu.add(VcpuField::ProbeTime, cost << COST_SHARE_LOG2);
    }
}

/// Expansion of [`event!`](crate::event!).
#[inline]
pub fn event<const N: usize>(site: u32, args: [u64; N]) {
    emit(Kind::Event, site, args);
}

/// Expansion of [`counter!`](crate::counter!).
#[inline]
pub fn counter(site: u32, value: u64) {
    emit(Kind::Counter, site, [value]);
}

/// An open span: ends when dropped. Made by [`span!`](crate::span!).
#[must_use = "a span lasts until it is dropped: bind it to a name, `let _span = span!(…)`"]
#[derive(Debug)]
pub struct Span(Option<(u32, u64)>);

impl Span {
    /// Opens a span of the site.
    #[inline]
    pub fn begin<const N: usize>(site: u32, args: [u64; N]) -> Self {
        Self(Some((site, emit(Kind::SpanBegin, site, args))))
    }

    /// A span of a site that is off: nothing is recorded.
    #[inline(always)]
    pub const fn off() -> Self {
        Self(None)
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some((site, begin)) = self.0 {
            emit(Kind::SpanEnd, site, [begin]);
        }
    }
}

/// Records that something happened: a literal name, and up to 16 named arguments of one word each. Where the
/// site is off, the arguments are not evaluated.
///
/// ```text
/// uniprof_probes::event!("net.drop", reason = 3u8, bytes = len);
/// ```
#[macro_export]
macro_rules! event {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {{
        let site = $crate::__site!(Event, $name $(, $key)*);
        if site.enabled() {
            $crate::expansion::event(site.id(), [$($crate::Arg::word($value)),*]);
        }
    }};
}

/// Opens a span that lasts as long as the value it returns. Arguments as for [`event!`](crate::event!).
#[macro_export]
macro_rules! span {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {{
        let site = $crate::__site!(Span, $name $(, $key)*);
        if site.enabled() {
            $crate::Span::begin(site.id(), [$($crate::Arg::word($value)),*])
        } else {
            $crate::Span::off()
        }
    }};
}

/// Records a counter's new value.
#[macro_export]
macro_rules! counter {
    ($name:literal, $value:expr $(,)?) => {{
        let site = $crate::__site!(Counter, $name);
        if site.enabled() {
            $crate::expansion::counter(site.id(), $crate::Arg::word($value));
        }
    }};
}
