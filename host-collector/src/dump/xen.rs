//! The ELF core of Xen's `xl dump-core`: no segments, but sections, as `docs/misc/dump-core-format.txt` of Xen describes them.
//!
//! | section | what it has |
//! |---|---|
//! | `.note.Xen` | how many vCPUs and pages, and the size of those |
//! | `.xen_prstatus` | a `vcpu_guest_context` for each vCPU |
//! | `.xen_pages` | the pages, one after another |
//! | `.xen_pfn` | for each page its frame number: guests with physical memory of their own (HVM, PVH) |
//! | `.xen_p2m` | for each page its frame number and the machine's: paravirtualized guests |
//!
//! The last two, and the sections' names, lie behind the pages: without them nothing tells which page is which.

use std::path::Path;
use std::sync::Arc;

use super::elf::{self, Section};
use super::layers::{self, Layer, Piece, Place, seen};
use super::notes;
use super::runs::Runs;
use super::source::{ReadAt, read_up_to, u16_at, u64_at};
use super::{Fault, Opened};
use crate::cpu::{CpuState, StateSource};

const HEADER_NOTE: u32 = 0x200_0001;
/// A frame number that is none: the guest shrank while it was dumped.
const NO_FRAME: u64 = u64::MAX;
/// 52 bits of address.
const MOST_FRAME: u64 = 1 << 40;
const MOST_RUNS: usize = 1 << 20;
/// Bytes of `vcpu_guest_context` of a 64-bit guest.
const CONTEXT: u64 = 5168;
const MOST_CPUS: u64 = 4096;

/// Opens a core.
pub(super) fn open(source: &Arc<dyn ReadAt>, path: &Path) -> Result<Opened, Fault> {
    let sections = elf::Header::read(&**source)?.sections(&**source)?;
    let find = |name: &str| sections.iter().find(|section| section.name == name);
    let needed = |name: &str| {
        find(name).ok_or_else(|| {
            Fault::Damaged(format!(
                "it has no section {name}: it is cut off (the list of its pages comes last), or no core of Xen"
            ))
        })
    };
    let (vcpus, page) = header(&**source, needed(".note.Xen")?)?;
    let pages = needed(".xen_pages")?;
    let mut remarks = Vec::new();
    let paravirtualized = find(".xen_pfn").is_none();
    let (list, stride) = if paravirtualized { (needed(".xen_p2m")?, 16) } else { (needed(".xen_pfn")?, 8) };
    if paravirtualized {
        remarks.push(
            "The guest was paravirtualized: addresses of physical memory are the machine's, as in its page tables.".into(),
        );
    }
    let pieces = seen(runs(&**source, list, stride, pages, page)?);
    layers::check(&pieces, source.size())?;
    let listed = list.size / stride;
    let held: u64 = pieces.iter().map(|piece| (piece.end - piece.start) / page).sum();
    if held < listed {
        remarks.push(format!(
            "Of {listed} pages {} have no place: the guest may have run on meanwhile.",
            listed - held
        ));
    }
    let cpus = match find(".xen_prstatus") {
        Some(section) => cpus(&**source, section, vcpus, &mut remarks)?,
        None => Vec::new(),
    };
    Ok(Opened {
        memory: Arc::new(Runs::new(Arc::clone(source), path.into(), pieces)),
        cpus,
        vmcoreinfo: None,
        facts: None,
        remarks,
    })
}

/// How many vCPUs there are, and bytes of a page.
fn header(source: &dyn ReadAt, section: &Section) -> Result<(u64, u64), Fault> {
    let len = usize::try_from(section.size).unwrap_or(usize::MAX).min(notes::MOST_BYTES);
    let bytes = read_up_to(source, section.offset, len)?;
    let note = notes::iterate(&bytes).find(|note| note.name == b"Xen" && note.kind == HEADER_NOTE);
    let body = note.map_or(&[][..], |note| note.body);
    match (u64_at(body, 8), u64_at(body, 24)) {
        (Some(vcpus), Some(page)) if page.is_power_of_two() && (4096..=65536).contains(&page) => {
            Ok((vcpus, page))
        }
        _ => Err(Fault::Damaged("its header note is missing, or names no size of pages that can be".into())),
    }
}

