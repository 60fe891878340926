//! The last records that are no samples, as they came: undecoded, because most of them nobody gets to see.

use std::collections::VecDeque;

use uniprof_wire::record::{Kind, Record};

/// Words of all records together: 8 MiB.
const MOST_WORDS: usize = 1 << 20;
/// Records that are kept.
const MOST_RECORDS: usize = 1 << 17;

/// The last records.
#[derive(Debug, Default)]
pub(super) struct Tail {
    heads: VecDeque<Head>,
    words: VecDeque<u64>,
    /// The record that is being put together.
    scratch: Vec<u64>,
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
pub(super) struct Kept<'a> {
    pub(super) number: u64,
    pub(super) vcpu: u32,
    pub(super) record: Record<'a>,
}

impl Tail {
    /// Keeps a record, under a number that is larger than all before.
    pub(super) fn push(&mut self, number: u64, vcpu: u32, record: &Record<'_>) {
        let scratch = &mut self.scratch;
        scratch.clear();
        record.encode(|at, words| {
            scratch.resize(at, 0);
            scratch.extend_from_slice(words);
        });
        if scratch.len() > MOST_WORDS {
            return;
        }
        while self.heads.len() >= MOST_RECORDS || self.words.len() + scratch.len() > MOST_WORDS {
            let Some(head) = self.heads.pop_front() else { break };
            self.words.drain(..head.words as usize);
        }
        self.words.extend(scratch.iter());
        self.heads.push_back(Head { kind: record.kind(), vcpu, words: scratch.len() as u32, number });
    }

    /// Hands out records from the newest to the oldest, until `each` wants no more.
    pub(super) fn newest_first(&self, mut each: impl FnMut(Kept<'_>) -> bool) {
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
