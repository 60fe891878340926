//! Whether a kernel's code lies in memory where its ELF file says: what tells RAM from another mapping of the same size.

use std::{fs::File, os::unix::fs::FileExt};

use uniprof_wire::address::GuestPhysical;

use crate::memory::GuestMemory;

/// Pieces of code that are compared, and bytes of each; less code than the least says nothing.
const PIECES: u64 = 16;
const PIECE: usize = 64;
const LEAST: u64 = 8;
/// So many must be there: a kernel may patch its code.
const ENOUGH: usize = 12;
const MOST_SEGMENTS: u16 = 64;

/// An executable segment: where in the file, where in physical memory, how long.
struct Code {
    offset: u64,
    physical: u64,
    len: u64,
}

/// Whether enough of the code is there. `false` for files that are no ELF, and for code that was moved or is not loaded yet.
pub(super) fn is_there(kernel: &File, memory: &dyn GuestMemory) -> bool {
    let mut same = 0;
    let mut compared = 0;
    for code in codes(kernel).unwrap_or_default() {
        let len = code.len.min(PIECE as u64);
        for piece in 0..PIECES {
            let at = (code.len - len) / PIECES * piece;
            let (mut in_file, mut in_memory) = ([0; PIECE], [0; PIECE]);
            let (in_file, in_memory) = (&mut in_file[..len as usize], &mut in_memory[..len as usize]);
            let (Some(offset), Some(physical)) = (code.offset.checked_add(at), code.physical.checked_add(at))
            else {
                continue;
            };
            if kernel.read_exact_at(in_file, offset).is_err() || in_file.iter().all(|byte| *byte == 0) {
                continue;
            }
            compared += 1;
            let read = memory.read(GuestPhysical(physical), in_memory);
            same += usize::from(read.is_ok() && in_file == in_memory);
        }
    }
    compared > 0 && same >= ENOUGH.min(compared) && same * 4 >= compared * 3
}

/// The executable segments that are long enough, of an ELF of 64 or 32 bits.
fn codes(kernel: &File) -> Option<Vec<Code>> {
    let mut header = [0; 64];
    kernel.read_exact_at(&mut header, 0).ok()?;
    let wide = match header.get(..6)? {
        b"\x7fELF\x02\x01" => true,
        b"\x7fELF\x01\x01" => false,
        _ => return None,
    };
    let (table, size, count) = if wide {
        (number(&header, 32, 8)?, number(&header, 54, 2)?, number(&header, 56, 2)?)
    } else {
        (number(&header, 28, 4)?, number(&header, 42, 2)?, number(&header, 44, 2)?)
    };
    let mut codes = Vec::new();
    for index in 0..count.min(MOST_SEGMENTS.into()) {
        let mut entry = [0; 56];
        let entry = &mut entry[..if wide { 56 } else { 32 }];
        kernel.read_exact_at(entry, table.checked_add(index * size)?).ok()?;
        // Elf64_Phdr has its flags second, Elf32_Phdr second to last.
        let (flags, offset, physical, len) = if wide {
            (number(entry, 4, 4)?, number(entry, 8, 8)?, number(entry, 24, 8)?, number(entry, 32, 8)?)
        } else {
            (number(entry, 24, 4)?, number(entry, 4, 4)?, number(entry, 12, 4)?, number(entry, 16, 4)?)
        };
        if number(entry, 0, 4)? == 1 && flags & 1 != 0 && len >= LEAST {
            codes.push(Code { offset, physical, len });
        }
    }
    Some(codes)
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..len].copy_from_slice(bytes.get(at..at.checked_add(len)?)?);
    Some(u64::from_le_bytes(word))
}
