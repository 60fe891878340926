use uniprof_collector::dump::Facts;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::tables::{CrashReason, ThreadState, WaitKind};
use uniprof_wire::text::FixedText;

use super::*;
use crate::lab::{Guest, exception, thread};
use crate::{locks, stacks};

const LOW: u64 = 0x10_0000;
const TOP: u64 = 0x10_4000;

fn judge(guest: Guest, facts: Option<Facts>) -> Finding {
    let mut subject = guest.subject();
    subject.facts = facts;
    let stacks = stacks::of(&mut subject);
    let locks = locks::of(&subject, &stacks);
    of(&subject, &stacks, &locks)
}

fn taken(why: &str) -> Option<Facts> {
    Some(Facts { why: why.into(), ..Facts::default() })
}

/// A guest whose thread 1 faults at `cr2` on vCPU 0, with a guard page below its stack.
fn faulting(vector: u8, cr2: u64, rsp: u64, error_code: u64) -> Finding {
    let mut guest = Guest::with_region();
    guest.cpu(0x1000, 0x8000);
    guest.thread(&thread(1, "faulty", ThreadState::Running, TOP));
    let mut record = exception(vector, cr2, 0x1000, rsp);
    record.error_code = error_code;
    guest.crash(0, &record);
    guest.with_paging(&[0, LOW - 0x1000, 0x7000]);
    judge(guest, None)
}

#[test]
fn a_page_fault_says_what_the_address_is() {
    let null = faulting(14, 0x28, TOP - 64, 0);
    assert_eq!(null.verdict.kind, Kind::PageFault);
    assert!(
        null.verdict.reason.starts_with("a read of 0x28, a null pointer + 0x28, by "),
        "{}",
        null.verdict.reason
    );
    assert_eq!((null.verdict.thread.as_deref(), null.verdict.vcpu), (Some("faulty"), Some(0)));
    assert_eq!(null.verdict.confidence, Confidence::Certain);

    let wild = faulting(14, 0x4141_4141_0000, TOP - 64, 2);
    assert!(
        wild.verdict.reason.contains("a write to 0x414141410000, where nothing is mapped"),
        "{}",
        wild.verdict.reason
    );
    let mapped = faulting(14, 0x3000, TOP - 64, 3);
    assert_eq!(mapped.fault.unwrap().target, Some(Target::Mapped));
    let jump = faulting(14, 0x1000, TOP - 64, 0x10);
    assert_eq!(jump.fault.unwrap().access, Some(Access::Execute));
}

#[test]
fn an_access_just_below_the_stack_is_an_overflow_only_where_the_stack_pointer_was_there() {
    let over = faulting(14, LOW - 8, LOW + 32, 2);
    assert_eq!(over.verdict.kind, Kind::StackOverflow);
    assert_eq!(over.fault.unwrap().target, Some(Target::StackGuard { thread: 1, below: 8 }));
    let stray = faulting(14, LOW - 8, 0x40_0000, 2);
    assert_eq!(stray.verdict.kind, Kind::PageFault);
    assert_eq!(stray.fault.unwrap().target, Some(Target::GuardPage));
}

#[test]
fn exceptions_have_kinds_of_their_own() {
    assert_eq!(faulting(13, 0, TOP - 64, 0).verdict.kind, Kind::GeneralProtection);
    assert_eq!(faulting(6, 0, TOP - 64, 0).verdict.kind, Kind::InvalidOpcode);
    let guard = faulting(8, LOW - 8, LOW - 16, 0).fault.unwrap();
    assert_eq!((guard.vector, guard.target), (Some(8), Some(Target::StackGuard { thread: 1, below: 8 })));
    let divide = faulting(0, 0, TOP - 64, 0).verdict;
    assert_eq!(divide.kind, Kind::Exception);
    assert!(divide.reason.contains("divide error"), "{}", divide.reason);
    let double = faulting(8, 0, LOW - 16, 0).verdict;
    assert_eq!(double.kind, Kind::DoubleFault);
    assert!(double.reason.contains("it ran over"), "{}", double.reason);
}

#[test]
fn the_first_crash_in_time_counts_and_a_panic_says_its_message() {
    let mut guest = Guest::with_region();
    let mut panic = exception(0, 0, 0x1000, TOP - 64);
    (panic.reason, panic.tsc) = (CrashReason::Panic, 5);
    panic.message = FixedText::new(b"panic at x.rs:1: no such thing");
    guest.crash(1, &panic);
    guest.crash(0, &exception(14, 0, 0x1000, TOP - 64));
    guest.thread(&thread(1, "t", ThreadState::Running, TOP));
    let finding = judge(guest, None);
    assert_eq!((finding.verdict.kind, finding.verdict.vcpu), (Kind::Panic, Some(1)));
    assert_eq!(finding.message.as_deref(), Some("panic at x.rs:1: no such thing"));
    assert!(finding.verdict.reason.contains("no such thing"));
}

