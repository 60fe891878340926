//! The crash record: what killed this vCPU, kept where a dead guest's memory still shows it.

use uniprof_wire::address::GuestPhysical;
use uniprof_wire::ring::WriterWords;
use uniprof_wire::tables::{CRASH_WORDS, CrashReason, CrashRecord, REGISTERS};
use uniprof_wire::text::FixedText;

use core::sync::atomic::Ordering;

use crate::platform;
use crate::region::region;

/// What a kernel knows when it dies. Fields that it does not know stay 0.
#[derive(Clone, Copy, Debug)]
pub struct Crash<'a> {
    /// Why.
    pub reason: CrashReason,
    /// Exception vector, where the reason is one.
    pub vector: u8,
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
    /// rax rbx rcx rdx rsi rdi rbp rsp r8 … r15.
    pub registers: [u64; REGISTERS],
    /// What the kernel says; the first 256 bytes count.
    pub message: &'a str,
}

/// Fills the calling vCPU's crash record, unless an earlier crash has: the first one is the cause.
/// Whether it did.
pub fn crash(crash: &Crash<'_>) -> bool {
    let Some(region) = region() else { return false };
    let vcpu = platform::vcpu();
    if vcpu >= region.geometry.vcpus() {
        return false;
    }
    let slot = region.words.at_byte(region.geometry.crash_table() + vcpu as usize * CRASH_WORDS * 8);
    if slot.atomic(0).compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return false;
    }
    let record = CrashRecord {
        reason: crash.reason,
        vector: crash.vector,
        tsc: platform::now(),
        thread: platform::thread(),
        rip: crash.rip,
        rflags: crash.rflags,
        cr2: crash.cr2,
        cr3: GuestPhysical(crash.cr3),
        error_code: crash.error_code,
        registers: crash.registers,
        message: FixedText::new(crash.message.as_bytes()),
    };
    record.to_words().iter().enumerate().for_each(|(i, &word)| slot.store(1 + i, word));
    slot.store(0, 2);
    true
}
