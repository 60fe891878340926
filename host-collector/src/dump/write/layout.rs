//! Which pages there are, and where in the file everything lies.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use super::{BLOCK, WriteError};
use crate::memory::GuestMemory;

/// Memory beyond 1 TiB is left out: a bitmap of it would take more than 32 MiB, and readers have to hold it. Only a guest that lies
/// about where its region is has any there.
const MOST_PAGES: u64 = 1 << 28;
/// `DUMP_DH_COMPRESSED_ZLIB`: pages whose descriptor says so are packed with zlib.
pub(super) const ZLIB: u32 = 1;
/// Bytes of the sub header.
const SUB_HEADER: u64 = 104;
/// Bytes of a page descriptor: offset, size, flags, page flags.
pub(super) const DESCRIPTOR: u64 = 24;
/// Written at a time where there is much of the same.
const CHUNK: usize = 64 << 10;

/// A run of pages that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Their numbers.
    pub(super) pages: Range<u64>,
    /// Those that were ever written to, in rising order; all else is zeros.
    pub(super) resident: Vec<Range<u64>>,
}

/// The memory as whole pages, in rising order, and what of it can't be dumped.
pub(super) fn extents(memory: &dyn GuestMemory) -> Result<(Vec<Extent>, Vec<String>), WriteError> {
    let mut remarks = Vec::new();
    let mut extents: Vec<Extent> = Vec::new();
    for range in memory.ranges()? {
        let inside = range.start.0.div_ceil(BLOCK)..range.end.0 / BLOCK;
        // Ranges are in rising order; whatever lies over the one before it is there already.
        let after = extents.last().map_or(0, |last| last.pages.end);
        let pages = inside.start.max(after)..inside.end.min(MOST_PAGES);
        if inside.end > MOST_PAGES {
            remarks.push(format!("memory from {} on is left out: it lies beyond 1 TiB", range.start));
        }
        if pages.start < pages.end {
            extents.push(Extent { pages, resident: Vec::new() });
        }
    }
    if extents.is_empty() {
        return Err(WriteError::Empty);
    }
    for range in memory.resident()? {
        // Outwards: a page of which a part was written to is not all zeros.
        let touched = range.start.0 / BLOCK..range.end.0.div_ceil(BLOCK);
        for extent in &mut extents {
            let done = extent.resident.last().map_or(0, |run| run.end);
            let run = touched.start.max(extent.pages.start).max(done)..touched.end.min(extent.pages.end);
            if run.start < run.end {
                extent.resident.push(run);
            }
        }
    }
    Ok((extents, remarks))
}

/// Where everything lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Pages in the dump.
    pub(super) dumped: u64,
    /// One more than the highest page number.
    max_page: u64,
    sub_blocks: u64,
    /// Of one bitmap.
    bitmap_blocks: u64,
    note_bytes: u64,
    cpus: usize,
}

impl Layout {
    pub(super) fn new(extents: &[Extent], note_bytes: u64, cpus: usize) -> Self {
        let max_page = extents.last().map_or(0, |extent| extent.pages.end);
        Self {
            dumped: extents.iter().map(|extent| extent.pages.end - extent.pages.start).sum(),
            max_page,
            sub_blocks: (SUB_HEADER + note_bytes).div_ceil(BLOCK),
            bitmap_blocks: max_page.div_ceil(8).div_ceil(BLOCK),
            note_bytes,
            cpus,
        }
    }

    /// Where the page descriptors begin.
    pub(super) fn descriptors_at(&self) -> u64 {
        (1 + self.sub_blocks + 2 * self.bitmap_blocks) * BLOCK
    }

    /// Where the pages begin.
    pub(super) fn pages_at(&self) -> u64 {
        self.descriptors_at() + self.dumped * DESCRIPTOR
    }

    /// Writes all that lies before the descriptors.
    pub(super) fn write_head(
        &self,
        file: &File,
        extents: &[Extent],
        notes: &[u8],
        taken_ns: u64,
    ) -> io::Result<()> {
        file.write_all_at(&self.main_header(taken_ns), 0)?;
        file.write_all_at(&self.sub_header(), BLOCK)?;
        file.write_all_at(notes, BLOCK + SUB_HEADER)?;
        for copy in 0..2 {
            self.write_bitmap(file, (1 + self.sub_blocks + copy * self.bitmap_blocks) * BLOCK, extents)?;
        }
        Ok(())
    }

    /// `struct disk_dump_header` of a 64-bit writer, see makedumpfile's `diskdump_mod.h`.
    fn main_header(&self, taken_ns: u64) -> Vec<u8> {
        let mut bytes = b"KDUMP   ".to_vec();
        let narrow = |value: u64| (value.min(u64::from(u32::MAX)) as u32).to_le_bytes();
        bytes.extend(6_u32.to_le_bytes());
        // struct utsname: six names of 65 bytes. There is no system whose names these would be, but for the machine's.
        bytes.resize(12 + 4 * 65, 0);
        bytes.extend(b"x86_64");
        bytes.resize(408, 0);
        bytes.extend((taken_ns / 1_000_000_000).to_le_bytes());
        bytes.extend((taken_ns % 1_000_000_000 / 1000).to_le_bytes());
        bytes.extend(ZLIB.to_le_bytes());
        let rest = [
            BLOCK,
            self.sub_blocks,
            2 * self.bitmap_blocks,
            self.max_page,
            self.dumped,
            0,
            self.dumped,
            0,
            self.cpus as u64,
        ];
        rest.into_iter().for_each(|value| bytes.extend(narrow(value)));
        bytes
    }

    /// `struct kdump_sub_header`.
    fn sub_header(&self) -> Vec<u8> {
        // phys_base; level 0 (nothing is left out) and no split; start_pfn, end_pfn; VMCOREINFO; notes; erased; start_pfn_64,
        // end_pfn_64, max_mapnr_64.
        let words = [0, 0, 0, 0, 0, 0, BLOCK + SUB_HEADER, self.note_bytes, 0, 0, 0, 0, self.max_page];
        words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect()
    }

    /// Only where there is memory: holes of the file are zeros.
    fn write_bitmap(&self, file: &File, at: u64, extents: &[Extent]) -> io::Result<()> {
        // The last byte of the bitmap's last block makes the file long enough for whatever follows.
        file.write_all_at(&[0], at + self.bitmap_blocks * BLOCK - 1)?;
        let mut open: Option<(u64, u8)> = None;
        for extent in extents {
            let mut page = extent.pages.start;
            while page < extent.pages.end {
                let index = page / 8;
                let whole = (extent.pages.end / 8).saturating_sub(index);
                if page.is_multiple_of(8) && whole > 0 && open.is_none_or(|(byte, _)| byte != index) {
                    let count = (whole as usize).min(CHUNK);
                    file.write_all_at(&vec![0xff; count], at + index)?;
                    page += count as u64 * 8;
                    continue;
                }
                let byte = match open {
                    Some((same, byte)) if same == index => byte,
                    _ => 0,
                } | 1 << (page % 8);
                open = Some((index, byte));
                file.write_all_at(&[byte], at + index)?;
                page += 1;
            }
        }
        Ok(())
    }
}
