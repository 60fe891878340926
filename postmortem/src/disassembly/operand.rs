//! What the operands of an instruction were.

use iced_x86::{Instruction, OpKind, Register};
use serde::Serialize;
use uniprof_collector::cpu::{CpuState, GENERAL};
use uniprof_wire::address::GuestVirtual;

use crate::subject::Subject;

/// An operand and its value when the instruction was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operand {
    /// A register's name, or `memory`.
    pub name: String,
    /// The register's value, or the address in memory.
    #[serde(serialize_with = "crate::report::hex")]
    pub value: u64,
    /// What it is, as far as that can be told: a symbol, what memory holds there, why it can't be.
    pub note: String,
}

/// Memory that an instruction reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The address.
    pub address: u64,
    /// The register that the address is made of, with its value.
    pub base: Option<(Register, u64)>,
    /// What is added to it.
    pub displacement: u64,
}

/// The operands that are registers, those that an address is made of, and the memory.
pub(super) fn of(subject: &Subject, instruction: &Instruction, cpu: &CpuState) -> Vec<Operand> {
    let mut registers: Vec<Register> = Vec::new();
    for index in 0..instruction.op_count() {
        match instruction.op_kind(index) {
            OpKind::Register => registers.push(instruction.op_register(index)),
            OpKind::Memory => registers.extend([instruction.memory_base(), instruction.memory_index()]),
            OpKind::MemorySegRSI | OpKind::MemorySegESI => registers.push(Register::RSI),
            OpKind::MemoryESRDI | OpKind::MemoryESEDI => registers.push(Register::RDI),
            _ => {}
        }
    }
    let mut operands: Vec<Operand> = Vec::new();
    for register in registers {
        let Some((name, value)) = value(register, cpu) else { continue };
        if !operands.iter().any(|operand| operand.name == name) {
            operands.push(Operand { name: name.into(), value, note: subject.describe(GuestVirtual(value)) });
        }
    }
    if let Some(Reference { address, .. }) = reference(instruction, cpu) {
        operands.push(Operand { name: "memory".into(), value: address, note: content(subject, address) });
    }
    operands
}

/// What memory holds at an address, or why that is not known.
fn content(subject: &Subject, address: u64) -> String {
    let mut bytes = [0; 8];
    let place = subject.describe(GuestVirtual(address));
    let held = match subject.space.read(GuestVirtual(address), &mut bytes) {
        Ok(()) => format!("holds {:#x}", u64::from_le_bytes(bytes)),
        Err(error) => error.to_string(),
    };
    if place.is_empty() { held } else { format!("{place}, {held}") }
}

/// The memory that an instruction reads or writes, where all it takes is known. Segments count as starting at 0, but for `fs` and
/// `gs`.
pub(crate) fn reference(instruction: &Instruction, cpu: &CpuState) -> Option<Reference> {
    for index in 0..instruction.op_count() {
        match instruction.op_kind(index) {
            OpKind::Memory => return memory(instruction, cpu),
            OpKind::MemoryESRDI => return simple(Register::RDI, cpu),
            OpKind::MemorySegRSI => return simple(Register::RSI, cpu),
            _ => {}
        }
    }
    None
}

fn simple(register: Register, cpu: &CpuState) -> Option<Reference> {
    let (_, address) = value(register, cpu)?;
    Some(Reference { address, base: Some((register, address)), displacement: 0 })
}

fn memory(instruction: &Instruction, cpu: &CpuState) -> Option<Reference> {
    let displacement = instruction.memory_displacement64();
    if instruction.is_ip_rel_memory_operand() {
        let address = instruction.ip_rel_memory_address();
        return Some(Reference { address, base: None, displacement: address });
    }
    let mut address = displacement;
    let mut base = None;
    if instruction.memory_base() != Register::None {
        let (_, known) = value(instruction.memory_base(), cpu)?;
        base = Some((instruction.memory_base(), known));
        address = address.wrapping_add(known);
    }
    if instruction.memory_index() != Register::None {
        let (_, index) = value(instruction.memory_index(), cpu)?;
        address = address.wrapping_add(index.wrapping_mul(instruction.memory_index_scale().into()));
    }
    match instruction.segment_prefix() {
        Register::FS => address = address.wrapping_add(cpu.fs_base?),
        Register::GS => address = address.wrapping_add(cpu.gs_base?),
        _ => {}
    }
    Some(Reference { address, base, displacement })
}

/// The name of the whole register, and its value.
fn value(register: Register, cpu: &CpuState) -> Option<(&'static str, u64)> {
    if register == Register::RIP {
        return Some(("rip", cpu.rip));
    }
    /// Where in [`CpuState::general`] the first eight are, by the processor's numbers.
    const ORDER: [usize; 8] = [0, 2, 3, 1, 7, 6, 4, 5];
    let number = number(register)?;
    let index = ORDER.get(number).copied().unwrap_or(number);
    Some((GENERAL.get(index)?, (*cpu.general.get(index)?)?))
}

/// The processor's number of the general register that a register is a part of.
fn number(register: Register) -> Option<usize> {
    let place = register as usize;
    let from = |first: Register| place.checked_sub(first as usize).filter(|number| *number < 16);
    let wide = from(Register::RAX).or_else(|| from(Register::EAX)).or_else(|| from(Register::AX));
    wide.or_else(|| match place.checked_sub(Register::AL as usize)? {
        low @ 0..4 => Some(low),
        // ah ch dh bh
        high @ 4..8 => Some(high - 4),
        other @ 8..20 => Some(other - 4),
        _ => None,
    })
}
