//! x86_64: an interrupt comes between instructions, never inside one, so a single read-modify-write
//! instruction needs no `lock` prefix where only this vCPU writes. That is worth 8 ns each.

use core::arch::asm;

use uniprof_wire::layout::Architecture;

pub(crate) const ARCHITECTURE: Architecture = Architecture::X86_64;

/// Adds `value` to `*word`.
///
/// # Safety
/// `word` is valid, aligned, and written by this vCPU only.
#[inline(always)]
pub(crate) unsafe fn local_add(word: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `word`; one instruction, memory and flags are its only effects.
    unsafe {
        asm!("add qword ptr [{word}], {value}", word = in(reg) word, value = in(reg) value, options(nostack));
    }
}

/// Stores `new` in `*word` if it holds `old`; whether it did.
///
/// # Safety
/// As [`local_add`].
#[inline(always)]
pub(crate) unsafe fn local_compare_exchange(word: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: as above.
    unsafe {
        asm!(
            "cmpxchg qword ptr [{word}], {new}",
            word = in(reg) word,
            new = in(reg) new,
            inout("rax") old => found,
            options(nostack),
        );
    }
    found == old
}

/// Frame pointer and stack pointer of the function that this is written in.
#[inline(always)]
pub(crate) fn frame() -> (usize, usize) {
    let (frame, stack_pointer);
    // SAFETY: reads two registers. It says that it writes a third, which callers want back: else the compiler, which does not know
    // that the frame pointer is read, could put this before the function has made its frame.
    unsafe {
        asm!(
            "mov {}, rbp",
            "mov {}, rsp",
            out(reg) frame,
            out(reg) stack_pointer,
            out("r12") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    (frame, stack_pointer)
}
