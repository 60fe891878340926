//! The notes of a dump: for each vCPU one as Linux has it and one as QEMU has it, then our own.

use crate::{
    cpu::CpuState,
    dump::{FACTS_NOTE, Facts},
};

/// `NT_PRSTATUS`, and where in it the process id and the registers lie.
const NT_PRSTATUS: u32 = 1;
const PRSTATUS_BYTES: usize = 336;
const PID_AT: usize = 32;
const REGISTERS_AT: usize = 112;
/// r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi, as places in [`CpuState::general`].
const REGISTERS: [usize; 15] = [15, 14, 13, 12, 6, 1, 11, 10, 9, 8, 0, 2, 3, 4, 5];
/// rax rbx rcx rdx rsi rdi rsp rbp r8 … r15 likewise: QEMU has the stack pointer before the frame pointer.
const QEMU_ORDER: [usize; 16] = [0, 1, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
/// `QEMUCPUState` of version 1: two words of 32 bits, 18 registers, ten segments of 24 bytes, five control registers, the base that
/// `swapgs` brings.
const QEMU_BYTES: usize = 8 + 18 * 8 + 10 * 24 + 5 * 8 + 8;
/// A limit that no table can have: it stands for one that is not known. Zeros would read as a table that is empty.
const NO_TABLE: u32 = u32::MAX;

/// All of them. What is not known of a vCPU is 0 there; QEMU's note, which has control registers, is only written where those are
/// known of all vCPUs, because readers take all from one kind of note.
pub(super) fn all(cpus: &[CpuState], facts: &Facts) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cpu in cpus {
        note(&mut bytes, "CORE", NT_PRSTATUS, &prstatus(cpu));
    }
    if cpus.iter().all(|cpu| cpu.cr0.is_some() && cpu.cr3.is_some()) {
        for cpu in cpus {
            note(&mut bytes, "QEMU", 0, &qemu_state(cpu));
        }
    }
    // A struct of strings and numbers always becomes JSON.
    let json = serde_json::to_vec(facts).unwrap_or_default();
    note(&mut bytes, FACTS_NOTE.0, FACTS_NOTE.1, &json);
    bytes
}

/// An ELF note: name with its zero, and body, each filled up to four bytes.
fn note(to: &mut Vec<u8>, name: &str, kind: u32, body: &[u8]) {
    for word in [name.len() as u32 + 1, body.len() as u32, kind] {
        to.extend(word.to_le_bytes());
    }
    to.extend(name.as_bytes());
    to.push(0);
    to.resize(to.len().next_multiple_of(4), 0);
    to.extend(body);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn prstatus(cpu: &CpuState) -> Vec<u8> {
    let mut bytes = vec![0; PID_AT];
    bytes.extend((cpu.vcpu + 1).to_le_bytes());
    bytes.resize(REGISTERS_AT, 0);
    let mut word = |value: Option<u64>| bytes.extend(value.unwrap_or(0).to_le_bytes());
    for index in REGISTERS {
        word(cpu.general[index]);
    }
    // orig_rax: it was not in a system call.
    word(Some(u64::MAX));
    word(Some(cpu.rip));
    word(cpu.cs.map(u64::from));
    word(cpu.rflags);
    word(cpu.rsp());
    // ss, then the bases, then ds es fs gs.
    word(None);
    word(cpu.fs_base);
    word(cpu.gs_base);
    bytes.resize(PRSTATUS_BYTES, 0);
    bytes
}

fn qemu_state(cpu: &CpuState) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(QEMU_BYTES);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((QEMU_BYTES as u32).to_le_bytes());
    let word = |bytes: &mut Vec<u8>, value: Option<u64>| bytes.extend(value.unwrap_or(0).to_le_bytes());
    for index in QEMU_ORDER {
        word(&mut bytes, cpu.general[index]);
    }
    word(&mut bytes, Some(cpu.rip));
    word(&mut bytes, cpu.rflags);
    // cs ds es fs gs ss ldt tr gdt idt: selector, limit, flags, padding, base.
    for (selector, base) in
        [(cpu.cs, None), (None, None), (None, None), (None, cpu.fs_base), (None, cpu.gs_base)]
    {
        bytes.extend(u32::from(selector.unwrap_or(0)).to_le_bytes());
        bytes.extend([0; 12]);
        word(&mut bytes, base);
    }
    bytes.extend([0; 4 * 24]);
    let (base, limit) = cpu.idt.unwrap_or((0, NO_TABLE));
    bytes.extend([0; 4]);
    bytes.extend(limit.to_le_bytes());
    bytes.extend([0; 8]);
    word(&mut bytes, Some(base));
    for control in [cpu.cr0, None, cpu.cr2, cpu.cr3.map(|at| at.0), cpu.cr4, None] {
        word(&mut bytes, control);
    }
    bytes
}
