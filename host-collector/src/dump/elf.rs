//! ELF cores of machines: QEMU's and libvirt's, Solo5's, and the headers of Xen's.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::layers::{self, Layer, Piece, Place, seen};
use super::notes;
use super::runs::Runs;
use super::source::{ReadAt, read_up_to, u16_at, u32_at, u64_at};
use super::{Fault, Format, Opened};
use crate::paging::PAGE_BYTES;

pub(super) const MAGIC: &[u8] = b"\x7fELF";
const ET_CORE: u16 = 4;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
/// What Solo5's tender calls itself: a core of no operating system.
const OSABI_STANDALONE: u8 = 255;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// A count of program headers that does not fit its 16 bits stands in the first section header.
const PN_XNUM: u16 = 0xffff;
/// Program headers that are looked at; `paging=true` makes one for each run of mapped pages.
const MOST_SEGMENTS: u32 = 1 << 20;
/// Xen's cores have eight.
const MOST_SECTIONS: usize = 256;
const MOST_NAMES: u64 = 64 << 10;
/// A file offset of QEMU's that means "not in this file".
const NOWHERE: u64 = u64::MAX;

/// The file header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    wide: bool,
    osabi: u8,
    segments_at: u64,
    segment_bytes: u16,
    segments: u32,
    sections_at: u64,
    sections: u16,
    section_bytes: u16,
    names: u16,
}

/// A section: its name, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// A program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    offset: u64,
    virt: u64,
    phys: u64,
    stored: u64,
    len: u64,
}

impl Header {
    /// Reads the header of a core of an x86 machine. What else it is, is said.
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self, Fault> {
        let bytes = read_up_to(source, 0, 64)?;
        let unknown = |why: &str| Fault::Unknown(why.to_owned());
        let cut = || Fault::Damaged("it ends within its ELF header".into());
        let (class, order) = match bytes.get(4..6) {
            Some([class, order]) => (*class, *order),
            _ => return Err(cut()),
        };
        let kind = u16_at(&bytes, 16).ok_or_else(cut)?;
        let machine = u16_at(&bytes, 18).ok_or_else(cut)?;
        match (class, order, kind, machine) {
            (1 | 2, 1, ET_CORE, EM_X86_64 | EM_386) => {}
            (_, _, ET_CORE, machine) => {
                return Err(Fault::Unknown(format!(
                    "it is an ELF core of machine {machine}; only little-endian x86 is read"
                )));
            }
            _ => return Err(unknown("it is an ELF file, but no core: pass it with --kernel instead")),
        }
        let wide = class == 2;
        let at = if wide { [32, 40, 54, 56, 60, 58, 62] } else { [28, 32, 42, 44, 48, 46, 50] };
        let offset = |at| if wide { u64_at(&bytes, at) } else { u32_at(&bytes, at).map(u64::from) };
        let short = |at| u16_at(&bytes, at).ok_or_else(cut);
        let mut header = Self {
            wide,
            osabi: bytes[7],
            segments_at: offset(at[0]).ok_or_else(cut)?,
            sections_at: offset(at[1]).ok_or_else(cut)?,
            segment_bytes: short(at[2])?,
            segments: u32::from(short(at[3])?),
            sections: short(at[4])?,
            section_bytes: short(at[5])?,
            names: short(at[6])?,
        };
        if header.segments == u32::from(PN_XNUM) && header.sections_at != 0 {
            let first = read_up_to(source, header.sections_at, 64)?;
            header.segments = u32_at(&first, if wide { 44 } else { 28 })
                .ok_or_else(|| Fault::Damaged("its count of segments is cut off".into()))?;
        }
        Ok(header)
    }

    /// Which kind of core it is, from the header and the first section names.
    pub(super) fn format(&self) -> Format {
        match self {
            // The only core that has sections and no segments.
            Self { segments: 0, sections: 1.., .. } => Format::XenElf,
            Self { osabi: OSABI_STANDALONE, .. } => Format::Solo5Elf,
            _ => Format::QemuElf,
        }
    }

