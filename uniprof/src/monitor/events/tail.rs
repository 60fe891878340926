//! The last records that are no samples, as they came: undecoded, because most of them nobody gets to see.

use std::collections::VecDeque;

use uniprof_wire::record::{Kind, Record};

/// Words of all records together: 4 MiB.
const MOST_WORDS: usize = 1 << 19;
/// Records that are kept.
const MOST_RECORDS: usize = 1 << 16;

/// The last records.
#[derive(Clone, Debug)]
pub(in crate::monitor) struct Tail {
    heads: VecDeque<Head>,
    words: VecDeque<u64>,
    /// The record that is being put together.
    scratch: Vec<u64>,
    most_words: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self::with_room(MOST_WORDS)
    }
}

/// Where a record lies, and what it is.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    vcpu: u32,
    words: u32,
    number: u64,
}

/// A record that is kept.
pub(in crate::monitor) struct Kept<'a> {
    pub(in crate::monitor) number: u64,
    pub(in crate::monitor) vcpu: u32,
    pub(in crate::monitor) record: Record<'a>,
}

impl Tail {
    /// With room for so many words.
    pub(in crate::monitor) fn with_room(most_words: usize) -> Self {
        Self { heads: VecDeque::new(), words: VecDeque::new(), scratch: Vec::new(), most_words }
    }

    /// Bytes that it takes.
    pub(in crate::monitor) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>() + self.heads.len() * size_of::<Head>()
    }

    /// Whether nothing is kept.
    pub(in crate::monitor) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Keeps a record, under a number that is larger than all before.
    pub(in crate::monitor) fn push(&mut self, number: u64, vcpu: u32, record: &Record<'_>) {
        self.push_over(number, vcpu, record, |_| {});
    }

    /// The same; `gone` gets each record that makes room for it.
    pub(in crate::monitor) fn push_over(
        &mut self,
        number: u64,
        vcpu: u32,
        record: &Record<'_>,
        mut gone: impl FnMut(Kept<'_>),
    ) {
        let scratch = &mut self.scratch;
        scratch.clear();
        record.encode(|at, words| {
            scratch.resize(at, 0);
            scratch.extend_from_slice(words);
        });
        if scratch.len() > self.most_words {
            return;
        }
        while self.heads.len() >= MOST_RECORDS || self.words.len() + scratch.len() > self.most_words {
            let Some(head) = self.heads.pop_front() else { break };
            let words: Vec<u64> = self.words.drain(..head.words as usize).collect();
            if let Ok(record) = Record::decode(head.kind, &words) {
                gone(Kept { number: head.number, vcpu: head.vcpu, record });
            }
        }
        // Doubled beyond what is ever needed, the room would be half empty for good.
        if self.words.len() + scratch.len() > self.words.capacity() {
            let room = (self.words.capacity() * 2).clamp(scratch.len() + self.words.len(), self.most_words);
            self.words.reserve_exact(room - self.words.len());
        }
        self.words.extend(scratch.iter());
        self.heads.push_back(Head { kind: record.kind(), vcpu, words: scratch.len() as u32, number });
    }

    /// Hands out all records from the oldest to the newest.
    pub(in crate::monitor) fn oldest_first(&self, mut each: impl FnMut(Kept<'_>)) {
        let (mut start, mut words) = (0, Vec::new());
        for head in &self.heads {
            let end = start + head.words as usize;
            words.clear();
            words.extend(self.words.range(start..end));
            start = end;
            let Ok(record) = Record::decode(head.kind, &words) else { continue };
            each(Kept { number: head.number, vcpu: head.vcpu, record });
        }
    }

    /// Hands out records from the newest to the oldest, until `each` wants no more.
    pub(in crate::monitor) fn newest_first(&self, mut each: impl FnMut(Kept<'_>) -> bool) {
        let mut end = self.words.len();
        let mut words = Vec::new();
        for head in self.heads.iter().rev() {
            let start = end - head.words as usize;
            words.clear();
            words.extend(self.words.range(start..end));
            end = start;
            // What was encoded here is a record.
            let Ok(record) = Record::decode(head.kind, &words) else { continue };
            if !each(Kept { number: head.number, vcpu: head.vcpu, record }) {
                break;
            }
        }
    }
}
