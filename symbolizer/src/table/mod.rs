//! The names of a whole image in one flat table: an address is looked up in it without parsing anything.

mod base;
mod build;
mod format;
mod merge;
mod open;
mod strings;
mod write;

use uniprof_wire::address::LinkAddress;

use crate::identity::Identity;
use crate::resolution::Source;
use crate::table::format::{
    Counts, GAP, Layout, NO_SYMBOLS, NODE, NONE, NOT_CODE, OUTSIDE, ROW, SPAN, SYMBOL, Span, WORD,
};

pub(crate) use format::VERSION as TABLE_VERSION;
pub(crate) use merge::NAMELESS;
pub use open::TableError;

/// More frames than any compiler inlines into one address.
const MAX_FRAMES: usize = 256;

/// A table, checked as a whole when it is opened: no lookup fails, whatever the file says.
#[derive(Debug, Clone)]
pub struct Table {
    /// The file up to the text.
    head: Vec<u8>,
    text: String,
    layout: Layout,
    counts: Counts,
    identity: Option<Identity>,
    fingerprint: u64,
}

/// One function of an address, borrowed from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRef<'t> {
    /// The function's readable name.
    pub function: &'t str,
    /// The source file.
    pub file: Option<&'t str>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
    /// Whether the function was inlined into the next outer frame.
    pub inlined: bool,
}

/// What a table knows of an address.
#[derive(Debug, Clone)]
pub enum Answer<'t> {
    /// Code with a name.
    Known {
        /// The functions, innermost first.
        frames: Frames<'t>,
        /// Where they come from.
        source: Source,
    },
    /// No address of the image.
    OutsideImage,
    /// In the image, but no code.
    NotExecutable {
        /// The section that it lies in.
        section: Option<&'t str>,
    },
    /// The image was stripped of all names.
    NoSymbols {
        /// The section that it lies in.
        section: Option<&'t str>,
    },
    /// No symbol covers it.
    Gap {
        /// The section that it lies in.
        section: Option<&'t str>,
    },
}

/// Where in a file a function is, or the call of the function that is inlined into it.
#[derive(Debug, Clone, Copy)]
struct Place {
    node: u32,
    file: u32,
    line: u32,
}

#[inline]
fn word(bytes: &[u8], index: u32) -> u32 {
    bytes.as_chunks::<WORD>().0.get(index as usize).map_or(NONE, |word| u32::from_le_bytes(*word))
}

#[inline]
fn decode<const N: usize, const B: usize>(record: &[u8; B]) -> [u32; N] {
    let mut found = [0; N];
    for (word, bytes) in found.iter_mut().zip(record.as_chunks::<WORD>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    found
}

impl Table {
    /// What is at an address of the image.
    #[must_use]
    pub fn look_up(&self, link: LinkAddress) -> Answer<'_> {
        let Some([_, node, file, line]) = self.row(link.0) else { return Answer::OutsideImage };
        let section = || self.string(file);
        match node {
            OUTSIDE => Answer::OutsideImage,
            NOT_CODE => Answer::NotExecutable { section: section() },
            GAP => Answer::Gap { section: section() },
            NO_SYMBOLS => Answer::NoSymbols { section: section() },
            _ => {
                let frames = Frames { table: self, next: Some(Place { node, file, line }), left: MAX_FRAMES };
                let [_, _, parent, ..] = self.node(node);
                let source = if parent == SYMBOL { Source::SymbolTable } else { Source::Dwarf };
                Answer::Known { frames, source }
            }
        }
    }

    /// The functions of an address, innermost first; none where it has no name.
    #[must_use]
    pub fn frames(&self, link: LinkAddress) -> Frames<'_> {
        match self.look_up(link) {
            Answer::Known { frames, .. } => frames,
            _ => Frames { table: self, next: None, left: 0 },
        }
    }

    /// The last row that begins at or before an address: its start, node, file and line.
    #[inline]
    fn row(&self, address: u64) -> Option<[u32; 4]> {
        let spans = self.head[self.layout.spans.clone()].as_chunks::<SPAN>().0;
        let after = spans.partition_point(|span| Span::decode(span).base <= address);
        let span = Span::decode(spans.get(after.checked_sub(1)?)?);
        let offset = u32::try_from(address - span.base).unwrap_or(u32::MAX);
        let bucket = (offset >> span.shift).min(span.buckets.saturating_sub(2));
        let buckets = &self.head[self.layout.buckets.clone()];
        let from = word(buckets, span.first_bucket + bucket);
        let to = word(buckets, span.first_bucket + bucket + 1).max(from);
        let rows = self.head[self.layout.rows.clone()].as_chunks::<ROW>().0;
        let candidates = rows.get(from as usize..=to as usize)?;
        let found = candidates.partition_point(|row| decode::<1, ROW>(row)[0] <= offset);
        // The first candidate begins before the bucket does.
        candidates.get(found.saturating_sub(1)).map(decode::<4, ROW>)
    }

    /// Where the function's name begins and ends in the text, outer node, file and line of a node.
    #[inline]
    fn node(&self, node: u32) -> [u32; 5] {
        let nodes = self.head[self.layout.nodes.clone()].as_chunks::<NODE>().0;
        nodes.get(node as usize).map_or([NONE; 5], decode::<5, NODE>)
    }

    #[inline]
    fn string(&self, number: u32) -> Option<&str> {
        if number == NONE {
            return None;
        }
        let ends = &self.head[self.layout.ends.clone()];
        let start = number.checked_sub(1).map_or(0, |before| word(ends, before));
        self.text.get(start as usize..word(ends, number) as usize)
    }

    /// Which image it is of; `None` where that image had no identity.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// How many units of the debug information were damaged, and what was wrong with the first of them.
    #[must_use]
    pub fn damage(&self) -> Option<(u32, &str)> {
        (self.counts.damaged > 0)
            .then(|| (self.counts.damaged, self.string(self.counts.damage).unwrap_or_default()))
    }

    /// The first address of every row: between two of them nothing changes.
    pub fn addresses(&self) -> impl Iterator<Item = LinkAddress> {
        let spans = self.head[self.layout.spans.clone()].as_chunks::<SPAN>().0.iter().map(Span::decode);
        let rows = self.head[self.layout.rows.clone()].as_chunks::<ROW>().0;
        spans.flat_map(move |span| {
            let own = span.first_row as usize..(span.first_row + span.rows) as usize;
            let start = move |row| u64::from(decode::<1, ROW>(row)[0]);
            rows[own].iter().map(move |row| LinkAddress(span.base.wrapping_add(start(row))))
        })
    }

    /// The table's file, in two parts that follow each other.
    #[must_use]
    pub fn as_bytes(&self) -> [&[u8]; 2] {
        [&self.head, self.text.as_bytes()]
    }

    /// The size of its file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.head.len() + self.text.len()) as u64
    }
}

/// The functions of an address, innermost first; the last one is not inlined.
#[derive(Debug, Clone)]
pub struct Frames<'t> {
    table: &'t Table,
    next: Option<Place>,
    left: usize,
}

impl<'t> Iterator for Frames<'t> {
    type Item = FrameRef<'t>;

    #[inline]
    fn next(&mut self) -> Option<FrameRef<'t>> {
        let place = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        let [start, end, parent, file, line] = self.table.node(place.node);
        let inlined = parent < format::MAX_NODES;
        if inlined {
            self.next = Some(Place { node: parent, file, line });
        }
        Some(FrameRef {
            function: self.table.text.get(start as usize..end as usize).unwrap_or_default(),
            file: self.table.string(place.file),
            line: (place.line > 0).then_some(place.line),
            inlined,
        })
    }
}
