//! Writing a table: rows come in the order of addresses, the index is made at the end.

use crate::identity::Identity;
use crate::table::format::{
    CHECKED, CHECKSUM, COUNTS, Counts, FINGERPRINT, HEADER, IDENTITY, IDENTITY_BYTES, Layout, MAGIC,
    MAX_NODES, OUTSIDE, Span, VERSION, WORD,
};
use crate::table::strings::Strings;

/// A row's node, file and line.
pub(crate) type Place = [u32; 3];
/// A node's function, outer node, file and line.
pub(crate) type Record = [u32; 4];

/// Addresses that nothing is said of for this long start a new span, so that buckets are not spent on them.
const FAR: u64 = 1 << 24;
/// How many rows a bucket should have.
const ROWS_PER_BUCKET: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct Writer {
    spans: Vec<Span>,
    starts: Vec<u32>,
    places: Vec<Place>,
    pub(crate) nodes: Vec<Record>,
    /// Names of functions.
    pub(crate) functions: Strings,
    /// Files, sections and the damage: few, so they are kept apart from the many names between which they would lie.
    pub(crate) strings: Strings,
    pub(crate) damaged: u32,
    pub(crate) damage: Option<String>,
    last: u64,
}

impl Writer {
    /// What holds from an address on. Addresses rise.
    pub(crate) fn row(&mut self, address: u64, place: Place) {
        if self.places.last() == Some(&place) {
            return;
        }
        let fresh = match self.spans.last() {
            None => true,
            Some(span) => {
                let unsaid = self.places.last().is_some_and(|last| last[0] == OUTSIDE);
                address - span.base > u64::from(u32::MAX >> 1) || unsaid && address - self.last > FAR
            }
        };
        if fresh {
            let first_row = self.starts.len() as u32;
            self.spans.push(Span {
                base: address,
                first_row,
                rows: 0,
                first_bucket: 0,
                buckets: 0,
                shift: 0,
            });
        }
        let Some(span) = self.spans.last_mut() else { return };
        span.rows += 1;
        self.starts.push((address - span.base) as u32);
        self.places.push(place);
        self.last = address;
    }

    /// The file's bytes; `None` where there is more than the format can hold.
    pub(crate) fn finish(mut self, identity: Option<&Identity>, fingerprint: u64) -> Option<Vec<u8>> {
        let too_many =
            self.nodes.len() >= MAX_NODES as usize || self.starts.len() >= (u32::MAX >> 2) as usize;
        if too_many {
            return None;
        }
        let damage = self.damage.take().map(|text| self.strings.number(&text));
        let text = u32::try_from(self.strings.text.len() + self.functions.text.len()).ok()?;
        let buckets = self.index();
        let counts = Counts {
            spans: self.spans.len() as u32,
            buckets: buckets.len() as u32,
            rows: self.starts.len() as u32,
            nodes: self.nodes.len() as u32,
            strings: self.strings.len(),
            text,
            damaged: self.damaged,
            damage: damage.unwrap_or(u32::MAX),
        };
        let layout = Layout::new(&counts);
        let mut out = header(identity, fingerprint, &counts, layout.text.end);
        out.reserve_exact(layout.text.end - out.len());
        let mut array = |at: usize, bytes: &mut dyn Iterator<Item = [u8; WORD]>| {
            out.resize(at, 0);
            bytes.for_each(|word| out.extend_from_slice(&word));
        };
        let mut spans = self.spans.iter().flat_map(|span| span.encode().as_chunks::<WORD>().0.to_vec());
        array(layout.spans.start, &mut spans);
        array(layout.buckets.start, &mut buckets.iter().map(|word| word.to_le_bytes()));
        drop(buckets);
        let rows = self.starts.iter().zip(&self.places);
        let mut rows =
            rows.flat_map(|(start, [node, file, line])| [*start, *node, *file, *line].map(u32::to_le_bytes));
        array(layout.rows.start, &mut rows);
        drop((std::mem::take(&mut self.starts), std::mem::take(&mut self.places)));
        let (functions, before) = (&self.functions, self.strings.text.len() as u32);
        let node = |[function, parent, file, line]: &Record| {
            let name = functions.place(*function);
            [before + name.start, before + name.end, *parent, *file, *line].map(u32::to_le_bytes)
        };
        array(layout.nodes.start, &mut self.nodes.iter().flat_map(node));
        array(layout.ends.start, &mut self.strings.ends.iter().map(|word| word.to_le_bytes()));
        out.resize(layout.text.start, 0);
        out.extend_from_slice(self.strings.text.as_bytes());
        out.extend_from_slice(self.functions.text.as_bytes());
        let checksum = crc32fast::hash(out.get(CHECKED..)?);
        out[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_le_bytes());
        Some(out)
    }

    /// For each bucket of each span the last row that begins at or before it.
    fn index(&mut self) -> Vec<u32> {
        let mut buckets = Vec::new();
        for span in &mut self.spans {
            let rows = span.first_row as usize..(span.first_row + span.rows) as usize;
            let starts = &self.starts[rows];
            let length = starts.last().map_or(0, |last| u64::from(*last)) + 1;
            let wanted = u64::from((span.rows / ROWS_PER_BUCKET).max(1));
            span.shift = length.div_ceil(wanted).next_power_of_two().ilog2().min(31);
            span.first_bucket = buckets.len() as u32;
            let count = length.div_ceil(1 << span.shift) as u32;
            let mut row = 0;
            for bucket in 0..=count {
                let start = u64::from(bucket) << span.shift;
                while starts.get(row + 1).is_some_and(|next| u64::from(*next) <= start) {
                    row += 1;
                }
                buckets.push(span.first_row + row as u32);
            }
            span.buckets = count + 1;
        }
        buckets
    }
}

fn header(identity: Option<&Identity>, fingerprint: u64, counts: &Counts, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, MAGIC);
    put(8, &VERSION.to_le_bytes());
    put(12, &(HEADER as u32).to_le_bytes());
    put(16, &(size as u64).to_le_bytes());
    let (kind, content): (u8, &[u8]) = match identity {
        None => (0, &[]),
        Some(Identity::BuildId(id)) => (1, id.as_bytes()),
        Some(Identity::TextHash(hash)) => (2, &hash.0),
    };
    put(IDENTITY, &[kind, content.len() as u8]);
    put(IDENTITY_BYTES, content);
    put(FINGERPRINT, &fingerprint.to_le_bytes());
    for (index, word) in counts.words().into_iter().enumerate() {
        put(COUNTS + index * WORD, &word.to_le_bytes());
    }
    bytes
}
