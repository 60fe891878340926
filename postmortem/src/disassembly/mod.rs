//! Machine code as text: the instructions around an address, with what their operands were, and whole functions.
//!
//! What is decoded is what the guest's memory holds. Where the image has other bytes there, the line says so: the code was patched,
//! or overwritten, or the image is the wrong one. Where the memory can't be read, the image's bytes are shown in its place.

mod operand;

use iced_x86::{Decoder, DecoderOptions, Formatter as _, Instruction, IntelFormatter, Mnemonic};
use serde::Serialize;
use uniprof_collector::cpu::CpuState;
use uniprof_symbolizer::AddressKind;
use uniprof_wire::address::GuestVirtual;

pub use operand::{Operand, Reference};

use crate::program::Place;
use crate::subject::Subject;

/// The longest instruction.
const LONGEST: usize = 15;
/// The largest part of a function that is decoded.
const MAX_FUNCTION: u64 = 64 << 10;
/// Bytes that are shown of code whose size the image does not say.
const UNSIZED: u64 = 64;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Where it lies.
    #[serde(serialize_with = "crate::report::hex")]
    pub address: u64,
    /// Its bytes in hexadecimal.
    pub bytes: String,
    /// It in Intel's syntax.
    pub text: String,
    /// The source file and line that it belongs to.
    pub source: Option<String>,
    /// Whether it is the one that was asked for.
    pub current: bool,
    /// The image's bytes in hexadecimal, where they are others.
    pub image_has: Option<String>,
    /// What its operands were; only of the one that was asked for.
    pub operands: Vec<Operand>,
}

/// Instructions of one function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// The function's name, where there is one.
    pub function: Option<String>,
    /// The instructions in rising order.
    pub lines: Vec<Line>,
    /// What is missing, in sentences.
    pub remarks: Vec<String>,
}

/// Why there is no listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// The memory is neither in the guest nor in an image.
    #[error("there is no code to read at {0}: neither the guest's memory nor an image has it")]
    NoMemory(GuestVirtual),
    /// No image has such a function.
    #[error("no image has a function {0:?}; give its name, or the end of it from a :: on")]
    NoFunction(String),
}

/// The instruction at `address`, with up to `before` and `after` others, and what its operands were by `registers`.
pub fn around(
    subject: &mut Subject,
    address: GuestVirtual,
    registers: Option<&CpuState>,
    (before, after): (usize, usize),
) -> Result<Listing, ListingError> {
    let (start, function, end) = match function_around(subject, address) {
        Some((start, end, name)) => (start, Some(name), end),
        None => (address.0, None, address.0.saturating_add(MAX_FUNCTION)),
    };
    let wanted =
        address.0.saturating_add(((after + 1) * LONGEST) as u64).min(end.max(address.0.saturating_add(1)));
    let first = start.max(address.0.saturating_sub(MAX_FUNCTION));
    let mut code = Code::read(subject, first, wanted.saturating_sub(first))?;
    let mut instructions = code.instructions();
    if !instructions.iter().any(|instruction| instruction.ip() == address.0) {
        // It lies in the middle of another, by the code that is there now.
        code = Code::read(subject, address.0, wanted.saturating_sub(address.0))?;
        instructions = code.instructions();
    }
    let index = instructions.iter().position(|instruction| instruction.ip() == address.0).unwrap_or(0);
    let shown = instructions.iter().skip(index.saturating_sub(before)).take(index.min(before) + 1 + after);
    let mut lines: Vec<Line> = shown.map(|instruction| line(subject, &code, instruction)).collect();
    if let Some(line) = lines.iter_mut().find(|line| line.address == address.0) {
        line.current = true;
        if let (Some(cpu), Some(instruction)) = (registers, instructions.get(index)) {
            line.operands = operand::of(subject, instruction, cpu);
        }
    }
    Ok(Listing { function, lines, remarks: code.remarks })
}

/// A function, whole, by its name or the end of it.
pub fn function(subject: &mut Subject, name: &str) -> Result<Listing, ListingError> {
    let found = subject.program.images().iter().find_map(|loaded| {
        let symbol = loaded.image.symbol_called(name)?;
        let symbol = loaded.image.symbol_around(symbol.address).filter(|symbol| symbol.code)?;
        Some((symbol.name, loaded.bias.to_guest(symbol.address), symbol.size))
    });
    let (name, at, size) = found.ok_or_else(|| ListingError::NoFunction(name.to_owned()))?;
    let len = if size == 0 { UNSIZED } else { size.min(MAX_FUNCTION) };
    let mut code = Code::read(subject, at.0, len)?;
    if size > len {
        code.remarks.push(format!("only the first {} KiB of {size} bytes are shown", len >> 10));
    }
    let lines = code.instructions().iter().map(|instruction| line(subject, &code, instruction)).collect();
    Ok(Listing { function: Some(name), lines, remarks: code.remarks })
}

/// The instruction at an address, by the guest's memory.
pub(crate) fn decode(subject: &Subject, address: GuestVirtual) -> Option<Instruction> {
    let code = Code::read(subject, address.0, LONGEST as u64).ok()?;
    code.instructions().first().copied().filter(|instruction| !instruction.is_invalid())
}

