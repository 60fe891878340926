//! The headers of a kdump-compressed file: `disk_dump_header` and `kdump_sub_header`, as makedumpfile's IMPLEMENTATION and
//! QEMU's `include/sysemu/dump.h` describe them.

use crate::dump::Fault;
use crate::dump::source::{ReadAt, read_up_to, u32_at, u64_at};

pub(in crate::dump) const MAGIC: &[u8] = b"KDUMP   ";

/// Set in the status of a dump whose writer ran out of space.
const INCOMPLETE: u32 = 0x8;
const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 1024..=65536;
/// Bytes of the sub header that are looked at.
const SUB_HEADER: usize = 104;

/// Where everything lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of a page of memory, and unit of the file.
    pub(super) block: u64,
    /// Whether the writer said that it could not finish.
    pub(super) incomplete: bool,
    /// The first page that can't be in the dump.
    pub(super) pages: u64,
    /// Where the bitmap of the memory that there is begins.
    pub(super) memory_bits_at: u64,
    /// Where the bitmap of the pages that are in the dump begins; the same, where there is one only.
    pub(super) dumped_bits_at: u64,
    /// Bytes of either.
    pub(super) bitmap_bytes: u64,
    /// Where the page descriptors begin.
    pub(super) descriptors_at: u64,
    /// Offset and length of the notes, and of VMCOREINFO's text; length 0 where there are none.
    pub(super) notes: (u64, u64),
    pub(super) vmcoreinfo: (u64, u64),
}

/// Where fields lie in the main header and in the sub header. Words of the writer's architecture make two forms: QEMU uses the
/// 32-bit one for guests that are not in long mode.
struct Form {
    /// `status`; `block_size`, `sub_hdr_size`, `bitmap_blocks`, `max_mapnr` follow.
    status: usize,
    /// `split`, `offset_vmcoreinfo`, `size_vmcoreinfo`, `offset_note`, `size_note`, `max_mapnr_64`.
    sub: [usize; 6],
    wide: bool,
}

const NARROW: Form = Form { status: 412, sub: [8, 20, 28, 32, 40, 72], wide: false };
const WIDE: Form = Form { status: 424, sub: [12, 32, 40, 48, 56, 96], wide: true };

impl Form {
    /// Seen as the 32-bit form, a 64-bit header has the upper half of its microseconds, which is 0, for the size of the sub header.
    fn of(main: &[u8]) -> Option<&'static Self> {
        let plausible = |form: &Self| {
            let block = u32_at(main, form.status + 4)?;
            let sub = u32_at(main, form.status + 8)?;
            Some(BLOCK_SIZES.contains(&block) && block.is_power_of_two() && (1..=1 << 16).contains(&sub))
        };
        [&NARROW, &WIDE].into_iter().find(|form| plausible(form) == Some(true))
    }
}

impl Layout {
    /// Reads both headers.
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self, Fault> {
        let main = read_up_to(source, 0, 464)?;
        let cut = || Fault::Damaged("it ends within its headers".into());
        if main.len() < 464 {
            return Err(cut());
        }
        let form = Form::of(&main)
            .ok_or_else(|| Fault::Damaged("its header names no size of blocks that can be".into()))?;
        let main_field = |index: usize| u32_at(&main, form.status + 4 * index).ok_or_else(cut);
        let version = u32_at(&main, 8).ok_or_else(cut)?;
        let block = u64::from(main_field(1)?);
        let sub_blocks = u64::from(main_field(2)?);
        let bitmap = u64::from(main_field(3)?) * block;
        let sub = read_up_to(source, block, SUB_HEADER)?;
        let long = |index: usize| u64_at(&sub, form.sub[index]).ok_or_else(cut);
        let size = |index: usize| {
            let at = form.sub[index];
            if form.wide { u64_at(&sub, at) } else { u32_at(&sub, at).map(u64::from) }.ok_or_else(cut)
        };
        if version >= 2 && u32_at(&sub, form.sub[0]).ok_or_else(cut)? != 0 {
            return Err(Fault::Unknown(
                "it is one part of a dump that was split: join the parts with makedumpfile --reassemble"
                    .into(),
            ));
        }
        let pages = if version >= 6 { long(5)? } else { u64::from(main_field(4)?) };
        let bitmap_at = (1 + sub_blocks) * block;
        // Two bitmaps, if there is room for two: older writers had one.
        let two = bitmap / block / 2 >= pages.div_ceil(8).div_ceil(block);
        let bitmap_bytes = if two { bitmap / 2 } else { bitmap };
        Ok(Self {
            block,
            incomplete: main_field(0)? & INCOMPLETE != 0,
            pages: pages.min(bitmap_bytes * 8),
            memory_bits_at: bitmap_at,
            dumped_bits_at: if two { bitmap_at + bitmap_bytes } else { bitmap_at },
            bitmap_bytes,
            descriptors_at: bitmap_at + bitmap,
            notes: if version >= 4 { (long(3)?, size(4)?) } else { (0, 0) },
            vmcoreinfo: if version >= 3 { (long(1)?, size(2)?) } else { (0, 0) },
        })
    }
}