#[test]
fn a_panic_about_memory_or_the_heap_is_of_that_kind() {
    let kind = |message: &[u8], reason: CrashReason| {
        let guest = Guest::with_region();
        let mut record = exception(0, 0, 0x1000, TOP - 64);
        (record.reason, record.message) = (reason, FixedText::new(message));
        guest.crash(0, &record);
        judge(guest, None).verdict.kind
    };
    assert_eq!(kind(b"memory allocation of 64 bytes failed", CrashReason::Panic), Kind::OutOfMemory);
    assert_eq!(kind(b"whatever", CrashReason::OutOfMemory), Kind::OutOfMemory);
    assert_eq!(kind(b"heap: the free list is corrupt", CrashReason::Panic), Kind::HeapCorruption);
    assert_eq!(kind(b"thread x ran over the end of its stack", CrashReason::Panic), Kind::StackOverflow);
    assert_eq!(kind(b"something else", CrashReason::Panic), Kind::Panic);
}

#[test]
fn a_triple_fault_is_told_from_registers_alone() {
    let mut guest = Guest::bare();
    // `mov eax, [rax+0x14]` on the second vCPU, whose table is empty; the first one does no harm.
    guest.memory.write(0x1234, &[0x8b, 0x40, 0x14]);
    guest.memory.write(0x1334, &[0x90]);
    guest.cpu(0x1334, TOP - 64).idt = Some((0x3000, 0xfff));
    guest.cpu(0x1234, TOP - 64).idt = Some((0, 0));
    guest.with_paging(&[0]);
    let finding = judge(guest, None);
    assert_eq!((finding.verdict.kind, finding.verdict.vcpu), (Kind::TripleFault, Some(1)));
    let reason = finding.verdict.reason;
    assert!(reason.contains("0x14, a null pointer + 0x14") && reason.contains("has 0 bytes"), "{reason}");
    assert_eq!(finding.verdict.confidence, Confidence::Likely);
}

#[test]
fn a_fault_that_can_be_handled_is_no_triple_fault() {
    let with_table = |why: &str| {
        let mut guest = Guest::bare();
        guest.memory.write(0x1234, &[0x8b, 0x40, 0x14]);
        guest.cpu(0x1234, TOP - 64).idt = Some((0x3000, 0xfff));
        guest.with_paging(&[0]);
        judge(guest, taken(why)).verdict.kind
    };
    assert_eq!(with_table("asked"), Kind::Healthy);
    assert_eq!(with_table("triple-fault"), Kind::TripleFault);
    assert_eq!(with_table("reset"), Kind::TripleFault);
}

#[test]
fn threads_that_wait_for_each_other_are_a_deadlock() {
    let mut guest = Guest::with_region();
    for (id, name, on) in [(1, "a", 2), (2, "b", 1)] {
        let mut entry = thread(id, name, ThreadState::Blocked, TOP);
        (entry.wait, entry.waits_on, entry.waits_for) =
            (WaitKind::Lock, on, GuestVirtual(0x9000 + u64::from(id)));
        guest.thread(&entry);
    }
    let verdict = judge(guest, taken("asked")).verdict;
    assert_eq!((verdict.kind, verdict.thread.as_deref()), (Kind::Deadlock, Some("a")));
    assert!(verdict.reason.contains("held by b (thread 2)"), "{}", verdict.reason);
}

#[test]
fn a_vcpu_that_lags_behind_with_interrupts_off_spins() {
    let spinning = |flags: u64, heartbeat: u64, why: &str| {
        let mut guest = Guest::with_region();
        guest.cpu(0x2000, 0x8000).rflags = Some(flags);
        guest.cpu(0x3000, 0x8000);
        guest.vcpu_word(0, 0, heartbeat);
        judge(guest, taken(why)).verdict
    };
    let spin = spinning(2, 9_000_000_000, "asked");
    assert_eq!((spin.kind, spin.vcpu, spin.confidence), (Kind::Spin, Some(0), Confidence::Certain));
    assert!(spin.reason.contains("2000 ms"), "{}", spin.reason);
    assert_eq!(spinning(2, 11_000_000_000, "asked").kind, Kind::Healthy);
    assert_eq!(spinning(2, 11_000_000_000, "watchdog").kind, Kind::Spin);
    assert_eq!(spinning(0x202, 9_000_000_000, "asked").kind, Kind::LostTimer);
    assert_eq!(spinning(0x202, 11_000_000_000, "watchdog").kind, Kind::Hang);
}

