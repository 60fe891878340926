//! A record's payload as words, and back.

use super::{
    AllocationRecord, BadRecord, CallRecord, Callers, ConnectionRecord, CounterRecord, EventRecord,
    FreeRecord, InterruptRecord, Kind, LockHoldRecord, LockWaitRecord, LogRecord, MAX_ARG_WORDS,
    MAX_LOG_BYTES, PACKET_HEAD, PacketRecord, ParkRecord, Record, ResumeRecord, SNAPSHOT_HEAD, SampleRecord,
    SnapshotRecord, SpanEndRecord, SwitchReason, SwitchRecord, ThreadRecord, WakeRecord, decode_text, high,
    low, pair,
};
use crate::text;

impl<'a> Record<'a> {
    /// Words after the header.
    #[must_use]
    #[inline]
    pub const fn payload_words(&self) -> usize {
        match self {
            Self::Sample(r) => 7 + r.stack.len() + r.frames.len(),
            Self::Snapshot(r) => 1 + SNAPSHOT_HEAD + r.stack.len(),
            Self::Event(r) | Self::SpanBegin(r) => 2 + r.args.len(),
            Self::SpanEnd(r) => 3 + (r.begun_on != r.thread) as usize,
            Self::Counter(_) | Self::Switch(_) | Self::Interrupt(_) => 3,
            Self::Log(r) | Self::Mark(r) => 2 + text::words_for(r.text.len()),
            Self::Thread(r) => 5 + text::words_for(r.name.len()),
            Self::Park(r) => 1 + r.head().len() + r.callers.frames.len(),
            Self::Resume(r) => 1 + r.head().len() + r.callers.frames.len(),
            Self::Wake(r) => 1 + r.head().len() + r.callers.frames.len(),
            Self::LockWait(r) => 1 + r.head().len() + r.callers.frames.len(),
            Self::LockHold(r) => 1 + r.head().len() + r.callers.frames.len(),
            Self::Allocation(r) => 1 + r.head().len() + r.callers.frames.len(),
            Self::Free(r) => 1 + r.head().len(),
            Self::Call(r) => 3 + r.args.len(),
            Self::Packet(r) => PACKET_HEAD + text::words_for(r.bytes.len()),
            Self::Connection(r) => 1 + r.head().len(),
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
                if r.begun_on != r.thread {
                    put(3, &[r.begun_on.into()]);
                }
            }
            Self::Counter(r) => {
                put(1, &[pair(r.site, r.thread), r.value]);
            }
            Self::Switch(r) => {
                put(1, &[pair(r.from, r.to), r.reason as u64]);
            }
            Self::Log(r) | Self::Mark(r) => {
                put(1, &[pair(r.thread, r.text.len() as u32)]);
                (0..text::words_for(r.text.len())).for_each(|i| put(2 + i, &[r.text.word(i)]));
            }
            Self::Thread(r) => {
                let shape = pair(r.thread, r.action as u32 | (r.name.len() as u32) << 16);
                put(1, &[shape, r.entry.0, r.stack.0.0, r.stack.1.0]);
                (0..text::words_for(r.name.len())).for_each(|i| put(5 + i, &[r.name.word(i)]));
            }
            Self::Interrupt(r) => put(1, &[pair(r.thread, r.vector), r.begin]),
            Self::Park(r) => put_with_callers(put, &r.head(), r.callers),
            Self::Resume(r) => put_with_callers(put, &r.head(), r.callers),
            Self::Wake(r) => put_with_callers(put, &r.head(), r.callers),
            Self::LockWait(r) => put_with_callers(put, &r.head(), r.callers),
            Self::LockHold(r) => put_with_callers(put, &r.head(), r.callers),
            Self::Allocation(r) => put_with_callers(put, &r.head(), r.callers),
            Self::Free(r) => put(1, &r.head()),
            Self::Call(r) => {
                put(1, &[pair(r.site, r.thread), r.begin]);
                put(3, r.args);
            }
            Self::Packet(r) => {
                put(1, &r.head());
                (0..text::words_for(r.bytes.len())).for_each(|i| put(PACKET_HEAD + i, &[r.bytes.word(i)]));
            }
            Self::Connection(r) => put(1, &r.head()),
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
        let args =
            |words: &'a [u64]| (words.len() <= MAX_ARG_WORDS).then_some(words).ok_or(BadRecord::Length);
        let (site, thread) = (low(shape), high(shape));
        Ok(match kind {
            Kind::Padding => return Err(BadRecord::Kind),
            Kind::Sample => Self::Sample(SampleRecord::decode(tsc, shape, rest)?),
            Kind::Snapshot => Self::Snapshot(SnapshotRecord::decode(tsc, shape, rest)?),
            Kind::Event => Self::Event(EventRecord { tsc, site, thread, args: args(rest)? }),
            Kind::SpanBegin => Self::SpanBegin(EventRecord { tsc, site, thread, args: args(rest)? }),
            Kind::SpanEnd => Self::SpanEnd(span_end(tsc, site, thread, rest)?),
            Kind::Counter => Self::Counter(CounterRecord { tsc, site, thread, value: three()? }),
            Kind::Switch => {
                let reason = SwitchReason::from_number(three()?).ok_or(BadRecord::Payload)?;
                Self::Switch(SwitchRecord { tsc, from: low(shape), to: high(shape), reason })
            }
            Kind::Log | Kind::Mark => {
                let text = decode_text(rest, high(shape) as usize, MAX_LOG_BYTES)?;
                let line = LogRecord { tsc, thread: low(shape), text };
                if kind == Kind::Log { Self::Log(line) } else { Self::Mark(line) }
            }
            Kind::Thread => Self::Thread(ThreadRecord::decode(tsc, shape, rest)?),
            Kind::Interrupt => {
                let (thread, vector) = (low(shape), high(shape));
                Self::Interrupt(InterruptRecord { tsc, thread, vector, begin: three()? })
            }
            Kind::Park => Self::Park(ParkRecord::decode(tsc, shape, rest)?),
            Kind::Resume => Self::Resume(ResumeRecord::decode(tsc, shape, rest)?),
            Kind::Wake => Self::Wake(WakeRecord::decode(tsc, shape, rest)?),
            Kind::LockWait => Self::LockWait(LockWaitRecord::decode(tsc, shape, rest)?),
            Kind::LockHold => Self::LockHold(LockHoldRecord::decode(tsc, shape, rest)?),
            Kind::Allocation => Self::Allocation(AllocationRecord::decode(tsc, shape, rest)?),
            Kind::Free => Self::Free(FreeRecord::decode(tsc, shape, rest)?),
            Kind::Packet => Self::Packet(PacketRecord::decode(tsc, shape, rest)?),
            Kind::Connection => Self::Connection(ConnectionRecord::decode(tsc, shape, rest)?),
            Kind::Call => {
                let [begin, words @ ..] = rest else { return Err(BadRecord::Length) };
                Self::Call(CallRecord { tsc, site, thread, begin: *begin, args: args(words)? })
            }
        })
    }
}

