//! kdump-compressed: page by page, each compressed by itself, with a descriptor for every page that is in the dump.
//!
//! ```text
//! block 0    main header
//! block 1    sub header, notes
//!            bitmap of the memory that there is; bitmap of the pages that are in the dump
//!            page descriptors, 24 bytes for each page of the second bitmap: offset, size, flags
//!            pages: the first one is all zeros, and every such page's descriptor points to it
//! ```
//! In memory are the bitmaps, 1 MiB for a guest of 16 GiB, and a few pages. Descriptors are read when a page is wanted: which
//! one it is, the bitmap counts.

mod bitmap;
mod header;
mod pages;
mod unpack;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use uniprof_wire::address::GuestPhysical;

use super::runs::{copied_window, push};
use super::source::{ReadAt, read_up_to};
use super::{Fault, Opened, amount, notes};
use crate::memory::{GuestMemory, MemoryError, Window};

use bitmap::Bitmap;
use header::Layout;
pub(super) use header::MAGIC;
use pages::{Descriptor, Descriptors, Kept, Unpack};

/// Bytes of one bitmap: enough for a guest of 1 TiB.
const MOST_BITMAP: u64 = 32 << 20;
/// Pages of zeros between two others that are read along with them: it costs less than one more range.
const GAP: u64 = 16;
const CUT: &str = "the dump is cut off before it";
const UNFINISHED: &str = "whoever wrote the dump could not finish it";
const LEFT_OUT: &str = "the page was left out when the dump was made";

/// The memory of a kdump.
struct Kdump {
    path: PathBuf,
    block: u64,
    memory: Bitmap,
    dumped: Bitmap,
    descriptors: Descriptors,
    kept: Mutex<Kept>,
}

/// Opens a kdump, also one inside of a flattened file.
pub(super) fn open(source: &Arc<dyn ReadAt>, path: &Path) -> Result<Opened, Fault> {
    let layout = Layout::read(&**source)?;
    let dumped = bits(&**source, &layout, layout.dumped_bits_at)?;
    let mut memory = bits(&**source, &layout, layout.memory_bits_at)?;
    // What is in the dump was memory, whatever the other list says.
    memory.iter_mut().zip(&dumped).for_each(|(memory, dumped)| *memory |= dumped);
    let (memory, dumped) = (Bitmap::new(&memory, layout.pages), Bitmap::new(&dumped, layout.pages));
    let mut told = notes::read(&stored(&**source, layout.notes)?);
    let vmcoreinfo = stored(&**source, layout.vmcoreinfo)?;
    if told.vmcoreinfo.is_none() && !vmcoreinfo.is_empty() {
        told.vmcoreinfo = Some(notes::text(&vmcoreinfo));
    }
    if dumped.total() == 0 {
        return Err(Fault::Damaged("it describes no memory".into()));
    }
    let mut remarks = told.remarks;
    if layout.incomplete {
        remarks.push("Whoever wrote it could not finish it, probably for lack of space.".into());
    }
    let left_out = memory.total().saturating_sub(dumped.total()).saturating_mul(layout.block);
    if left_out > 0 {
        remarks.push(format!("{} of memory were left out when it was made.", amount(left_out)));
    }
    let descriptors =
        Descriptors::new(Arc::clone(source), layout.descriptors_at, dumped.total(), layout.block);
    if let Some(lost) = descriptors.lost_pages() {
        remarks.push(format!("{} of memory are missing: {CUT}.", amount(lost * layout.block)));
    }
    let memory = Kdump {
        path: path.into(),
        block: layout.block,
        memory,
        dumped,
        descriptors,
        kept: Mutex::new(Kept::new(layout.block)),
    };
    Ok(Opened {
        memory: Arc::new(memory),
        cpus: told.cpus,
        vmcoreinfo: told.vmcoreinfo,
        facts: told.facts,
        remarks,
    })
}

fn bits(source: &dyn ReadAt, layout: &Layout, at: u64) -> Result<Vec<u8>, Fault> {
    let len = layout.pages.div_ceil(8);
    if len > MOST_BITMAP {
        return Err(Fault::Damaged(format!("it claims {} pages", layout.pages)));
    }
    let bytes = read_up_to(source, at, len as usize)?;
    if (bytes.len() as u64) < len {
        return Err(Fault::Damaged("it ends within the list of its pages".into()));
    }
    Ok(bytes)
}