#[test]
fn a_watchdog_that_meant_one_vcpu_says_nothing_of_another() {
    let mut guest = Guest::with_region();
    // The first has its interrupts off for a moment, the second lost its timer.
    guest.cpu(0x2000, 0x8000).rflags = Some(2);
    guest.cpu(0x3000, 0x8000);
    guest.vcpu_word(1, 0, 1_500_000_000);
    let verdict = judge(guest, taken("watchdog")).verdict;
    assert_eq!((verdict.kind, verdict.vcpu), (Kind::LostTimer, Some(1)));
}

#[test]
fn interrupts_off_near_a_pause_are_a_spin_only_in_a_loop_around_it() {
    let at = |rip: u64| {
        let mut guest = Guest::bare();
        // `pause`, a branch back to it, and what runs after the loop.
        guest.memory.write(0x2000, &[0xf3, 0x90, 0xeb, 0xfc, 0x90, 0xc3]);
        guest.cpu(rip, 0x8000).rflags = Some(2);
        judge(guest, taken("asked")).verdict
    };
    let spin = at(0x2002);
    assert_eq!((spin.kind, spin.confidence), (Kind::Spin, Confidence::Guess));
    assert_eq!(at(0x2004).kind, Kind::Healthy);
}

#[test]
fn a_vcpu_that_halts_until_a_time_to_come_has_not_lost_its_timer() {
    let sleeping = |wakes_at: u64| {
        let mut guest = Guest::with_region();
        guest.cpu(0x2000, 0x8000);
        guest.cpu(0x3000, 0x8000).halted = Some(true);
        guest.vcpu_word(1, 0, 9_000_000_000);
        let mut entry = thread(1, "ticker", ThreadState::Sleeping, TOP);
        (entry.vcpu, entry.wait, entry.wakes_at) = (1, WaitKind::Sleep, wakes_at);
        guest.thread(&entry);
        judge(guest, taken("asked")).verdict.kind
    };
    assert_eq!(sleeping(20_000_000_000), Kind::Healthy);
    assert_eq!(sleeping(10_900_000_000), Kind::LostTimer);
}

#[test]
fn a_torn_crash_record_gives_way_to_a_whole_one() {
    let mut guest = Guest::with_region();
    let mut torn = exception(13, 0, 0x1000, TOP - 64);
    torn.tsc = 0;
    guest.torn_crash(0, &torn);
    guest.crash(1, &exception(6, 0, 0x2000, TOP - 64));
    guest.thread(&thread(1, "t", ThreadState::Running, TOP));
    let verdict = judge(guest, None).verdict;
    assert_eq!((verdict.kind, verdict.confidence), (Kind::InvalidOpcode, Confidence::Certain));
}

#[test]
fn a_thread_that_nobody_can_wake_is_a_lost_wake_up_and_a_sleeper_makes_the_difference() {
    let waiting = |sleeper: bool| {
        let mut guest = Guest::with_region();
        for _ in 0..2 {
            guest.cpu(0x2000, 0x8000).halted = Some(true);
        }
        let mut entry = thread(1, "consumer", ThreadState::Blocked, TOP);
        (entry.wait, entry.waits_for) = (WaitKind::Event, GuestVirtual(0x9000));
        guest.thread(&entry);
        if sleeper {
            guest.thread(&thread(2, "ticker", ThreadState::Sleeping, TOP));
        }
        judge(guest, taken("asked")).verdict
    };
    let lost = waiting(false);
    assert_eq!((lost.kind, lost.confidence), (Kind::LostWakeup, Confidence::Guess));
    assert_eq!(lost.thread.as_deref(), Some("consumer"));
    assert_eq!(waiting(true).kind, Kind::Healthy);
}

