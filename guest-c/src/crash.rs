//! How the kernel dies.

use core::ffi::c_char;

use uniprof_probes as probe;
use uniprof_probes::CrashReason;

use crate::text::text_of;

/// Why a kernel dies: its own panic.
pub const UNIPROF_CRASH_PANIC: u32 = 1;
/// An exception that nothing handles.
pub const UNIPROF_CRASH_EXCEPTION: u32 = 2;
/// No memory left.
pub const UNIPROF_CRASH_OUT_OF_MEMORY: u32 = 3;

/// What a kernel knows when it dies. What it does not know stays 0.
#[repr(C)]
pub struct Crash {
    /// UNIPROF_CRASH_PANIC and so on.
    pub reason: u32,
    /// Exception vector, where the reason is one.
    pub vector: u32,
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Faulting address of a page fault.
    pub cr2: u64,
    /// Physical address of the page tables in use.
    pub cr3: u64,
    /// Error code of the exception.
    pub error_code: u64,
    /// rax rbx rcx rdx rsi rdi rbp rsp r8 ... r15.
    pub registers: [u64; 16],
    /// What the kernel says; the first 256 bytes count.
    pub message: *const c_char,
}

/// Leaves a record of the calling vCPU's end, unless an earlier one is there: the first is the cause. Whether it did. See also
/// `UNIPROF_PANIC`.
///
/// # Safety
/// `crash` and its message are what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uniprof_crash(crash: *const Crash) -> bool {
    // SAFETY: the caller vouches for it.
    let Some(crash) = (unsafe { crash.as_ref() }) else { return false };
    probe::crash(&probe::Crash {
        reason: match crash.reason {
            UNIPROF_CRASH_EXCEPTION => CrashReason::Exception,
            UNIPROF_CRASH_OUT_OF_MEMORY => CrashReason::OutOfMemory,
            _ => CrashReason::Panic,
        },
        vector: crash.vector as u8,
        rip: crash.rip,
        rflags: crash.rflags,
        cr2: crash.cr2,
        cr3: crash.cr3,
        error_code: crash.error_code,
        registers: crash.registers,
        // SAFETY: the caller vouches for it.
        message: unsafe { text_of(crash.message) },
    })
}
