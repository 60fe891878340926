//! Stack snapshots: registers and the top of the stack go into the ring as they are, and the host finds the callers.

use core::ops::Range;

use uniprof_wire::record::{Kind, SNAPSHOT_HEAD, SnapshotRecord};
use uniprof_wire::ring::{Writer, WriterWords};

/// Writes `head` with the words from its `rsp` up, as far as `stack` goes and at most `most_bytes`, copied straight into the ring:
/// the stack that a tick runs on may be smaller than what it copies. Nothing of the stack where `rsp` lies outside it.
///
/// # Safety
/// `stack` can be read.
pub(crate) unsafe fn write<W: WriterWords + Copy>(
    writer: &Writer<W>,
    head: SnapshotRecord<'_>,
    stack: &Range<usize>,
    most_bytes: usize,
) {
    let rsp = head.registers.rsp as usize;
    let known = stack.contains(&rsp);
    let words = if known { (stack.end - rsp).min(most_bytes) / 8 } else { 0 };
    let stack_end = if known { stack.end as u64 } else { 0 };
    let fixed = SnapshotRecord { stack_end, ..head }.head(words);
    // A refusal is counted in the ring.
    let _ = writer.write(Kind::Snapshot, 1 + SNAPSHOT_HEAD + words, |payload| {
        payload.put(0, head.tsc);
        payload.put_all(1, &fixed);
        for i in 0..words {
            // SAFETY: `rsp + 8 * words <= stack.end`. A stack need not be aligned.
            let word = unsafe { ((rsp + 8 * i) as *const u64).read_unaligned() };
            payload.put(1 + SNAPSHOT_HEAD + i, word);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use uniprof_wire::record::{Record, Records, Registers};
    use uniprof_wire::ring::{self, Block, RingGeometry, Source};

    use super::*;

    const SALT: u32 = 0x1234_5678;

    /// What the ring holds after a snapshot at `rsp` of `stack`, and how many refusals it counts.
    fn taken(rsp: usize, stack: &Range<usize>, most_bytes: usize, check: impl FnOnce(SnapshotRecord<'_>)) {
        let geometry = RingGeometry::new(4096, 1024);
        let memory = vec![Cell::new(0); geometry.total_words()];
        let writer = Writer::new(&memory[..], geometry, SALT);
        writer.format();
        let registers = Registers { rip: 1, rsp: rsp as u64, rbp: 3, rbx: 4, r12: 5, r13: 6, r14: 7, r15: 8 };
        let head = SnapshotRecord {
            tsc: 9,
            thread: 10,
            registers,
            weight: 11,
            missed: 12,
            stack_end: 0,
            stack: &[],
        };
        // SAFETY: the tests' ranges are live vectors, or never read.
        unsafe { write(&writer, head, stack, most_bytes) };
        let mut out = vec![0; geometry.sub_buffer_words()];
        let Block::Copied { start, end, .. } =
            ring::read_block(&&memory[..], geometry, Source::Live, 0, &mut out)
        else {
            panic!("nothing was written")
        };
        let mut records = Records::new(&out[..(end - start) as usize], start, SALT);
        let Ok(Record::Snapshot(found)) = records.next().unwrap().record else { panic!("no snapshot") };
        assert_eq!(SnapshotRecord { stack_end: 0, stack: &[], ..found }, head);
        check(found);
    }

    fn stack() -> (Vec<u64>, Range<usize>) {
        let words: Vec<u64> = (0..100).map(|i| 0x5000 + i).collect();
        let range = words.as_ptr_range();
        let range = range.start as usize..range.end as usize;
        (words, range)
    }

    #[test]
    fn takes_what_was_asked_for() {
        let (words, range) = stack();
        taken(range.start + 80, &range, 64, |found| {
            assert_eq!(found.stack, &words[10..18]);
            assert_eq!(found.stack_end, range.end as u64);
            assert!(!found.reaches_stack_end());
        });
    }

    #[test]
    fn ends_with_the_stack() {
        let (words, range) = stack();
        taken(range.start + 80, &range, 4096, |found| {
            assert_eq!(found.stack, &words[10..]);
            assert!(found.reaches_stack_end());
        });
        taken(range.end - 8, &range, 4096, |found| assert_eq!(found.stack, &words[99..]));
        taken(range.end - 7, &range, 4096, |found| {
            assert!(found.stack.is_empty() && found.reaches_stack_end());
        });
    }

    #[test]
    fn an_unaligned_stack_is_copied_from_where_it_points() {
        let (_words, range) = stack();
        taken(range.start + 4, &range, 16, |found| {
            assert_eq!(found.stack, [0x5001 << 32, 0x5002 << 32]);
        });
    }

    #[test]
    fn a_stack_pointer_outside_the_stack_brings_registers_only() {
        let (_words, range) = stack();
        for rsp in [range.start - 1, range.end, 0, usize::MAX] {
            taken(rsp, &range, 4096, |found| {
                assert_eq!((found.stack.len(), found.stack_end), (0, 0));
            });
        }
        taken(8, &(0..0), 4096, |found| assert!(found.stack.is_empty()));
    }
}
