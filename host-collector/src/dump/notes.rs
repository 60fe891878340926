//! ELF notes: registers of vCPUs, VMCOREINFO, and what `uniprof` itself wrote.
//!
//! Layouts: `NT_PRSTATUS` as Linux has it (`struct elf_prstatus`; QEMU, libvirt and Solo5 write it, with general registers
//! only), and QEMU's `QEMUCPUState` (`target/i386/arch_dump.c`), which alone has control registers.

use uniprof_wire::address::GuestPhysical;

use super::facts::{FACTS_NOTE, Facts};
use super::source::{u16_at, u32_at, u64_at};
use crate::cpu::{CpuState, StateSource};

/// Notes are read whole, so there is an end to them: 1024 vCPUs take 1 MB.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// vCPUs of a dump; QEMU has at most 4096.
const MOST_CPUS: usize = 4096;
/// Facts are text of a few hundred bytes, and console lines.
const MOST_FACTS: usize = 1 << 20;

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
/// Bits of CR3 that are no address: flags and a process context number.
const CR3_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where `elf_prstatus` of x86-64 and of i386 have their registers, and how long they are.
const PRSTATUS_64: usize = 336;
const REGISTERS_64: usize = 112;
const PRSTATUS_32: usize = 144;
const REGISTERS_32: usize = 72;
/// For each of rax rbx rcx rdx rsi rdi rbp rsp r8 … r15: which of `user_regs_struct`'s words it is.
const WORDS_64: [usize; 16] = [10, 5, 11, 12, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0];
/// The same of the i386 one, for the first eight.
const WORDS_32: [usize; 8] = [6, 0, 1, 2, 3, 4, 5, 15];

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note<'a> {
    /// Without the zeros that end it.
    pub(super) name: &'a [u8],
    pub(super) kind: u32,
    pub(super) body: &'a [u8],
}

/// The notes in these bytes, up to one that is cut off.
pub(super) fn iterate(mut bytes: &[u8]) -> impl Iterator<Item = Note<'_>> {
    std::iter::from_fn(move || {
        let name_len = u32_at(bytes, 0)? as usize;
        let body_len = u32_at(bytes, 4)? as usize;
        let kind = u32_at(bytes, 8)?;
        let rest = &bytes[12..];
        let name = rest.get(..name_len)?;
        let rest = rest.get(name_len.checked_next_multiple_of(4)?..)?;
        let body = rest.get(..body_len)?;
        bytes = rest.get(body_len.checked_next_multiple_of(4)?..).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Some(Note { name: &name[..end], kind, body })
    })
}

/// What the notes of a dump tell.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) cpus: Vec<CpuState>,
    pub(super) vmcoreinfo: Option<String>,
    pub(super) facts: Option<Facts>,
    pub(super) remarks: Vec<String>,
    /// Whether they are those of a process, not of a machine.
    pub(super) process: bool,
}

/// Reads all notes.
pub(super) fn read(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    let (mut general, mut whole) = (Vec::new(), Vec::new());
    let mut odd = 0;
    for note in iterate(bytes) {
        match (note.name, note.kind) {
            (b"CORE", NT_PRSTATUS) => match prstatus(note.body) {
                Some(state) if general.len() < MOST_CPUS => general.push(state),
                _ => odd += 1,
            },
            (b"CORE", NT_PRPSINFO) => told.process = true,
            (b"QEMU", 0) => match qemu_state(note.body) {
                Some(state) if whole.len() < MOST_CPUS => whole.push(state),
                _ => odd += 1,
            },
            (b"VMCOREINFO", 0) => told.vmcoreinfo = Some(text(note.body)),
            (name, kind) if name == FACTS_NOTE.0.as_bytes() && kind == FACTS_NOTE.1 => {
                match facts(note.body) {
                    Ok(facts) => told.facts = Some(facts),
                    Err(why) => told.remarks.push(format!("The note of uniprof can't be read: {why}.")),
                }
            }
            _ => {}
        }
    }
    told.process &= whole.is_empty();
    if odd > 0 {
        told.remarks.push(format!("{odd} notes of vCPUs have a layout that is not known."));
    }
    if !whole.is_empty() && !general.is_empty() && whole.len() != general.len() {
        told.remarks.push(format!(
            "There are registers of {} vCPUs in CORE notes and of {} in QEMU notes.",
            general.len(),
            whole.len()
        ));
    }
    // QEMU's own notes have all that the others have.
    told.cpus = if whole.is_empty() { general } else { whole };
    for (number, cpu) in told.cpus.iter_mut().enumerate() {
        cpu.vcpu = number as u32;
    }
    told
}

