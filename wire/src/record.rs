//! Records: what lies in a ring, encoded and decoded here and nowhere else.
//!
//! ```text
//!  word 0   header   kind:8 │ state:8 (BUSY, COMMITTED) │ length in words:16 │ tag:32
//!  word 1   TSC, all 64 bits: every record can be placed in time without another
//!  word 2…  payload by kind
//!
//!  Sample      thread:32 │ end:8 │ stack words:8 │ frames:16     rip rsp rbp weight missed  stack…  frames…
//!  Event       site:32 │ thread:32                               arguments…
//!  SpanBegin   site:32 │ thread:32                               arguments…
//!  SpanEnd     site:32 │ thread:32                               TSC of its begin
//!  Counter     site:32 │ thread:32                               value
//!  Switch      from:32 │ to:32                                   reason
//!  Log         thread:32 │ bytes:32                              UTF-8, zero-padded
//!  Thread      thread:32 │ action:8 │ 0:8 │ name bytes:16        entry, stack low, stack high, name…
//!  Snapshot    thread:32 │ 0:16 │ stack words:16                rip rsp rbp rbx r12 r13 r14 r15 weight missed stack end  stack…
//!  Padding     (header only; its length reaches to the end of the sub-buffer)
//! ```
//!
//! All multi-byte values are little-endian. A record is at most a sub-buffer long and at least two words,
//! padding at least one.

mod block;
mod sample;

use crate::address::GuestVirtual;
use crate::text;

pub use crate::text::Text;
pub use block::{Found, Records};
pub use sample::{
    MAX_FRAMES, MAX_SNAPSHOT_BYTES, Registers, SNAPSHOT_HEAD, SampleRecord, SnapshotRecord, WalkEnd,
};

/// Number of classes under which records are counted.
pub const CLASSES: usize = 8;
/// Most arguments of one event or span.
pub const MAX_ARGS: usize = 16;
/// Longest log line in bytes; longer ones are cut by the guest.
pub const MAX_LOG_BYTES: usize = 1024;
/// Longest thread name in bytes.
pub const MAX_NAME_BYTES: usize = 64;

const BUSY: u8 = 0xb5;
const COMMITTED: u8 = 0xc3;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Fills a sub-buffer up to its end.
    Padding = 1,
    /// [`SampleRecord`]
    Sample = 2,
    /// [`EventRecord`]
    Event = 3,
    /// [`EventRecord`] that opens a span
    SpanBegin = 4,
    /// [`SpanEndRecord`]
    SpanEnd = 5,
    /// [`SwitchRecord`]
    Switch = 6,
    /// [`CounterRecord`]
    Counter = 7,
    /// [`LogRecord`]
    Log = 8,
    /// [`ThreadRecord`]
    Thread = 9,
    /// [`SnapshotRecord`]
    Snapshot = 10,
}

impl Kind {
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Padding,
            2 => Self::Sample,
            3 => Self::Event,
            4 => Self::SpanBegin,
            5 => Self::SpanEnd,
            6 => Self::Switch,
            7 => Self::Counter,
            8 => Self::Log,
            9 => Self::Thread,
            10 => Self::Snapshot,
            _ => return None,
        })
    }

    /// The class that it is counted under.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Sample | Self::Snapshot => Class::Sample,
            Self::Event => Class::Event,
            Self::SpanBegin | Self::SpanEnd => Class::Span,
            Self::Switch => Class::Switch,
            Self::Counter => Class::Counter,
            Self::Log => Class::Log,
            Self::Thread => Class::Thread,
            Self::Padding => Class::Other,
        }
    }
}

/// What emitted and lost records are counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// CPU samples.
    Sample = 0,
    /// Trace events.
    Event = 1,
    /// Beginnings and ends of spans.
    Span = 2,
    /// Thread switches.
    Switch = 3,
    /// Counter values.
    Counter = 4,
    /// Log lines.
    Log = 5,
    /// Thread starts and exits.
    Thread = 6,
    /// Not counted today; keeps a class's counters one cache line.
    Other = 7,
}

