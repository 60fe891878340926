//! The flattened form of a dump: pieces that say where they belong, as `makedumpfile -F` and QEMU write it into pipes.
//!
//! ```text
//! 0      "makedumpfile", padded to 16 bytes; type 1 and version 1 as big-endian words
//! 4096   offset, length (big-endian words), bytes; offset, length, bytes; …
//!        -1, -1
//! ```
//! Pieces may come in any order, and later ones overwrite earlier ones: a header may be written again at the end.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

use super::Fault;
use super::layers::{Layer, Place, seen};
use super::source::ReadAt;

pub(super) const MAGIC: &[u8] = b"makedumpfile\0\0\0\0";
const RECORDS_AT: u64 = 4096;
const HEADER: u64 = 16;
/// Each costs 24 bytes. QEMU writes pieces of 16 KiB, so that 16 GiB of incompressible memory take about a million.
const MOST_RECORDS: usize = 3 << 19;

/// A piece: where it belongs, how long it is, where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    start: u64,
    len: u64,
    at: u64,
}

/// A dump put together again, without copying it.
pub(super) struct Flattened {
    source: Arc<dyn ReadAt>,
    /// Rising, without overlaps.
    records: Vec<Record>,
}

impl Flattened {
    /// Reads where the pieces are, not what they hold. Remarks tell what is wrong.
    pub(super) fn open(source: Arc<dyn ReadAt>, remarks: &mut Vec<String>) -> Result<Self, Fault> {
        let mut kinds = [0; 16];
        source
            .read_exact_at(&mut kinds, MAGIC.len() as u64)
            .map_err(|_| Fault::Damaged("it ends within its flattened header".into()))?;
        if u64::from_be_bytes(first(&kinds)) != 1 {
            return Err(Fault::Unknown("its flattened form is of a type that is not known".into()));
        }
        let (mut records, end) = collect(&*source)?;
        remarks.extend(end);
        if records.is_empty() {
            return Err(Fault::Damaged("it holds no pieces of a dump".into()));
        }
        records.sort_unstable_by_key(|record| (record.start, record.at));
        uncover(&mut records);
        Ok(Self { source, records })
    }

    /// The pieces from the one that holds `at`, or the first behind it.
    fn from(&self, at: u64) -> &[Record] {
        &self.records[self.records.partition_point(|record| record.start + record.len <= at)..]
    }
}

impl ReadAt for Flattened {
    fn size(&self) -> u64 {
        self.records.last().map_or(0, |last| last.start + last.len)
    }

    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut at, mut rest) = (offset, into);
        for record in self.from(offset) {
            if rest.is_empty() || record.start > at {
                break;
            }
            let inside = at - record.start;
            let (now, later) = rest.split_at_mut((record.len - inside).min(rest.len() as u64) as usize);
            self.source.read_exact_at(now, record.at + inside)?;
            at += now.len() as u64;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    fn data(&self) -> io::Result<Vec<Range<u64>>> {
        let mut joined: Vec<Range<u64>> = Vec::new();
        for record in &self.records {
            let end = record.start + record.len;
            match joined.last_mut() {
                Some(last) if last.end == record.start => last.end = end,
                _ => joined.push(record.start..end),
            }
        }
        Ok(joined)
    }

    fn has(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for record in self.from(at) {
            if at >= range.end || record.start > at {
                break;
            }
            at = record.start + record.len;
        }
        at >= range.end
    }
}

fn first(bytes: &[u8; 16]) -> [u8; 8] {
    *bytes.first_chunk().unwrap_or(&[0; 8])
}

/// All pieces in the order of the file, and what is wrong with its end.
fn collect(source: &dyn ReadAt) -> Result<(Vec<Record>, Option<String>), Fault> {
    let (mut records, mut at) = (Vec::new(), RECORDS_AT);
    let size = source.size();
    loop {
        let mut header = [0; HEADER as usize];
        if size < at.saturating_add(HEADER) {
            return Ok((
                records,
                Some(format!("It is cut off: it ends at byte {size} without its end mark.")),
            ));
        }
        source.read_exact_at(&mut header, at)?;
        let start = i64::from_be_bytes(first(&header));
        let len = i64::from_be_bytes(header.last_chunk().copied().unwrap_or_default());
        at += HEADER;
        if start == -1 && len == -1 {
            return Ok((records, None));
        }
        let (Ok(start), Ok(len)) = (u64::try_from(start), u64::try_from(len)) else {
            let what = format!("It is damaged at byte {}: what follows is not read.", at - HEADER);
            return Ok((records, Some(what)));
        };
        if records.len() == MOST_RECORDS {
            return Err(Fault::Damaged(format!("it has more than {MOST_RECORDS} pieces")));
        }
        let there = len.min(size - at);
        if there > 0 {
            records.push(Record { start, len: there, at });
        }
        if there < len {
            return Ok((
                records,
                Some(format!("It is cut off: {} of its last piece are missing.", super::amount(len - there))),
            ));
        }
        at += len;
    }
}

/// Of pieces that overlap, leaves what the later ones do not cover. Most dumps have a few of those.
fn uncover(records: &mut Vec<Record>) {
    let overlaps = |pair: &[Record]| pair[0].start + pair[0].len > pair[1].start;
    if !records.windows(2).any(overlaps) {
        return;
    }
    let mut out = Vec::with_capacity(records.len());
    let mut rest = &records[..];
    while let Some(first) = rest.first() {
        let mut end = first.start + first.len;
        let mut count = 1;
        while let Some(next) = rest.get(count).filter(|next| next.start < end) {
            end = end.max(next.start + next.len);
            count += 1;
        }
        let (cluster, later) = rest.split_at(count);
        rest = later;
        if count == 1 {
            out.push(*first);
            continue;
        }
        let mut in_file: Vec<_> = cluster.iter().collect();
        in_file.sort_unstable_by_key(|record| record.at);
        let layers = in_file.iter().enumerate().map(|(rank, record)| Layer {
            start: record.start,
            end: record.start + record.len,
            rank: rank as u32,
            place: Place::Stored(record.at),
        });
        out.extend(seen(layers.collect()).iter().filter_map(|piece| match piece.place {
            Place::Stored(at) => Some(Record { start: piece.start, len: piece.end - piece.start, at }),
            _ => None,
        }));
    }
    *records = out;
}
