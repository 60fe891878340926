//! x86_64: an interrupt comes between instructions, never inside one, so a single read-modify-write
//! instruction needs no `lock` prefix where only this vCPU writes. That is worth 8 ns each.

use core::arch::asm;

use uniprof_wire::layout::Architecture;

use super::Aside;

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

/// Adds 1 to `words[index]`.
///
/// # Safety
/// `words[index]` is valid, aligned, and written by this vCPU only.
#[inline(always)]
pub(crate) unsafe fn local_increment(words: *mut u64, index: usize) {
    // SAFETY: as above.
    unsafe {
        asm!("inc qword ptr [{words} + 8*{index}]", words = in(reg) words, index = in(reg) index, options(nostack));
    }
}

/// Stores `new` in `*word` if it holds `old`; whether it did.
///
/// # Safety
/// As [`local_add`].
#[inline(always)]
pub(crate) unsafe fn local_compare_exchange(word: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as above.
    unsafe {
        asm!(
            "cmpxchg qword ptr [{word}], {new}",
            "jne {other}",
            word = in(reg) word,
            new = in(reg) new,
            inout("rax") old => _,
            other = label { return false },
            options(nostack),
        );
    }
    true
}

/// Whether a bit below 31 of a static is set: one instruction that loads and tests, and one branch.
macro_rules! has_bits {
    ($word:path, $bits:expr) => {
        'look: {
            // SAFETY: reads a static, which is only accessed as an atomic; the bits lie in its first four bytes, and an aligned load is one.
            unsafe {
                ::core::arch::asm!(
                    "test dword ptr [rip + {word}], {bits}",
                    "jnz {on}",
                    word = sym $word,
                    bits = const $bits,
                    on = label { break 'look true },
                    options(nostack, readonly),
                );
            }
            false
        }
    };
}
pub(crate) use has_bits;

/// Whether the 32-bit word at byte `$offset` of a static is not 0: one instruction that loads and compares, and one branch. (Of an
/// atomic load the compiler makes an instruction of its own.)
#[doc(hidden)]
#[macro_export]
macro_rules! __is_on {
    ($word:path, $offset:expr) => {
        'look: {
            // SAFETY: reads a static's word, which is only accessed as an atomic; an aligned load is one.
            unsafe {
                ::core::arch::asm!(
                    "cmp dword ptr [rip + {word} + {offset}], 0",
                    "jne {on}",
                    word = sym $word,
                    offset = const $offset,
                    on = label { break 'look true },
                    options(nostack, readonly),
                );
            }
            false
        }
    };
}

/// Calls `function`, which is seldom needed, without a trace in the registers of the caller. An ordinary call makes its caller save five registers
/// at its begin and restore them at its end whether the call is made or not, which is more than a tenth of all that an event does.
#[inline(always)]
pub(crate) fn call_aside(function: Aside, [a, b, c]: [u64; 3]) -> u64 {
    let result;
    // SAFETY: calls a safe function by its convention. The stack is aligned for a call, and no red zone in use, because `nostack` is not stated.
    unsafe {
        asm!(
            "call {aside}",
            aside = sym aside,
            inout("rax") function => result,
            in("r8") a,
            in("r9") b,
            in("r10") c,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _,
            out("xmm20") _, out("xmm21") _, out("xmm22") _, out("xmm23") _,
            out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
            out("xmm28") _, out("xmm29") _, out("xmm30") _, out("xmm31") _,
            out("k1") _, out("k2") _, out("k3") _, out("k4") _,
            out("k5") _, out("k6") _, out("k7") _,
        );
    }
    result
}

/// Calls the function in rax with the arguments in r8 to r10 (not where arguments are by convention: the caller has its own there), and keeps all
/// integer registers but rax, which has the result.
#[unsafe(naked)]
extern "C" fn aside() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "mov rdi, r8",
        "mov rsi, r9",
        "mov rdx, r10",
        "call rax",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    );
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

/// [`poll`](crate::poll()) for whoever calls this: hands over rip, rsp, rbp, rbx and r12 to r15 as they are once this has returned. Without a
/// frame of its own, so that it is not part of what it tells.
#[unsafe(naked)]
pub extern "C" fn poll_here() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push r15",
        "push r14",
        "push r13",
        "push r12",
        "push rbx",
        "push rbp",
        ".cfi_adjust_cfa_offset 48",
        "lea rax, [rsp + 56]",
        "push rax",
        "push qword ptr [rsp + 56]",
        "mov rdi, rsp",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 24",
        "call {poll}",
        "add rsp, 24",
        ".cfi_adjust_cfa_offset -24",
        "pop rbp",
        "pop rbx",
        "pop r12",
        "pop r13",
        "pop r14",
        "pop r15",
        ".cfi_adjust_cfa_offset -48",
        "ret",
        ".cfi_endproc",
        poll = sym crate::poll::poll_as,
    );
}

/// Does nothing, but not before what stands before it, nor as part of it.
#[inline(always)]
pub(crate) fn nothing() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nomem, nostack, preserves_flags)) }
}