    /// All program headers that the file has, and a remark where it lacks some.
    fn segments(&self, source: &dyn ReadAt, remarks: &mut Vec<String>) -> Result<Vec<Segment>, Fault> {
        let stride = usize::from(self.segment_bytes);
        if self.segments > 0 && stride < if self.wide { 56 } else { 32 } {
            return Err(Fault::Damaged(format!("its program headers have {stride} bytes")));
        }
        if self.segments > MOST_SEGMENTS {
            return Err(Fault::Damaged(format!("it claims {} segments", self.segments)));
        }
        let per_read = (1 << 16) / stride.max(1);
        let mut found = Vec::new();
        while found.len() < self.segments as usize {
            let now = (self.segments as usize - found.len()).min(per_read.max(1));
            let at = self.segments_at.saturating_add((found.len() * stride) as u64);
            let bytes = read_up_to(source, at, now * stride)?;
            let before = found.len();
            found.extend(bytes.chunks_exact(stride).filter_map(|bytes| self.segment(bytes)));
            if found.len() - before < now {
                remarks.push(format!(
                    "It is cut off within its program headers: {} of {} are there.",
                    found.len(),
                    self.segments
                ));
                break;
            }
        }
        Ok(found)
    }

    /// The sections of a 64-bit core, as far as they and their names are there.
    pub(super) fn sections(&self, source: &dyn ReadAt) -> io::Result<Vec<Section>> {
        let stride = usize::from(self.section_bytes);
        if !self.wide || stride < 64 {
            return Ok(Vec::new());
        }
        let bytes =
            read_up_to(source, self.sections_at, stride * usize::from(self.sections).min(MOST_SECTIONS))?;
        // Name, offset, size.
        let fields = |bytes: &[u8]| Some((u32_at(bytes, 0)?, u64_at(bytes, 24)?, u64_at(bytes, 32)?));
        let all: Vec<_> = bytes.chunks_exact(stride).filter_map(fields).collect();
        let Some(&(_, at, size)) = all.get(usize::from(self.names)) else { return Ok(Vec::new()) };
        let names = read_up_to(source, at, size.min(MOST_NAMES) as usize)?;
        let named = |&(name, offset, size): &(u32, u64, u64)| Section {
            name: notes::text(names.get(name as usize..).unwrap_or_default()),
            offset,
            size,
        };
        Ok(all.iter().map(named).collect())
    }

    fn segment(&self, bytes: &[u8]) -> Option<Segment> {
        let kind = u32_at(bytes, 0)?;
        if self.wide {
            let word = |index: usize| u64_at(bytes, 8 * index);
            let (offset, virt, phys, stored, len) = (word(1)?, word(2)?, word(3)?, word(4)?, word(5)?);
            Some(Segment { kind, offset, virt, phys, stored, len })
        } else {
            let word = |index: usize| u32_at(bytes, 4 * index).map(u64::from);
            let (offset, virt, phys, stored, len) = (word(1)?, word(2)?, word(3)?, word(4)?, word(5)?);
            let offset = if offset == u64::from(u32::MAX) { NOWHERE } else { offset };
            Some(Segment { kind, offset, virt, phys, stored, len })
        }
    }
}

/// Opens QEMU's, libvirt's and Solo5's cores.
pub(super) fn open(source: &Arc<dyn ReadAt>, path: &Path, format: Format) -> Result<Opened, Fault> {
    let header = Header::read(&**source)?;
    let mut remarks = Vec::new();
    let segments = header.segments(&**source, &mut remarks)?;
    let (note_bytes, notes_end) = note_bytes(&**source, &segments, &mut remarks)?;
    let mut told = notes::read(&note_bytes);
    remarks.append(&mut told.remarks);
    let loads: Vec<_> = segments.into_iter().filter(|segment| segment.kind == PT_LOAD).collect();
    if told.process || (loads.len() > 1 && loads.iter().all(|load| load.phys == 0)) {
        return Err(Fault::Unknown(
            "it is the core of a process, which has no physical addresses: open it with gdb".into(),
        ));
    }
    let layers = layers(&loads, source.size(), format);
    let mut pieces = seen(layers);
    if format == Format::QemuElf && loads.iter().any(|load| load.virt != load.phys) {
        bridge(&mut pieces, notes_end);
        remarks.extend(unplaced(&pieces, source.size()));
    }
    layers::check(&pieces, source.size())?;
    remarks.extend(missing(&pieces));
    if format == Format::Solo5Elf {
        remarks.push(
            "Solo5 writes the pages that were in the host's memory: others, swapped-out ones too, read as zeros."
                .into(),
        );
    }
    Ok(Opened {
        memory: Arc::new(Runs::new(Arc::clone(source), path.into(), pieces)),
        cpus: told.cpus,
        vmcoreinfo: told.vmcoreinfo,
        facts: told.facts,
        remarks,
    })
}