impl Class {
    /// Every class, in the order of the counters.
    pub const ALL: [Self; CLASSES] = [
        Self::Sample,
        Self::Event,
        Self::Span,
        Self::Switch,
        Self::Counter,
        Self::Log,
        Self::Thread,
        Self::Other,
    ];

    /// A word for people, JSON and the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sample => "samples",
            Self::Event => "events",
            Self::Span => "spans",
            Self::Switch => "switches",
            Self::Counter => "counters",
            Self::Log => "logs",
            Self::Thread => "threads",
            Self::Other => "other",
        }
    }

    /// Its bit in a mask of classes.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// An event, or the beginning of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRecord<'a> {
    /// When.
    pub tsc: u64,
    /// Byte offset of its entry in the site section.
    pub site: u32,
    /// On which thread; 0 outside threads.
    pub thread: u32,
    /// Raw arguments, at most [`MAX_ARGS`]; the site knows their names.
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
}

/// A counter's new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRecord {
    /// When.
    pub tsc: u64,
    /// Byte offset of its entry in the site section.
    pub site: u32,
    /// On which thread.
    pub thread: u32,
    /// The value.
    pub value: u64,
}

/// Why a thread left the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SwitchReason {
    /// Its time slice ended.
    Preempted = 0,
    /// It yielded.
    Yielded = 1,
    /// It waits (lock, join, message).
    Blocked = 2,
    /// It sleeps until a time.
    Sleeping = 3,
    /// It ended.
    Exited = 4,
    /// The CPU had been idle.
    Idle = 5,
}

/// A vCPU went from one thread to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchRecord {
    /// When.
    pub tsc: u64,
    /// The thread that left.
    pub from: u32,
    /// The thread that came.
    pub to: u32,
    /// Why the first one left.
    pub reason: SwitchReason,
}

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

/// A thread came or went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadRecord<'a> {
    /// When.
    pub tsc: u64,
    /// Which.
    pub thread: u32,
    /// Whether it came or went.
    pub action: ThreadAction,
    /// Its entry function.
    pub entry: GuestVirtual,
    /// Its stack, low and high end.
    pub stack: (GuestVirtual, GuestVirtual),
    /// Its name.
    pub name: Text<'a>,
}

/// Whether a thread came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ThreadAction {
    /// It was started.
    Started = 0,
    /// It ended.
    Exited = 1,
}

impl core::fmt::Debug for LogRecord<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Log {{ tsc: {}, thread: {}, text: {:?} }}", self.tsc, self.thread, self.text)
    }
}

impl core::fmt::Debug for ThreadRecord<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Thread {{ thread: {}, {:?}, name: {:?} }}", self.thread, self.action, self.name)
    }
}

