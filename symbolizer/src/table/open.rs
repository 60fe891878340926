//! Opening a table: everything that a lookup relies on is checked here, once.

use std::ops::Range;

use crate::build_id::BuildId;
use crate::identity::{Identity, TextHash};
use crate::table::format::{
    CHECKED, CHECKSUM, COUNTS, Counts, FINGERPRINT, HEADER, IDENTITY, IDENTITY_BYTES, Layout, MAGIC,
    MAX_NODES, NO_SYMBOLS, NODE, NONE, ROW, SPAN, SYMBOL, Span, VERSION, WORD,
};
use crate::table::{Table, decode};

/// Why bytes are no table. What it was made from is still there, so it is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// It is something else.
    #[error("this is no symbol table of uniprof; delete it, it is made again from the image")]
    NotATable,
    /// It was made by another version.
    #[error("the symbol table is of version {found}, not {VERSION}; it is made again from the image")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Bytes are missing or other than those that were written.
    #[error("the symbol table is damaged; it is made again from the image")]
    Damaged,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], TableError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(TableError::Damaged)
}

fn number(bytes: &[u8], at: usize) -> Result<u32, TableError> {
    Ok(u32::from_le_bytes(array(bytes, at)?))
}

impl Table {
    /// Opens the table in the bytes of its file.
    ///
    /// # Errors
    ///
    /// [`TableError`]; the bytes may be anything.
    pub fn open(mut bytes: Vec<u8>) -> Result<Self, TableError> {
        if !bytes.starts_with(MAGIC) {
            return Err(TableError::NotATable);
        }
        let version = number(&bytes, 8)?;
        if version != VERSION {
            return Err(TableError::Version { found: version });
        }
        let size = u64::from_le_bytes(array(&bytes, 16)?);
        if number(&bytes, 12)? as usize != HEADER || size != bytes.len() as u64 {
            return Err(TableError::Damaged);
        }
        let checked = bytes.get(CHECKED..).ok_or(TableError::Damaged)?;
        if crc32fast::hash(checked) != number(&bytes, CHECKSUM)? {
            return Err(TableError::Damaged);
        }
        let counts: [u8; 32] = array(&bytes, COUNTS)?;
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(counts.as_chunks::<WORD>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let counts = Counts::from_words(words);
        let layout = Layout::new(&counts);
        if layout.text.end != bytes.len() {
            return Err(TableError::Damaged);
        }
        let identity = identity(&bytes)?;
        let fingerprint = u64::from_le_bytes(array(&bytes, FINGERPRINT)?);
        let text = bytes.split_off(layout.text.start);
        let text = String::from_utf8(text).map_err(|_| TableError::Damaged)?;
        let table = Self { head: bytes, text, layout, counts, identity, fingerprint };
        table.check()?;
        Ok(table)
    }

    fn check(&self) -> Result<(), TableError> {
        let part = |range: &Range<usize>| self.head.get(range.clone()).unwrap_or_default();
        let sound = check_strings(part(&self.layout.ends), &self.text)
            && (self.counts.damage == NONE || self.counts.damage < self.counts.strings)
            && check_nodes(part(&self.layout.nodes), self.counts.strings, &self.text)
            && check_rows(part(&self.layout.rows), &self.counts)
            && self.check_spans(part(&self.layout.spans));
        if sound { Ok(()) } else { Err(TableError::Damaged) }
    }

    /// Spans follow each other in addresses, rows and buckets.
    fn check_spans(&self, spans: &[u8]) -> bool {
        let starts = self.head[self.layout.rows.clone()].as_chunks::<ROW>().0;
        let buckets = self.head[self.layout.buckets.clone()].as_chunks::<WORD>().0;
        let (mut rows, mut bucket, mut base) = (0u32, 0u32, None);
        for span in spans.as_chunks::<SPAN>().0.iter().map(Span::decode) {
            let follows = base.is_none_or(|before| before < span.base)
                && (span.first_row, span.first_bucket) == (rows, bucket)
                && span.rows > 0
                && span.buckets > 1
                && span.shift < 32;
            let (Some(next_row), Some(next_bucket), true) =
                (rows.checked_add(span.rows), bucket.checked_add(span.buckets), follows)
            else {
                return false;
            };
            let Some(own) = starts.get(rows as usize..next_row as usize) else { return false };
            let Some(index) = buckets.get(bucket as usize..next_bucket as usize) else { return false };
            let value = |bytes: &[u8; WORD]| u32::from_le_bytes(*bytes);
            let start = |row: &[u8; ROW]| decode::<1, ROW>(row)[0];
            let rises = own.windows(2).all(|pair| start(&pair[0]) < start(&pair[1]));
            let inside = index.iter().all(|row| (rows..next_row).contains(&value(row)));
            let ordered = index.windows(2).all(|pair| value(&pair[0]) <= value(&pair[1]));
            if start(&own[0]) != 0 || !rises || !inside || !ordered {
                return false;
            }
            (rows, bucket, base) = (next_row, next_bucket, Some(span.base));
        }
        (rows, bucket) == (self.counts.rows, self.counts.buckets)
    }
}

fn identity(bytes: &[u8]) -> Result<Option<Identity>, TableError> {
    let [kind, len]: [u8; 2] = array(bytes, IDENTITY)?;
    let content: [u8; BuildId::MAX_BYTES] = array(bytes, IDENTITY_BYTES)?;
    let content = content.get(..usize::from(len)).ok_or(TableError::Damaged)?;
    match kind {
        0 if content.is_empty() => Ok(None),
        1 => BuildId::new(content).map(|id| Some(Identity::BuildId(id))).ok_or(TableError::Damaged),
        2 => {
            let hash = content.try_into().map_err(|_| TableError::Damaged)?;
            Ok(Some(Identity::TextHash(TextHash(hash))))
        }
        _ => Err(TableError::Damaged),
    }
}

fn check_strings(ends: &[u8], text: &str) -> bool {
    let mut last = 0;
    for end in ends.as_chunks::<WORD>().0 {
        let end = u32::from_le_bytes(*end) as usize;
        if end < last || !text.is_char_boundary(end) {
            return false;
        }
        last = end;
    }
    true
}

/// A node is inlined into an earlier one, so chains end.
fn check_nodes(nodes: &[u8], strings: u32, text: &str) -> bool {
    let string = |number: u32| number < strings;
    let border = |at: u32| text.is_char_boundary(at as usize);
    nodes.as_chunks::<NODE>().0.iter().zip(0u32..).all(|(bytes, number)| {
        let [start, end, parent, file] = decode::<4, NODE>(bytes);
        let root = parent == NONE || parent == SYMBOL;
        let named = start <= end && border(start) && border(end);
        named && (root || parent < number) && (file == NONE || string(file))
    })
}

fn check_rows(rows: &[u8], counts: &Counts) -> bool {
    counts.nodes <= MAX_NODES
        && rows.as_chunks::<ROW>().0.iter().all(|row| {
            let [_, node, file] = decode::<3, ROW>(row);
            (node < counts.nodes || node >= NO_SYMBOLS) && (file == NONE || file < counts.strings)
        })
}
