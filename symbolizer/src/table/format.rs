//! The layout of a table's file; `docs/symbolizer.md` draws it. All numbers are little-endian, all places are counted
//! from the start of their array, so the file can be read or mapped anywhere.

use std::ops::Range;

/// What a table's file starts with.
pub(crate) const MAGIC: &[u8; 8] = b"UPSYMTAB";
/// Tables of any other version are made anew. It goes up also where the same image gets other names.
pub(crate) const VERSION: u32 = 4;
/// The size of the header.
pub(crate) const HEADER: usize = 160;
/// Where the checksum stands; it is over all that follows it.
pub(crate) const CHECKSUM: usize = 24;
/// Where the bytes begin that the checksum is over.
pub(crate) const CHECKED: usize = 28;
/// Where the identity begins: its kind, its length, and up to 64 bytes.
pub(crate) const IDENTITY: usize = 32;
pub(crate) const IDENTITY_BYTES: usize = 40;
/// What the table was made of besides the image's file.
pub(crate) const FINGERPRINT: usize = 104;
pub(crate) const COUNTS: usize = 112;

/// No string, no file, or no outer function.
pub(crate) const NONE: u32 = u32::MAX;
/// As the outer function of a node: none, and the name is from the symbol table.
pub(crate) const SYMBOL: u32 = u32::MAX - 1;
/// As the node of a row: there is none, for one of four reasons; the row's file is the name of the section then.
pub(crate) const OUTSIDE: u32 = u32::MAX;
pub(crate) const NOT_CODE: u32 = u32::MAX - 1;
pub(crate) const GAP: u32 = u32::MAX - 2;
pub(crate) const NO_SYMBOLS: u32 = u32::MAX - 3;
/// Numbers from here on are no nodes.
pub(crate) const MAX_NODES: u32 = u32::MAX - 16;

pub(crate) const SPAN: usize = 32;
pub(crate) const WORD: usize = 4;
/// A row's start, node, file and line stand together: a lookup touches one line of the processor's cache.
pub(crate) const ROW: usize = 16;
/// Where a node's function begins and ends in the text, its outer node, file and line. Not the function's number: that would
/// be one more place in memory to wait for.
pub(crate) const NODE: usize = 20;

/// How many of each there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) spans: u32,
    pub(crate) buckets: u32,
    pub(crate) rows: u32,
    pub(crate) nodes: u32,
    pub(crate) strings: u32,
    /// Bytes of all strings and names together.
    pub(crate) text: u32,
    /// Units of the debug information that are damaged.
    pub(crate) damaged: u32,
    /// The first damage, as a string; or [`NONE`].
    pub(crate) damage: u32,
}

impl Counts {
    pub(crate) fn words(self) -> [u32; 8] {
        let Self { spans, buckets, rows, nodes, strings, text, damaged, damage } = self;
        [spans, buckets, rows, nodes, strings, text, damaged, damage]
    }

    pub(crate) fn from_words(
        [spans, buckets, rows, nodes, strings, text, damaged, damage]: [u32; 8],
    ) -> Self {
        Self { spans, buckets, rows, nodes, strings, text, damaged, damage }
    }
}

/// Where each array lies in the file. They follow each other, each at a multiple of eight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) spans: Range<usize>,
    pub(crate) buckets: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) nodes: Range<usize>,
    /// Where each string that is no function's name ends in the text; names follow behind the last.
    pub(crate) ends: Range<usize>,
    pub(crate) text: Range<usize>,
}

impl Layout {
    pub(crate) fn new(counts: &Counts) -> Self {
        let mut at = HEADER;
        let mut array = |count: u32, size: usize| {
            let start = at;
            // 64-bit arithmetic: the largest count times the largest element is far below its end.
            at = (start + count as usize * size).next_multiple_of(8);
            start..start + count as usize * size
        };
        Self {
            spans: array(counts.spans, SPAN),
            buckets: array(counts.buckets, WORD),
            rows: array(counts.rows, ROW),
            nodes: array(counts.nodes, NODE),
            ends: array(counts.strings, WORD),
            text: array(counts.text, 1),
        }
    }
}

/// Addresses that are less than 4 GiB apart, with an index into their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first address. Rows count from here.
    pub(crate) base: u64,
    pub(crate) first_row: u32,
    pub(crate) rows: u32,
    pub(crate) first_bucket: u32,
    /// The buckets, and one more that ends the last.
    pub(crate) buckets: u32,
    /// A bucket is for `1 << shift` addresses.
    pub(crate) shift: u32,
}

impl Span {
    pub(crate) fn encode(&self) -> [u8; SPAN] {
        let mut bytes = [0; SPAN];
        bytes[..8].copy_from_slice(&self.base.to_le_bytes());
        let words = [self.first_row, self.rows, self.first_bucket, self.buckets, self.shift];
        for (bytes, word) in bytes[8..].chunks_exact_mut(WORD).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[inline]
    pub(crate) fn decode(bytes: &[u8; SPAN]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
        let base = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
        let word =
            |index: usize| rest.as_chunks::<WORD>().0.get(index).map_or(0, |word| u32::from_le_bytes(*word));
        Self {
            base,
            first_row: word(0),
            rows: word(1),
            first_bucket: word(2),
            buckets: word(3),
            shift: word(4),
        }
    }
}