#[test]
fn a_thread_that_waits_for_what_has_come_is_a_lost_wake_up_unless_it_was_woken() {
    let waiting = |word: u32, woken: u64| {
        let mut guest = Guest::with_region();
        guest.cpu(0x2000, 0x8000);
        guest.memory.write(0x9000, &word.to_le_bytes());
        let mut entry = thread(1, "consumer", ThreadState::Blocked, TOP);
        (entry.wait, entry.wait_word, entry.wait_since) =
            (WaitKind::Event, GuestVirtual(0x9000), 7_000_000_000);
        entry.woken = woken;
        guest.thread(&entry);
        judge(guest, None).verdict
    };
    let lost = waiting(1, 0);
    assert_eq!((lost.kind, lost.confidence), (Kind::LostWakeup, Confidence::Certain));
    assert!(lost.reason.contains("for 4000 ms, though it has come"), "{}", lost.reason);
    assert_eq!(waiting(1, 8_000_000_000).kind, Kind::Healthy);
    assert_eq!(waiting(0, 0).kind, Kind::Healthy);
}

#[test]
fn a_thread_that_sleeps_past_its_time_has_lost_its_timer() {
    let sleeping = |wakes_at: u64| {
        let mut guest = Guest::with_region();
        guest.cpu(0x2000, 0x8000);
        let mut entry = thread(1, "ticker", ThreadState::Sleeping, TOP);
        (entry.wait, entry.wait_since, entry.wakes_at) = (WaitKind::Sleep, 5_000_000_000, wakes_at);
        guest.thread(&entry);
        judge(guest, None).verdict.kind
    };
    assert_eq!(sleeping(9_000_000_000), Kind::LostTimer);
    assert_eq!(sleeping(10_900_000_000), Kind::Healthy);
}

#[test]
fn a_guest_that_is_done_is_told_from_one_that_waits() {
    let halted = |flags: u64| {
        let mut guest = Guest::bare();
        let cpu = guest.cpu(0x2000, 0x8000);
        (cpu.rflags, cpu.halted) = (Some(flags), Some(true));
        judge(guest, None).verdict.kind
    };
    assert_eq!(halted(2), Kind::CleanHalt);
    assert_eq!(halted(0x202), Kind::Healthy);
    assert_eq!(judge(Guest::bare(), None).verdict.kind, Kind::Unknown);
}

#[test]
fn a_pointer_that_is_text_is_shown_as_text() {
    let with_pointer = |pointer: &[u8; 8]| {
        let mut guest = Guest::with_region();
        guest.cpu(0x1000, 0x8000);
        guest.memory.write(0x1000, &[0x48, 0x89, 0x0e]);
        let mut record = exception(13, 0, 0x1000, TOP - 64);
        record.registers[4] = u64::from_le_bytes(*pointer);
        guest.crash(0, &record);
        guest.with_paging(&[0]);
        judge(guest, None).verdict.reason
    };
    let text = with_pointer(b"dmin; pa");
    assert!(text.ends_with("a wild pointer; the pointer's bytes are the text \"dmin; pa\""), "{text}");
    assert!(with_pointer(b"ZZZZZZZZ").ends_with("a wild pointer"));
}

#[test]
fn functions_that_only_report_are_not_to_blame() {
    for name in [
        "core::panicking::panic_fmt",
        "rust_begin_unwind",
        "__rustc::rust_begin_unwind",
        "core::option::unwrap_failed",
        "kernel::crash::crash",
        "kernel::crash::out_of_memory",
        "uk_panic",
        "solo5_abort",
    ] {
        assert!(blame::is_panic(name), "{name}");
    }
    for name in ["workload::crash::crash_null", "core::option::Option<T>::map", "kernel::panic_button::press"]
    {
        assert!(!blame::is_panic(name), "{name}");
    }
    assert!(blame::is_allocator("<kernel::heap::Heap as core::alloc::global::GlobalAlloc>::alloc"));
    assert!(!blame::is_allocator("kernel::workload::heap::release_buffer"));
    assert!(blame::is_allocator("<alloc::vec::Vec<T> as core::clone::Clone>::clone"));
    assert!(blame::is_allocator("malloc") && !blame::is_allocator("kernel::free_list_of_packets"));
}

#[test]
fn functions_of_the_library_for_any_type_are_the_librarys() {
    let is_plumbing = super::blame::is_plumbing;
    assert!(is_plumbing("<T as alloc::slice::<impl [T]>::to_vec_in::ConvertVec>::to_vec"));
    assert!(is_plumbing("<A as core::slice::cmp::SliceOrd>::compare"));
    assert!(is_plumbing("<alloc::string::String as core::clone::Clone>::clone"));
    assert!(!is_plumbing("<kernel::Page as core::ops::drop::Drop>::drop"));
    assert!(!is_plumbing("<T as kernel::Handler>::handle"));
}