/// The bytes of all note segments, and where the last of them ends in the file.
fn note_bytes(
    source: &dyn ReadAt,
    segments: &[Segment],
    remarks: &mut Vec<String>,
) -> io::Result<(Vec<u8>, u64)> {
    let (mut bytes, mut end) = (Vec::new(), 0);
    let (mut claimed, mut got) = (0_u64, 0_u64);
    for note in segments.iter().filter(|segment| segment.kind == PT_NOTE) {
        let room = notes::MOST_BYTES - bytes.len();
        let wanted = usize::try_from(note.stored).unwrap_or(usize::MAX).min(room);
        let mut read = read_up_to(source, note.offset, wanted)?;
        claimed = claimed.saturating_add(note.stored);
        got += read.len() as u64;
        // The notes of the next segment begin at a whole word.
        read.resize(read.len().next_multiple_of(4), 0);
        bytes.append(&mut read);
        bytes.truncate(notes::MOST_BYTES);
        end = note.offset.saturating_add(note.stored).max(end);
    }
    if got < claimed {
        remarks.push(format!("Its notes have {claimed} bytes, of which {got} could be read."));
    }
    Ok((bytes, end))
}

/// What segments tell of physical memory: what is stored counts before what is not.
fn layers(loads: &[Segment], size: u64, format: Format) -> Vec<Layer> {
    const CUT: Place = Place::Lost("the dump is cut off before it");
    const UNSTORED: Place = Place::Lost("the dump names it but holds no bytes of it");
    let mut layers = Vec::with_capacity(loads.len());
    let mut add = |start: u64, len: u64, rank, place| {
        layers.push(Layer { start, end: start.saturating_add(len), rank, place });
    };
    for load in loads {
        // QEMU describes devices' memory so, where page tables map it.
        if load.offset == NOWHERE {
            continue;
        }
        let len = load.len.max(load.stored);
        let there = size.saturating_sub(load.offset).min(load.stored);
        add(load.phys, there, 2, Place::Stored(load.offset));
        let cut = if format == Format::Solo5Elf { Place::Zeros } else { CUT };
        add(load.phys.saturating_add(there), load.stored - there, 1, cut);
        add(load.phys.saturating_add(load.stored), len - load.stored, 0, UNSTORED);
    }
    layers
}

/// With `paging=true` only mapped pages have segments, but the file holds all of memory, in the order of addresses: what lies
/// between two pieces is there where offsets and addresses advance alike. Page tables may be found only so.
fn bridge(pieces: &mut Vec<Piece>, memory_at: u64) {
    let mut layers: Vec<_> =
        pieces.iter().map(|p| Layer { start: p.start, end: p.end, rank: 0, place: p.place }).collect();
    let mut stored = pieces
        .iter()
        .filter_map(|piece| match piece.place {
            Place::Stored(offset) => Some((piece.start, piece.end, offset)),
            _ => None,
        })
        .peekable();
    if let Some(&(start, _, offset)) = stored.peek()
        && memory_at > 0
        && let Some(before) = offset.checked_sub(memory_at)
        && before <= start
        && before.is_multiple_of(PAGE_BYTES)
    {
        layers.push(Layer { start: start - before, end: start, rank: 1, place: Place::Stored(memory_at) });
    }
    while let (Some((start, end, offset)), Some(&(next, _, next_offset))) = (stored.next(), stored.peek()) {
        if next_offset.checked_sub(offset) == Some(next - start) && end < next {
            let place = Place::Stored(offset + (end - start));
            layers.push(Layer { start: end, end: next, rank: 1, place });
        }
    }
    *pieces = seen(layers);
}

/// What lies behind all segments of such a file is memory at addresses that nothing tells.
fn unplaced(pieces: &[Piece], size: u64) -> Option<String> {
    let end = |piece: &Piece| match piece.place {
        Place::Stored(offset) => Some(offset + (piece.end - piece.start)),
        _ => None,
    };
    let behind = size - pieces.iter().filter_map(end).max()?.min(size);
    (behind > 0).then(|| {
        format!(
            "It was taken with paging=true, and {} of memory that no page table maps can't be placed: take it without.",
            super::amount(behind)
        )
    })
}

/// What is lost, by reason.
fn missing(pieces: &[Piece]) -> Vec<String> {
    let mut lost: Vec<(&str, u64)> = Vec::new();
    for piece in pieces {
        let Place::Lost(why) = piece.place else { continue };
        let len = piece.end - piece.start;
        match lost.iter_mut().find(|(known, _)| *known == why) {
            Some((_, total)) => *total = total.saturating_add(len),
            None => lost.push((why, len)),
        }
    }
    let say = |(why, bytes): &(&str, u64)| format!("{} of memory are missing: {why}.", super::amount(*bytes));
    lost.iter().map(say).collect()
}