fn put_with_callers(mut put: impl FnMut(usize, &[u64]), head: &[u64], callers: Callers<'_>) {
    put(1, head);
    put(1 + head.len(), callers.frames);
}

/// The fourth word is there only where the span began on another thread.
fn span_end(tsc: u64, site: u32, thread: u32, rest: &[u64]) -> Result<SpanEndRecord, BadRecord> {
    let (begin, begun_on) = match *rest {
        [begin] => (begin, thread),
        [begin, begun_on] => (begin, u32::try_from(begun_on).map_err(|_| BadRecord::Payload)?),
        _ => return Err(BadRecord::Length),
    };
    Ok(SpanEndRecord { tsc, site, thread, begin, begun_on })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::GuestVirtual;
    use crate::record::{LockKind, MAX_FRAMES, SampleRecord, Text, WalkEnd};

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
            Record::Event(EventRecord { tsc: 0, site: 0, thread: 0, args: &words[..MAX_ARG_WORDS] }),
            Record::Call(CallRecord { tsc: 0, site: 0, thread: 0, begin: 0, args: &words[..MAX_ARG_WORDS] }),
            Record::LockWait(LockWaitRecord {
                tsc: 0,
                thread: 0,
                kind: LockKind::Spin,
                lock: GuestVirtual(0),
                begin: 0,
                owner: 0,
                callers: Callers { end: WalkEnd::Root, frames: &words[..MAX_FRAMES] },
            }),
            Record::Log(LogRecord { tsc: 0, thread: 0, text: Text::Bytes(&[0; MAX_LOG_BYTES]) }),
        ];
        for record in largest {
            assert!((record.payload_words() + 1) * 8 <= crate::layout::MIN_SUB_BUFFER as usize);
        }
    }
}