/// Text that a C string may end early.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn facts(body: &[u8]) -> Result<Facts, String> {
    if body.len() > MOST_FACTS {
        return Err(format!("it has {} bytes", body.len()));
    }
    let end = body.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    serde_json::from_slice(&body[..end]).map_err(|error| error.to_string())
}

/// A CR3 without what is no address in it.
pub(crate) fn page_table_root(cr3: u64) -> GuestPhysical {
    GuestPhysical(cr3 & CR3_ADDRESS)
}

fn prstatus(body: &[u8]) -> Option<CpuState> {
    let mut state = CpuState::new(0, 0, StateSource::PrStatus);
    match body.len() {
        PRSTATUS_64 => {
            let word = |index: usize| u64_at(body, REGISTERS_64 + 8 * index);
            state.general = WORDS_64.map(word);
            state.rip = word(16)?;
            state.cs = word(17).map(|cs| cs as u16);
            state.rflags = word(18);
            state.fs_base = word(21);
            state.gs_base = word(22);
        }
        // What QEMU writes of a guest that is not in long mode.
        PRSTATUS_32 => {
            let word = |index: usize| u32_at(body, REGISTERS_32 + 4 * index).map(u64::from);
            for (register, index) in state.general.iter_mut().zip(WORDS_32) {
                *register = word(index);
            }
            state.rip = word(12)?;
            state.cs = word(13).map(|cs| cs as u16);
            state.rflags = word(14);
        }
        _ => return None,
    }
    Some(state)
}

/// `QEMUCPUState`: version, size, rax rbx rcx rdx rsi rdi rsp rbp r8 … r15, rip, rflags, ten segments of 24 bytes (selector,
/// limit, flags, padding, base), CR0 to CR4.
fn qemu_state(body: &[u8]) -> Option<CpuState> {
    const VERSION: u32 = 1;
    const SEGMENTS: usize = 8 + 18 * 8;
    const SEGMENT: usize = 24;
    const CONTROL: usize = SEGMENTS + 10 * SEGMENT;
    const SIZE: usize = CONTROL + 5 * 8;
    let (version, size) = (u32_at(body, 0)?, u32_at(body, 4)? as usize);
    if version < VERSION || size < SIZE || body.len() < SIZE {
        return None;
    }
    let word = |index: usize| u64_at(body, 8 + 8 * index);
    let mut state = CpuState::new(0, word(16)?, StateSource::QemuNote);
    // QEMU has the stack pointer before the frame pointer.
    let order = [0, 1, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    state.general = order.map(word);
    state.rflags = word(17);
    state.cs = u16_at(body, SEGMENTS);
    let base = |index: usize| u64_at(body, SEGMENTS + SEGMENT * index + 16);
    state.fs_base = base(3);
    state.gs_base = base(4);
    // Limits have 16 bits; one beyond is our own writer's word for "not known".
    state.idt = base(9).zip(u32_at(body, SEGMENTS + SEGMENT * 9 + 4)).filter(|(_, limit)| *limit <= 0xffff);
    let control = |index: usize| u64_at(body, CONTROL + 8 * index);
    state.cr0 = control(0);
    state.cr2 = control(2);
    state.cr3 = control(3).map(page_table_root);
    state.cr4 = control(4);
    Some(state)
}