/// Pages that follow each other in memory and in the file, from the list of frame numbers.
fn runs(
    source: &dyn ReadAt,
    list: &Section,
    stride: u64,
    pages: &Section,
    page: u64,
) -> Result<Vec<Layer>, Fault> {
    let there = source.size().saturating_sub(pages.offset).min(pages.size) / page;
    let count = (source.size().saturating_sub(list.offset).min(list.size) / stride).min(there);
    let mut found: Vec<Layer> = Vec::new();
    let mut done = 0;
    while done < count {
        let now = (count - done).min(8192);
        let bytes = read_up_to(source, list.offset + done * stride, (now * stride) as usize)?;
        for (index, entry) in (done..).zip(bytes.chunks_exact(stride as usize)) {
            // The machine's frame is the second word of two.
            let frame = entry.last_chunk().map_or(NO_FRAME, |word| u64::from_le_bytes(*word));
            if frame >= MOST_FRAME {
                continue;
            }
            let (start, offset) = (frame * page, pages.offset + index * page);
            match found.last_mut() {
                Some(run) if run.end == start && continues(run, offset) => run.end += page,
                _ => found.push(Layer { start, end: start + page, rank: 0, place: Place::Stored(offset) }),
            }
        }
        if found.len() > MOST_RUNS {
            return Err(Fault::Damaged("its pages are scattered over more than a million places".into()));
        }
        done += now;
    }
    Ok(found)
}

fn continues(run: &Layer, offset: u64) -> bool {
    let piece = Piece { start: run.start, end: run.end, place: run.place };
    piece.place_of(run.end) == Place::Stored(offset)
}

fn cpus(
    source: &dyn ReadAt,
    section: &Section,
    vcpus: u64,
    remarks: &mut Vec<String>,
) -> Result<Vec<CpuState>, Fault> {
    if vcpus == 0 || vcpus > MOST_CPUS || section.size != vcpus.saturating_mul(CONTEXT) {
        remarks.push(format!(
            "The registers of {vcpus} vCPUs in {} bytes are not those of a 64-bit guest.",
            section.size
        ));
        return Ok(Vec::new());
    }
    let bytes = read_up_to(source, section.offset, section.size as usize)?;
    let contexts = bytes.chunks_exact(CONTEXT as usize).enumerate();
    Ok(contexts.filter_map(|(number, bytes)| context(number as u32, bytes)).collect())
}

/// `vcpu_guest_context` of x86-64: 512 bytes of FPU, flags, `cpu_user_regs`, trap and descriptor tables, control registers,
/// debug registers, callbacks, segment bases.
fn context(number: u32, bytes: &[u8]) -> Option<CpuState> {
    const FLAGS: usize = 512;
    const REGISTERS: usize = 520;
    const CONTROL: usize = 4984;
    const BASES: usize = 5144;
    const IN_KERNEL: u64 = 1 << 2;
    // r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi, error code, rip, cs, rflags, rsp
    let register = |index: usize| u64_at(bytes, REGISTERS + 8 * index);
    let mut state = CpuState::new(number, register(16)?, StateSource::XenContext);
    state.general = [10, 5, 11, 12, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0].map(register);
    state.cs = u16_at(bytes, REGISTERS + 8 * 17);
    state.rflags = register(18);
    let control = |index: usize| u64_at(bytes, CONTROL + 8 * index);
    state.cr0 = control(0);
    state.cr2 = control(2);
    state.cr3 = control(3).map(notes::page_table_root);
    state.cr4 = control(4);
    // The bases of FS, of the kernel's GS and of the user's. A paravirtualized kernel does not run at level 0.
    let in_kernel = state.cs? & 3 == 0 || u64_at(bytes, FLAGS)? & IN_KERNEL != 0;
    state.fs_base = u64_at(bytes, BASES);
    state.gs_base = u64_at(bytes, BASES + if in_kernel { 8 } else { 16 });
    Some(state)
}
