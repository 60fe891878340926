//! Events, counters and gauges: records in the events ring, each from a static site.

use core::hint::cold_path;

use uniprof_wire::layout::RingKind;
use uniprof_wire::record::Kind;
use uniprof_wire::tables::VcpuField;

use crate::arch;
use crate::arg::{self, Args, Number, Word};
use crate::platform::{self, Pinned};
use crate::region::writer;
use crate::vcpu::Vcpu;

/// One event in how many measures its own cost, which then counts for all of them.
const COST_SHARE_LOG2: u32 = 6;

/// Whether the event at `tsc` measures itself: by a hash, because real counters step by more than one.
#[inline(always)]
const fn measures_itself(tsc: u64) -> bool {
    (tsc as u32).wrapping_mul(0x9e37_79b1) >> (32 - COST_SHARE_LOG2) == 0
}

/// Whose record it is, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The site, and in the high half the thread.
    pub(crate) shape: u64,
    pub(crate) tsc: u64,
}

/// Writes a record of `site`, and returns what it begins with.
#[inline(always)]
pub(crate) fn emit<A: Args>(kind: Kind, site: u32, args: A) -> Stamp {
    emit_for(kind, site, |_| args)
}

/// The same with arguments that depend on what the record begins with.
#[inline(always)]
pub(crate) fn emit_for<A: Args>(kind: Kind, site: u32, args: impl FnOnce(Stamp) -> A) -> Stamp {
    const { arg::assert_fits::<A>() };
    let _pinned = Pinned::new();
    let vcpu = platform::vcpu();
    let shape = u64::from(site) | u64::from(platform::thread()) << 32;
    let stamp = Stamp { shape, tsc: platform::now() };
    // No early return: there would be two places that unpin.
    if let Some(writer) = writer(vcpu, RingKind::Events) {
        let args = args(stamp);
        // A refusal is counted in the ring.
        let _ = writer.write(kind, 2 + args.words(), |payload| {
            payload.put_counted(0, stamp.tsc);
            payload.put_counted(1, shape);
            args.put(payload, 2);
        });
        count_cost_sometimes(stamp.tsc);
    }
    stamp
}

/// Counts what the calling vCPU has done since `begin` as own cost, for all the times at which that is not measured.
#[inline(always)]
pub(crate) fn count_cost_sometimes(begin: u64) {
    if measures_itself(begin) {
        cold_path();
        arch::call_aside(add_cost, [begin, 0, 0]);
    }
}

/// It asks for the vCPU again: whoever seldom comes here need not keep its number.
extern "C" fn add_cost(begin: u64, _: u64, _: u64) -> u64 {
    if let Some(vcpu) = Vcpu::current() {
        let cost = platform::now().saturating_sub(begin);
        vcpu.add(VcpuField::ProbeTime, cost << COST_SHARE_LOG2);
    }
    0
}

/// Expansion of [`event!`](crate::event!). Not inlined, nor are the others: code whose sites are off shall pay for a look whether they are,
/// and not for registers that the rest would need.
#[inline(never)]
pub fn event<A: Args>(site: u32, args: A) {
    emit(Kind::Event, site, args);
}

/// Expansion of [`counter!`](crate::counter!).
#[inline(never)]
pub fn counter(site: u32, value: u64) {
    emit(Kind::Counter, site, (Word(value),));
}

/// Expansion of [`gauge!`](crate::gauge!).
#[inline(never)]
pub fn gauge(site: u32, value: impl Number) {
    emit(Kind::Counter, site, (Word(value.float().to_bits()),));
}

/// Records that something happened: a literal name, and up to 16 named arguments. One without a stated type is an unsigned
/// integer; types are those of Rust's numbers, `bool`, `char`, `ptr` (a pointer, a reference or an address), `str` and
/// `bytes`, of which the first 128 bytes are kept. Where the site is off, the arguments are not evaluated.
///
/// ```text
/// uniprof_probes::event!("net.drop", reason: i32 = -7, bytes = len, peer: str = name);
/// ```
#[macro_export]
macro_rules! event {
    ($name:literal $(, $key:ident $(: $type:ident)? = $value:expr)* $(,)?) => {{
        if let Some(site) = $crate::__site!(Event, $name $(, $key $($type)?)*) {
            $crate::expansion::event(site.id(), ($($crate::__arg!($($type)? => $value),)*));
        }
    }};
}

/// Records the new value of something that only grows: an unsigned integer.
#[macro_export]
macro_rules! counter {
    ($name:literal, $value:expr $(,)?) => {{
        if let Some(site) = $crate::__site!(Counter, $name, value u64) {
            $crate::expansion::counter(site.id(), $crate::Unsigned::word($value));
        }
    }};
}

/// Records the new value of something that goes up and down: any number, kept as an `f64`.
#[macro_export]
macro_rules! gauge {
    ($name:literal, $value:expr $(,)?) => {{
        if let Some(site) = $crate::__site!(Gauge, $name, value f64) {
            $crate::expansion::gauge(site.id(), $value);
        }
    }};
}
