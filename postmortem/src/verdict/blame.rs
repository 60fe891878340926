//! Which function to look at first: the innermost one that is not merely how a program dies.

use crate::stacks::{Stack, StackFrame};

use super::Kind;

/// How far in from the innermost frame the machinery of a panic reaches at most.
const MAX_MACHINERY: usize = 64;

/// How far out the allocator's interface is at most.
const MAX_ALLOCATOR: usize = 16;

/// The innermost frame that is neither a part of the panic's own way, nor of the language's library, nor, where memory is the matter,
/// of the allocator. Where all are, the innermost.
pub(super) fn frame(stack: &Stack, kind: Kind) -> Option<&StackFrame> {
    let named: Vec<&StackFrame> = stack.frames.iter().filter(|frame| frame.function.is_some()).collect();
    // What an exception came into is further out than its handler.
    let handled = stack.frames.iter().rposition(StackFrame::is_interrupted);
    let handled = handled.filter(|_| kind.is_of_exception()).map_or(0, |index| stack.frames[index].depth);
    let dying = named.iter().take(MAX_MACHINERY).rposition(|frame| is_panic(frame.name()));
    let mut after = dying.map_or(0, |index| index + 1);
    let memory = matches!(kind, Kind::OutOfMemory | Kind::HeapCorruption);
    if memory {
        // What the interface of an allocator called is a part of the allocator, whatever it is called.
        let mut inner = named.iter().take(after + MAX_ALLOCATOR);
        after = inner
            .rposition(|frame| is_of_allocator(frame.name()))
            .map_or(after, |index| after.max(index + 1));
    }
    let candidates =
        || named.iter().enumerate().filter(|(index, frame)| *index >= after && frame.depth >= handled);
    if matches!(kind, Kind::Deadlock | Kind::LostWakeup | Kind::Hang) {
        return waiting_frame(stack);
    }
    let guilty = |name: &str| !(is_library(name) || memory && is_allocator(name));
    let found = candidates().find(|(_, frame)| guilty(frame.name())).or_else(|| candidates().next());
    found.map(|(_, frame)| *frame).or_else(|| named.first().copied())
}

/// The innermost frame of a thread that waits which is not the scheduler's or a lock's own.
#[must_use]
pub fn waiting_frame(stack: &Stack) -> Option<&StackFrame> {
    doing(&stack.frames)
}

/// What a stack was doing: its innermost function that is neither a handler of an interrupt or an exception, nor the scheduler's,
/// nor a lock's own.
#[must_use]
pub fn doing(frames: &[StackFrame]) -> Option<&StackFrame> {
    let handled = frames.iter().rposition(StackFrame::is_interrupted);
    let depth = handled.map_or(0, |index| frames[index].depth);
    let named = || frames.iter().filter(|frame| frame.function.is_some() && frame.depth >= depth);
    named().find(|frame| !is_library(frame.name()) && !is_waiting(frame.name())).or_else(|| named().next())
}

/// Whether a function is how a thread waits, whoever wrote it.
fn is_waiting(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "::sched::",
        "::scheduler::",
        "::sync::",
        "::arch::",
        "lock_api::",
        "parking_lot",
        "::mutex::",
        "::Mutex",
        "::park",
    ];
    const NAMES: [&str; 16] = [
        "switch_context",
        "switch_away",
        "schedule",
        "schedule_next",
        "context_switch",
        "switch_to",
        "__switch_to",
        "wait",
        "wait_until",
        "wait_event",
        "lock",
        "lock_slow",
        "block",
        "sleep",
        "yield_now",
        "ukplat_ctx_switch",
    ];
    PARTS.iter().any(|part| name.contains(part)) || NAMES.contains(&last(name))
}

impl Kind {
    fn is_of_exception(self) -> bool {
        matches!(
            self,
            Self::PageFault
                | Self::StackOverflow
                | Self::DoubleFault
                | Self::GeneralProtection
                | Self::HeapCorruption
                | Self::InvalidOpcode
                | Self::Exception
        )
    }
}

/// The last part of a path, without generics: `panic_fmt` of `core::panicking::panic_fmt`.
fn last(name: &str) -> &str {
    let name = name.split(['<', '(']).next().filter(|start| !start.is_empty()).unwrap_or(name);
    name.trim_end_matches(':').rsplit("::").next().unwrap_or(name)
}

/// Whether a function is a part of how a program panics or aborts, whoever wrote it.
pub(super) fn is_panic(name: &str) -> bool {
    const PATHS: [&str; 5] = [
        "core::panicking::",
        "std::panicking::",
        "core::result::unwrap_failed",
        "core::option::unwrap_failed",
        "core::option::expect_failed",
    ];
    const NAMES: [&str; 26] = [
        "abort",
        "panic",
        "panic_impl",
        "on_panic",
        "panic_handler",
        "rust_begin_unwind",
        "begin_unwind",
        "rust_panic",
        "rust_panic_with_hook",
        "__rust_start_panic",
        "expect_failed",
        "unwrap_failed",
        "handle_alloc_error",
        "rust_oom",
        "out_of_memory",
        "assert_failed",
        "__assert_fail",
        "__assert",
        "uk_panic",
        "_uk_panic",
        "ukplat_crash",
        "ukplat_terminate",
        "solo5_abort",
        "caml_fatal_error",
        "caml_fatal_uncaught_exception",
        "__stack_chk_fail",
    ];
    let path = PATHS.iter().any(|path| name.starts_with(path));
    path || NAMES.contains(&last(name)) || name.ends_with("::crash::crash")
}

/// Whether a function belongs to the language's library, or copies memory for whoever called it.
fn is_library(name: &str) -> bool {
    const CRATES: [&str; 3] = ["core::", "alloc::", "std::"];
    const MEMORY: [&str; 8] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen", "strcpy", "strcmp"];
    let bare =
        name.trim_start_matches(['<', '&', '*', '[']).trim_start_matches("mut ").trim_start_matches("const ");
    let is_of_crate = |path: &str| CRATES.iter().any(|start| path.starts_with(start));
    // `<T as alloc::slice::ConvertVec>::to_vec`: a kernel's own type would have a path.
    let of_any_type = name.strip_prefix('<').and_then(|rest| rest.split_once(" as "));
    let of_any_type = of_any_type.is_some_and(|(ty, path)| !ty.contains("::") && is_of_crate(path));
    is_of_crate(bare) || of_any_type || MEMORY.contains(&last(name))
}

/// Whether a function is a library's, an allocator's, or the probes' own: not who wanted the memory.
pub(crate) fn is_plumbing(name: &str) -> bool {
    is_library(name) || is_allocator(name) || name.starts_with("uniprof_probes::")
}

/// Whether a function belongs to an allocator, or to the library's way to it.
pub(crate) fn is_allocator(name: &str) -> bool {
    is_library(name) && name.contains("alloc") || is_of_allocator(name)
}

/// Whether a function belongs to an allocator.
fn is_of_allocator(name: &str) -> bool {
    const NAMES: [&str; 9] =
        ["malloc", "free", "realloc", "calloc", "memalign", "dealloc", "kmalloc", "kfree", "posix_memalign"];
    const PARTS: [&str; 12] = [
        "GlobalAlloc",
        "__rust_alloc",
        "__rust_dealloc",
        "__rust_realloc",
        "__rust_no_alloc",
        "__rg_",
        "__rdl_",
        "talc::",
        "linked_list_allocator::",
        "buddy_system_allocator::",
        "dlmalloc",
        "tlsf",
    ];
    NAMES.contains(&last(name)) || PARTS.iter().any(|part| name.contains(part))
}