/// One decoded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A CPU sample.
    Sample(SampleRecord<'a>),
    /// A CPU sample whose stack the host unwinds.
    Snapshot(SnapshotRecord<'a>),
    /// A trace event.
    Event(EventRecord<'a>),
    /// A span opened.
    SpanBegin(EventRecord<'a>),
    /// A span closed.
    SpanEnd(SpanEndRecord),
    /// A thread switch.
    Switch(SwitchRecord),
    /// A counter.
    Counter(CounterRecord),
    /// A log line.
    Log(LogRecord<'a>),
    /// A thread came or went.
    Thread(ThreadRecord<'a>),
}

/// What is wrong with the words where a record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// Reserved but never committed; its class is known from its header.
    Abandoned(Class),
    /// The tag is of another position, lap or boot.
    Tag,
    /// The length is zero, too short for the kind, or reaches past the sub-buffer.
    Length,
    /// The kind or state number is unknown.
    Kind,
    /// The payload contradicts itself.
    Payload,
}

/// Composes a header word.
#[must_use]
#[inline(always)]
pub const fn header(kind: Kind, committed: bool, words: usize, tag: u32) -> u64 {
    let state = if committed { COMMITTED } else { BUSY };
    kind as u64 | (state as u64) << 8 | ((words & 0xffff) as u64) << 16 | (tag as u64) << 32
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

const fn low(word: u64) -> u32 {
    word as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

impl<'a> Record<'a> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Sample(_) => Kind::Sample,
            Self::Snapshot(_) => Kind::Snapshot,
            Self::Event(_) => Kind::Event,
            Self::SpanBegin(_) => Kind::SpanBegin,
            Self::SpanEnd(_) => Kind::SpanEnd,
            Self::Switch(_) => Kind::Switch,
            Self::Counter(_) => Kind::Counter,
            Self::Log(_) => Kind::Log,
            Self::Thread(_) => Kind::Thread,
        }
    }

    /// When it was written, in TSC ticks.
    #[must_use]
    pub const fn tsc(&self) -> u64 {
        match self {
            Self::Sample(r) => r.tsc,
            Self::Snapshot(r) => r.tsc,
            Self::Event(r) | Self::SpanBegin(r) => r.tsc,
            Self::SpanEnd(r) => r.tsc,
            Self::Switch(r) => r.tsc,
            Self::Counter(r) => r.tsc,
            Self::Log(r) => r.tsc,
            Self::Thread(r) => r.tsc,
        }
    }

    /// Words after the header.
    #[must_use]
    #[inline]
    pub const fn payload_words(&self) -> usize {
        match self {
            Self::Sample(r) => 7 + r.stack.len() + r.frames.len(),
            Self::Snapshot(r) => 1 + SNAPSHOT_HEAD + r.stack.len(),
            Self::Event(r) | Self::SpanBegin(r) => 2 + r.args.len(),
            Self::SpanEnd(_) | Self::Counter(_) | Self::Switch(_) => 3,
            Self::Log(r) => 2 + text::words_for(r.text.len()),
            Self::Thread(r) => 5 + text::words_for(r.name.len()),
        }
    }

    /// Hands every payload word to `put`, in order, in runs: the index of the first word, and the words. Lengths must be
    /// within this module's limits.
    #[inline]
    pub fn encode(&self, mut put: impl FnMut(usize, &[u64])) {
        put(0, &[self.tsc()]);
        match self {
            Self::Sample(r) => {
                let shape = r.end as u32 | (r.stack.len() as u32 & 0xff) << 8 | (r.frames.len() as u32) << 16;
                put(1, &[pair(r.thread, shape), r.rip, r.rsp, r.rbp, r.weight, u64::from(r.missed)]);
                put(7, r.stack);
                put(7 + r.stack.len(), r.frames);
            }
            Self::Snapshot(r) => {
                put(1, &r.head(r.stack.len()));
                put(1 + SNAPSHOT_HEAD, r.stack);
            }
            Self::Event(r) | Self::SpanBegin(r) => {
                put(1, &[pair(r.site, r.thread)]);
                put(2, r.args);
            }
            Self::SpanEnd(r) => {
                put(1, &[pair(r.site, r.thread), r.begin]);
            }
            Self::Counter(r) => {
                put(1, &[pair(r.site, r.thread), r.value]);
            }
            Self::Switch(r) => {
                put(1, &[pair(r.from, r.to), r.reason as u64]);
            }
            Self::Log(r) => {
                put(1, &[pair(r.thread, r.text.len() as u32)]);
                (0..text::words_for(r.text.len())).for_each(|i| put(2 + i, &[r.text.word(i)]));
            }
            Self::Thread(r) => {
                let shape = pair(r.thread, r.action as u32 | (r.name.len() as u32) << 16);
                put(1, &[shape, r.entry.0, r.stack.0.0, r.stack.1.0]);
                (0..text::words_for(r.name.len())).for_each(|i| put(5 + i, &[r.name.word(i)]));
            }
        }
    }

    /// Decodes the payload words of a record of `kind`.
    ///
    /// # Errors
    /// [`BadRecord::Length`] and [`BadRecord::Payload`].
    pub fn decode(kind: Kind, payload: &'a [u64]) -> Result<Self, BadRecord> {
        let [tsc, shape, rest @ ..] = payload else { return Err(BadRecord::Length) };
        let (tsc, shape) = (*tsc, *shape);
        let three = || rest.first().copied().filter(|_| rest.len() == 1).ok_or(BadRecord::Length);
        let args = || (rest.len() <= MAX_ARGS).then_some(rest).ok_or(BadRecord::Length);
        let (site, thread) = (low(shape), high(shape));
        Ok(match kind {
            Kind::Padding => return Err(BadRecord::Kind),
            Kind::Sample => Self::Sample(SampleRecord::decode(tsc, shape, rest)?),
            Kind::Snapshot => Self::Snapshot(SnapshotRecord::decode(tsc, shape, rest)?),
            Kind::Event => Self::Event(EventRecord { tsc, site, thread, args: args()? }),
            Kind::SpanBegin => Self::SpanBegin(EventRecord { tsc, site, thread, args: args()? }),
            Kind::SpanEnd => Self::SpanEnd(SpanEndRecord { tsc, site, thread, begin: three()? }),
            Kind::Counter => Self::Counter(CounterRecord { tsc, site, thread, value: three()? }),
            Kind::Switch => {
                let reason = switch_reason(three()?)?;
                Self::Switch(SwitchRecord { tsc, from: low(shape), to: high(shape), reason })
            }
            Kind::Log => {
                let text = decode_text(rest, high(shape) as usize, MAX_LOG_BYTES)?;
                Self::Log(LogRecord { tsc, thread: low(shape), text })
            }
            Kind::Thread => Self::Thread(decode_thread(tsc, shape, rest)?),
        })
    }
}

fn decode_thread(tsc: u64, shape: u64, rest: &[u64]) -> Result<ThreadRecord<'_>, BadRecord> {
    let [entry, stack_low, stack_high, name @ ..] = rest else { return Err(BadRecord::Length) };
    let action = match high(shape) & 0xffff {
        0 => ThreadAction::Started,
        1 => ThreadAction::Exited,
        _ => return Err(BadRecord::Payload),
    };
    Ok(ThreadRecord {
        tsc,
        thread: low(shape),
        action,
        entry: GuestVirtual(*entry),
        stack: (GuestVirtual(*stack_low), GuestVirtual(*stack_high)),
        name: decode_text(name, (high(shape) >> 16) as usize, MAX_NAME_BYTES)?,
    })
}

fn decode_text(words: &[u64], bytes: usize, most: usize) -> Result<Text<'_>, BadRecord> {
    if bytes > most || words.len() != text::words_for(bytes) {
        return Err(BadRecord::Length);
    }
    Ok(Text::Words(words, bytes))
}

fn switch_reason(number: u64) -> Result<SwitchReason, BadRecord> {
    Ok(match number {
        0 => SwitchReason::Preempted,
        1 => SwitchReason::Yielded,
        2 => SwitchReason::Blocked,
        3 => SwitchReason::Sleeping,
        4 => SwitchReason::Exited,
        5 => SwitchReason::Idle,
        _ => return Err(BadRecord::Payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_fits_the_smallest_sub_buffer() {
        let words = [0; 255];
        let largest = [
            Record::Sample(SampleRecord {
                tsc: 0,
                thread: 0,
                rip: 0,
                rsp: 0,
                rbp: 0,
                weight: 0,
                missed: 0,
                end: WalkEnd::Root,
                stack: &words[..8],
                frames: &words[..MAX_FRAMES],
            }),
            Record::Event(EventRecord { tsc: 0, site: 0, thread: 0, args: &words[..MAX_ARGS] }),
            Record::Log(LogRecord { tsc: 0, thread: 0, text: Text::Bytes(&[0; MAX_LOG_BYTES]) }),
        ];
        for record in largest {
            assert!((record.payload_words() + 1) * 8 <= crate::layout::MIN_SUB_BUFFER as usize);
        }
    }
}