/// What the instruction at an address reads or writes, by the registers there.
pub(crate) fn reference(subject: &Subject, address: GuestVirtual, cpu: &CpuState) -> Option<Reference> {
    operand::reference(&decode(subject, address)?, cpu)
}

/// Whether an address lies in a short loop around a `pause`, which is how code waits for memory to change. It must lie between
/// a branch back and its target: code that only stands near such a loop does something else.
pub(crate) fn is_in_waiting_loop(subject: &Subject, address: GuestVirtual) -> bool {
    const LOOP: u64 = 64;
    let Ok(ahead) = Code::read(subject, address.0, LOOP) else { return false };
    let ahead = ahead.instructions();
    let mut backwards = ahead
        .iter()
        .take_while(|instruction| instruction.mnemonic() != Mnemonic::Ret)
        .map(|instruction| (instruction.near_branch_target(), instruction.next_ip()))
        .filter(|(target, end)| *target != 0 && *target <= address.0 && end - target <= LOOP);
    let pauses = |(start, end): (u64, u64)| {
        let code = Code::read(subject, start, end - start);
        code.is_ok_and(|code| code.instructions().iter().any(|one| one.mnemonic() == Mnemonic::Pause))
    };
    backwards.any(pauses)
}

fn function_around(subject: &Subject, address: GuestVirtual) -> Option<(u64, u64, String)> {
    let Place { image, link } = subject.program.place(address)?;
    let loaded = subject.program.images().get(image)?;
    let symbol = loaded.image.symbol_around(link).filter(|symbol| symbol.code)?;
    let start = loaded.bias.to_guest(symbol.address).0;
    Some((start, start.saturating_add(symbol.size.max(1)), symbol.name))
}

/// Bytes of code.
struct Code {
    at: u64,
    bytes: Vec<u8>,
    /// What the image has there; shorter where it has less.
    image: Vec<u8>,
    remarks: Vec<String>,
}

impl Code {
    fn read(subject: &Subject, at: u64, len: u64) -> Result<Self, ListingError> {
        let mut bytes = vec![0; len.clamp(1, MAX_FUNCTION + 64) as usize];
        let mut image = vec![0; bytes.len()];
        let mut known = 0;
        if let Some(Place { image: index, link }) = subject.program.place(GuestVirtual(at))
            && let Some(loaded) = subject.program.images().get(index)
        {
            known = loaded.image.content_at(link, &mut image);
        }
        image.truncate(known);
        let mut remarks = Vec::new();
        let readable = readable(subject, at, &mut bytes);
        if readable == 0 {
            if image.is_empty() {
                return Err(ListingError::NoMemory(GuestVirtual(at)));
            }
            remarks.push("the guest's memory can't be read there: this is the image's code".into());
            bytes.clone_from(&image);
        } else {
            bytes.truncate(readable);
        }
        Ok(Self { at, bytes, image, remarks })
    }

    fn instructions(&self) -> Vec<Instruction> {
        Decoder::with_ip(64, &self.bytes, self.at, DecoderOptions::NONE).iter().collect()
    }

    fn of<'b>(&self, bytes: &'b [u8], instruction: &Instruction) -> Option<&'b [u8]> {
        let start = usize::try_from(instruction.ip().checked_sub(self.at)?).ok()?;
        bytes.get(start..start.checked_add(instruction.len())?)
    }
}

/// Reads as much as there is from the start on; returns how much that was.
fn readable(subject: &Subject, at: u64, into: &mut [u8]) -> usize {
    let mut done = 0;
    while done < into.len() {
        let from = at.wrapping_add(done as u64);
        let in_page = (4096 - from % 4096) as usize;
        let end = into.len().min(done + in_page);
        if subject.space.read(GuestVirtual(from), &mut into[done..end]).is_err() {
            break;
        }
        done = end;
    }
    done
}

fn line(subject: &mut Subject, code: &Code, instruction: &Instruction) -> Line {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_rip_relative_addresses(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    let address = GuestVirtual(instruction.ip());
    if let Some(target) = target(instruction)
        && let Some(name) = subject.program.symbol(GuestVirtual(target))
    {
        text.push_str(&format!(" <{name}>"));
    }
    let source = subject.program.resolve(address, AddressKind::Instruction).and_then(|resolution| {
        let frame = resolution.frames().first()?;
        Some(format!("{}:{}", frame.file.as_deref()?, frame.line?))
    });
    let bytes = code.of(&code.bytes, instruction).unwrap_or_default();
    let image = code.of(&code.image, instruction);
    Line {
        address: address.0,
        bytes: uniprof_collector::tables::hex(bytes),
        text,
        source,
        current: false,
        image_has: image.filter(|image| *image != bytes).map(uniprof_collector::tables::hex),
        operands: Vec::new(),
    }
}

/// The address that an instruction names: of a branch, or relative to its own.
fn target(instruction: &Instruction) -> Option<u64> {
    if instruction.is_ip_rel_memory_operand() {
        return Some(instruction.ip_rel_memory_address());
    }
    Some(instruction.near_branch_target()).filter(|target| *target != 0)
}

#[cfg(test)]
mod tests;
