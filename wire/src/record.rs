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
//!  SpanEnd     site:32 │ thread:32                               TSC of its begin, the thread that began it if another
//!  Counter     site:32 │ thread:32                               value
//!  Switch      from:32 │ to:32                                   reason
//!  Log         thread:32 │ bytes:32                              UTF-8, zero-padded
//!  Thread      thread:32 │ action:8 │ 0:8 │ name bytes:16        entry, stack low, stack high, name…
//!  Snapshot    thread:32 │ 0:16 │ stack words:16                rip rsp rbp rbx r12 r13 r14 r15 weight missed stack end  stack…
//!  Park        thread:32 │ end:8 │ reason:4 │ wait:4 │ frames:16   waits for, waits on, frames…
//!  Resume      thread:32 │ end:8 │ reason:8 │ frames:16    parked (TSC), woken (TSC), waker, frames…
//!  Wake        waker:32 │ end:8 │ by interrupt:8 │ frames:16    thread, frames…
//!  LockWait    thread:32 │ end:8 │ kind:8 │ frames:16      lock, begin (TSC), owner, frames…
//!  LockHold    thread:32 │ end:8 │ kind:8 │ frames:16      lock, since (TSC), frames…
//!  Interrupt   thread:32 │ vector:32                       begin (TSC)
//!  Allocation  thread:32 │ end:8 │ 0:8 │ frames:16         address, bytes, weight, frames…
//!  Free        thread:32 │ 0:32                            address, bytes, weight
//!  Call        site:32 │ thread:32                         begin (TSC), arguments…, result
//!  Mark        thread:32 │ bytes:32                        UTF-8, zero-padded
//!  Packet      thread:32 │ interface:8 │ direction:8 │ verdict:8 │ 0:8    original:32 │ kept:32, bytes…
//!  Connection  thread:32 │ old:8 │ new:8 │ protocol:8 │ families:8        id, ports:32 │ served by:32, local (2), remote (2), bytes in, bytes out, opened (TSC)
//!  Padding     (header only; its length reaches to the end of the sub-buffer)
//! ```
//!
//! All multi-byte values are little-endian. A record is at most a sub-buffer long and at least two words,
//! padding at least one.

mod block;
mod callers;
mod class;
mod codec;
mod event;
mod heap;
mod lock;
mod log;
mod net;
mod off_cpu;
mod sample;
mod thread;

use crate::text;

pub use crate::text::Text;
pub use block::{Found, Records};
pub use callers::Callers;
pub use class::{CLASSES, Class};
pub use event::{
    CallRecord, CounterRecord, EventRecord, MAX_ARG_BYTES, MAX_ARG_WORDS, MAX_ARGS, SpanEndRecord,
};
pub use heap::{AllocationRecord, FreeRecord};
pub use lock::{LockHoldRecord, LockKind, LockWaitRecord};
pub use log::{LogRecord, MAX_LOG_BYTES};
pub use net::{ConnectionRecord, DEFAULT_PACKET_BYTES, MAX_PACKET_BYTES, PACKET_HEAD, PacketRecord};
pub use off_cpu::{ParkRecord, ResumeRecord, WakeRecord};
pub use sample::{
    MAX_FRAMES, MAX_SNAPSHOT_BYTES, Registers, SNAPSHOT_HEAD, SampleRecord, SnapshotRecord, WalkEnd,
};
pub use thread::{InterruptRecord, MAX_NAME_BYTES, SwitchReason, SwitchRecord, ThreadAction, ThreadRecord};

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
    /// [`ParkRecord`]
    Park = 11,
    /// [`ResumeRecord`]
    Resume = 12,
    /// [`WakeRecord`]
    Wake = 13,
    /// [`LockWaitRecord`]
    LockWait = 14,
    /// [`LockHoldRecord`]
    LockHold = 15,
    /// [`InterruptRecord`]
    Interrupt = 16,
    /// [`AllocationRecord`]
    Allocation = 17,
    /// [`FreeRecord`]
    Free = 18,
    /// [`CallRecord`]
    Call = 19,
    /// [`LogRecord`] that an observer asked for
    Mark = 20,
    /// [`PacketRecord`]
    Packet = 21,
    /// [`ConnectionRecord`]
    Connection = 22,
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
            11 => Self::Park,
            12 => Self::Resume,
            13 => Self::Wake,
            14 => Self::LockWait,
            15 => Self::LockHold,
            16 => Self::Interrupt,
            17 => Self::Allocation,
            18 => Self::Free,
            19 => Self::Call,
            20 => Self::Mark,
            21 => Self::Packet,
            22 => Self::Connection,
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
            Self::Log | Self::Mark => Class::Log,
            Self::Thread => Class::Thread,
            Self::Park | Self::Resume | Self::Wake => Class::OffCpu,
            Self::LockWait | Self::LockHold => Class::Lock,
            Self::Interrupt => Class::Irq,
            Self::Allocation | Self::Free => Class::Heap,
            Self::Call => Class::Call,
            Self::Packet | Self::Connection => Class::Net,
            Self::Padding => Class::Other,
        }
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
    /// A thread left the CPU, to wait.
    Park(ParkRecord<'a>),
    /// It got the CPU back.
    Resume(ResumeRecord<'a>),
    /// A thread was made ready to run.
    Wake(WakeRecord<'a>),
    /// A lock was taken after a wait.
    LockWait(LockWaitRecord<'a>),
    /// A lock was released that somebody waited for.
    LockHold(LockHoldRecord<'a>),
    /// An interrupt was served.
    Interrupt(InterruptRecord),
    /// A sampled block was allocated.
    Allocation(AllocationRecord<'a>),
    /// A sampled block was given back.
    Free(FreeRecord),
    /// A call of the kernel's interface returned.
    Call(CallRecord<'a>),
    /// A line that an observer asked the guest to write.
    Mark(LogRecord<'a>),
    /// A packet came in or went out.
    Packet(PacketRecord<'a>),
    /// A connection changed its state.
    Connection(ConnectionRecord),
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
            Self::Park(_) => Kind::Park,
            Self::Resume(_) => Kind::Resume,
            Self::Wake(_) => Kind::Wake,
            Self::LockWait(_) => Kind::LockWait,
            Self::LockHold(_) => Kind::LockHold,
            Self::Interrupt(_) => Kind::Interrupt,
            Self::Allocation(_) => Kind::Allocation,
            Self::Free(_) => Kind::Free,
            Self::Call(_) => Kind::Call,
            Self::Mark(_) => Kind::Mark,
            Self::Packet(_) => Kind::Packet,
            Self::Connection(_) => Kind::Connection,
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
            Self::Log(r) | Self::Mark(r) => r.tsc,
            Self::Thread(r) => r.tsc,
            Self::Park(r) => r.tsc,
            Self::Resume(r) => r.tsc,
            Self::Wake(r) => r.tsc,
            Self::LockWait(r) => r.tsc,
            Self::LockHold(r) => r.tsc,
            Self::Interrupt(r) => r.tsc,
            Self::Allocation(r) => r.tsc,
            Self::Free(r) => r.tsc,
            Self::Call(r) => r.tsc,
            Self::Packet(r) => r.tsc,
            Self::Connection(r) => r.tsc,
        }
    }
}

fn decode_text(words: &[u64], bytes: usize, most: usize) -> Result<Text<'_>, BadRecord> {
    if bytes > most || words.len() != text::words_for(bytes) {
        return Err(BadRecord::Length);
    }
    Ok(Text::Words(words, bytes))
}