/// Bytes that a header points to, as far as they are there.
fn stored(source: &dyn ReadAt, (at, len): (u64, u64)) -> Result<Vec<u8>, Fault> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(notes::MOST_BYTES);
    Ok(read_up_to(source, at, len)?)
}

impl Kdump {
    /// Copies a part of one page, with one of the two ways to do so.
    fn part(&self, page: u64, skip: usize, into: &mut [u8], unpack: Unpack) -> Result<(), MemoryError> {
        let at = GuestPhysical(page * self.block + skip as u64);
        let len = into.len() as u64;
        if !self.dumped.has(page) {
            return Err(if self.memory.has(page) {
                MemoryError::Missing { at, len, why: LEFT_OUT }
            } else {
                MemoryError::Absent { at, len }
            });
        }
        let index = self.dumped.before(page);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let io = |source| MemoryError::Io { doing: "read", path: self.path.clone(), source };
        let missing = |why| MemoryError::Missing { at, len, why };
        match kept.descriptor(&self.descriptors, index).map_err(io)? {
            Descriptor::Zeros => into.fill(0),
            Descriptor::Cut => return Err(missing(CUT)),
            Descriptor::Unwritten => return Err(missing(UNFINISHED)),
            Descriptor::Odd => {
                return Err(MemoryError::Damaged {
                    at,
                    why: "its descriptor names no page that can be".into(),
                });
            }
            Descriptor::Stored(stored) => {
                let unpacked =
                    unpack(&mut kept, &self.descriptors, (page, stored), skip, into).map_err(io)?;
                unpacked.map_err(|why| MemoryError::Damaged { at, why })?;
            }
        }
        Ok(())
    }
}

impl GuestMemory for Kdump {
    fn read(&self, at: GuestPhysical, into: &mut [u8]) -> Result<(), MemoryError> {
        let (mut at, mut rest) = (at.0, into);
        while !rest.is_empty() {
            let skip = at % self.block;
            let (now, later) = rest.split_at_mut((self.block - skip).min(rest.len() as u64) as usize);
            self.part(at / self.block, skip as usize, now, Kept::page)?;
            at = at.wrapping_add(now.len() as u64);
            rest = later;
        }
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let bytes =
            |run: Range<u64>| GuestPhysical(run.start * self.block)..GuestPhysical(run.end * self.block);
        Ok(self.memory.runs().map(bytes).collect())
    }

    /// Reads all descriptors, 96 MiB for a guest of 16 GiB: pages of zeros can be told only by them.
    fn resident(&self) -> Result<Vec<Range<GuestPhysical>>, MemoryError> {
        let mut found: Vec<Range<GuestPhysical>> = Vec::new();
        let mut all = self.descriptors.all();
        // The end of the last range, while only zeros lie behind it.
        let mut zeros_from = None;
        for page in self.dumped.runs().flatten() {
            if page == 0 || !self.dumped.has(page - 1) {
                zeros_from = None;
            }
            let descriptor = all.next().transpose().map_err(|source| MemoryError::Io {
                doing: "read",
                path: self.path.clone(),
                source,
            })?;
            match descriptor {
                Some(Descriptor::Stored(_)) => {
                    let near = zeros_from.is_some_and(|from| page - from <= GAP);
                    let start = zeros_from.filter(|_| near).unwrap_or(page);
                    push(&mut found, start * self.block..(page + 1) * self.block);
                    zeros_from = Some(page + 1);
                }
                Some(Descriptor::Zeros) => {}
                _ => zeros_from = None,
            }
        }
        Ok(found)
    }

    fn window(&self, at: GuestPhysical, len: u64) -> Result<Window, MemoryError> {
        copied_window(self, at, len)
    }

    fn peek(&self, page: GuestPhysical) -> Option<Result<u64, MemoryError>> {
        let mut word = [0; 8];
        let read = self.part(page.0 / self.block, (page.0 % self.block) as usize, &mut word, Kept::start);
        Some(read.map(|()| u64::from_le_bytes(word)))
    }
}
