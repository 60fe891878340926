//! Writes kdump-compressed files, plain and flattened, from makedumpfile's and QEMU's descriptions of them.

use std::io::Write;

use super::bytes::Bytes;

/// How a page is stored; the numbers are the flags of its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Plain = 0,
    Zlib = 1,
    Lzo = 2,
    Snappy = 4,
    Zstd = 0x20,
}

pub(super) const COMPRESSED: [How; 4] = [How::Zlib, How::Lzo, How::Snappy, How::Zstd];

pub(super) fn pack(how: How, page: &[u8]) -> Vec<u8> {
    match how {
        How::Plain => page.to_vec(),
        How::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(page).unwrap();
            encoder.finish().unwrap()
        }
        How::Lzo => lzokay::compress::compress(page).unwrap(),
        How::Snappy => snap::raw::Encoder::new().compress_vec(page).unwrap(),
        How::Zstd => ruzstd::encoding::compress_to_vec(page, ruzstd::encoding::CompressionLevel::Fastest),
    }
}

/// A page of the dump: its number, its descriptor's flags, its bytes as they are stored. `None`: it has only zeros.
pub(super) type Page = (u64, Option<(u32, Vec<u8>)>);

pub(super) fn stored(number: u64, how: How, bytes: &[u8]) -> Page {
    (number, Some((how as u32, pack(how, bytes))))
}

/// What a file holds.
#[derive(Clone)]
pub(super) struct Spec {
    /// Whether the writer had words of 64 bits.
    pub(super) wide: bool,
    pub(super) block: usize,
    pub(super) version: u32,
    pub(super) status: u32,
    pub(super) split: u32,
    pub(super) pages: Vec<Page>,
    /// Pages that there were, and which are not in the dump.
    pub(super) left_out: Vec<u64>,
    pub(super) notes: Vec<u8>,
    pub(super) vmcoreinfo: Vec<u8>,
    pub(super) one_bitmap: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            wide: true,
            block: 4096,
            version: 6,
            status: 1,
            split: 0,
            pages: Vec::new(),
            left_out: Vec::new(),
            notes: Vec::new(),
            vmcoreinfo: Vec::new(),
            one_bitmap: false,
        }
    }
}

impl Spec {
    fn end(&self) -> u64 {
        let numbers = self.pages.iter().map(|(number, _)| number).chain(&self.left_out);
        numbers.max().map_or(0, |last| last + 1)
    }

    fn main_header(&self, sub_blocks: u32, bitmap_blocks: u32) -> Vec<u8> {
        let mut bytes = Bytes::default().raw(b"KDUMP   ").u32(self.version).zeros(6 * 65);
        // Padding and a time of two words.
        bytes = bytes.zeros(if self.wide { 6 + 16 } else { 2 + 8 });
        bytes = bytes.u32(self.status).u32(self.block as u32).u32(sub_blocks).u32(bitmap_blocks);
        bytes = bytes.u32(self.end() as u32).u32(self.pages.len() as u32).u32(0).u32(0).u32(0).u32(1);
        bytes.0
    }

    fn sub_header(&self, notes_at: u64, info_at: u64) -> Vec<u8> {
        let long =
            |bytes: Bytes, value: u64| if self.wide { bytes.u64(value) } else { bytes.u32(value as u32) };
        let mut bytes = long(Bytes::default(), 0).u32(1).u32(self.split);
        bytes = long(long(bytes, 0), self.end());
        bytes = long(bytes.u64(info_at), self.vmcoreinfo.len() as u64);
        bytes = long(bytes.u64(notes_at), self.notes.len() as u64);
        bytes = long(bytes.u64(0), 0);
        bytes.u64(0).u64(0).u64(self.end()).0
    }

    fn bitmap(&self, numbers: impl Iterator<Item = u64>) -> Vec<u8> {
        let mut bits = vec![0; (self.end().div_ceil(8) as usize).next_multiple_of(self.block)];
        for number in numbers {
            bits[number as usize / 8] |= 1 << (number % 8);
        }
        bits
    }

    /// The file.
    pub(super) fn file(&self) -> Vec<u8> {
        let notes_at = self.block as u64 + 128;
        let info_at = notes_at + self.notes.len() as u64;
        let sub_end = info_at as usize + self.vmcoreinfo.len();
        let sub_blocks = (sub_end - self.block).div_ceil(self.block);
        let dumped = self.bitmap(self.pages.iter().map(|(number, _)| *number));
        let memory = self.bitmap(self.pages.iter().map(|(number, _)| number).chain(&self.left_out).copied());
        let bitmaps = if self.one_bitmap { dumped } else { [memory, dumped].concat() };
        let mut file = self.main_header(sub_blocks as u32, (bitmaps.len() / self.block) as u32);
        file.resize(self.block, 0);
        file.extend(self.sub_header(notes_at, if self.vmcoreinfo.is_empty() { 0 } else { info_at }));
        file.resize(notes_at as usize, 0);
        file.extend(&self.notes);
        file.extend(&self.vmcoreinfo);
        file.resize((1 + sub_blocks) * self.block, 0);
        file.extend(bitmaps);
        let zeros_at = (file.len() + 24 * self.pages.len()) as u64;
        let mut data = Bytes::default().zeros(self.block);
        for (_, page) in &self.pages {
            let (at, len, flags) = match page {
                None => (zeros_at, self.block, 0),
                Some((flags, bytes)) => (zeros_at + data.0.len() as u64, bytes.len(), *flags),
            };
            file.extend(Bytes::default().u64(at).u32(len as u32).u32(flags).u64(0).0);
            if let Some((_, bytes)) = page {
                data = data.raw(bytes);
            }
        }
        file.extend(data.0);
        file
    }
}

/// Pieces that say where they belong, in a file.
pub(super) fn flattened(pieces: &[(u64, &[u8])], ended: bool) -> Vec<u8> {
    let mut file = b"makedumpfile\0\0\0\0".to_vec();
    file.extend(1u64.to_be_bytes());
    file.extend(1u64.to_be_bytes());
    file.resize(4096, 0);
    for (at, bytes) in pieces {
        file.extend(at.to_be_bytes());
        file.extend((bytes.len() as u64).to_be_bytes());
        file.extend(*bytes);
    }
    if ended {
        file.extend([0xff; 16]);
    }
    file
}

/// A file in pieces of odd sizes, the later half first; the header is written as zeros at first, as makedumpfile does.
pub(super) fn in_pieces(file: &[u8]) -> Vec<u8> {
    let zeros = vec![0; 464];
    let mut pieces: Vec<(u64, &[u8])> = vec![(0, &zeros)];
    let (mut at, mut size) = (0, 1000);
    let mut later = Vec::new();
    while at < file.len() {
        let end = (at + size).min(file.len());
        if at == 0 { &mut later } else { &mut pieces }.push((at as u64, &file[at..end]));
        (at, size) = (end, size * 3 % 7919 + 1);
    }
    pieces[1..].reverse();
    pieces.extend(later);
    flattened(&pieces, true)
}
