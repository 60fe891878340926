//! Stacks and registers that are wrong, and code that nobody described: within the limits, and with a reason.

mod common;

use std::sync::{Arc, LazyLock};

use common::Built;
use proptest::prelude::*;
use uniprof_symbolizer::{
    AddressKind, FrameSource, Image, LoadBias, MAX_FRAMES, Registers, UnwindEnd, Unwinder, UnwoundFrame,
};

/// Functions with and without call-frame information, and interrupt stubs that return or do not.
const SOURCE: &str = r#"
int seed;
__attribute__((noinline)) int leaf(int x) { volatile int y = x; return y; }
__attribute__((noinline)) int variable(int x) { volatile char b[x + 8]; b[x] = x; return leaf(x) + b[x]; }
__asm__(".text\n.type stub,@function\nstub: push $0\n push %rax\n push %rbp\n mov %rsp, %rdi\n call leaf\nstub_after: test %al, %al\n"
        " jnz 1f\n pop %rbp\n pop %rax\n add $8, %rsp\n iretq\n1: ud2\n.size stub,.-stub\n"
        ".type fatal,@function\nfatal: push $0\n push %rax\n push %rbp\n call leaf\nfatal_after: ud2\n.size fatal,.-fatal\n"
        ".type bare,@function\nbare: sub $24, %rsp\n call leaf\nbare_after: add $24, %rsp\n ret\n.size bare,.-bare\n");
void _start(void) { __asm__ volatile(".cfi_undefined rip"); seed = variable(seed); for (;;) ; }
"#;

static IMAGE: LazyLock<Arc<Image>> =
    LazyLock::new(|| Built::new("a.c", SOURCE, &["-O1", "-fomit-frame-pointer"]).image());

const STACK: u64 = 0x7000_0000;

fn code(name: &str, offset: u64) -> u64 {
    IMAGE.symbol(name).expect(name).address.0 + offset
}

fn unwind(rip: u64, rsp: u64, rbp: u64, stack: &[u64]) -> (Vec<UnwoundFrame>, UnwindEnd, usize) {
    let mut unwinder = Unwinder::new();
    unwinder.add(&IMAGE, LoadBias::NONE);
    let (mut frames, mut reads) = (Vec::new(), 0);
    let read = |at: u64| {
        reads += 1;
        let offset = at.checked_sub(STACK)?;
        if offset % 8 == 0 { stack.get(usize::try_from(offset).ok()? / 8).copied() } else { None }
    };
    let end = unwinder.unwind(&Registers { rip, rsp, rbp, ..Registers::default() }, read, &mut frames);
    (frames, end, reads)
}

fn brief(frames: &[UnwoundFrame]) -> Vec<(u64, AddressKind, FrameSource)> {
    frames.iter().map(|frame| (frame.address.0, frame.kind, frame.found)).collect()
}

/// What is on the stack of `leaf` called by an interrupt stub that came into `_start`.
fn interrupted(after: &str) -> [u64; 16] {
    let mut stack = [0; 16];
    stack[0] = code(after, 0);
    stack[1] = 0x1234;
    stack[4..9].copy_from_slice(&[code("_start", 5), 0x8, 0x202, STACK + 96, 0x10]);
    stack
}

#[test]
fn interrupts_without_call_frame_information() {
    for (after, found) in [("stub_after", FrameSource::Prologue), ("fatal_after", FrameSource::Scan)] {
        let (frames, end, _) = unwind(code("leaf", 0), STACK, 0, &interrupted(after));
        let expected = [
            (code("leaf", 0), AddressKind::Instruction, FrameSource::Leaf),
            (code(after, 0), AddressKind::Return, FrameSource::Cfi),
            (code("_start", 5), AddressKind::Instruction, found),
        ];
        assert_eq!((brief(&frames).as_slice(), end), (&expected[..], UnwindEnd::Root));
    }
}

#[test]
fn code_without_frame_pointer_or_call_frame_information() {
    let mut stack = [0; 8];
    (stack[0], stack[4]) = (code("bare_after", 0), code("_start", 9));
    let (frames, end, _) = unwind(code("leaf", 0), STACK, 0x77, &stack);
    let found: Vec<_> = frames.iter().map(|frame| frame.found).collect();
    assert_eq!(
        (found, end),
        (vec![FrameSource::Leaf, FrameSource::Cfi, FrameSource::Prologue], UnwindEnd::Root)
    );
}

#[test]
fn each_end_has_its_reason() {
    let leaf = code("leaf", 0);
    let cases = [
        (unwind(leaf, STACK, 0, &[]).1, "the rest lies beyond the part of the stack that was read"),
        (unwind(leaf, STACK, 0, &[7]).1, "the return address 0x7 points to no code"),
        (unwind(leaf, STACK, 0, &[0]).1, "the outermost frame"),
        (unwind(3, STACK, 0, &[9; 8]).1, "no image has the code at 0x3"),
    ];
    for (end, said) in cases {
        assert_eq!(end.to_string(), said);
    }
}

#[test]
fn a_recursion_ends_at_the_limit() {
    let stack: Vec<u64> = std::iter::repeat_n([code("bare_after", 0), 0, 0, 0], 600).flatten().collect();
    let (frames, end, _) = unwind(code("leaf", 0), STACK, 0, &stack);
    assert_eq!((frames.len(), end), (MAX_FRAMES, UnwindEnd::Depth));
}

#[test]
fn interrupts_that_go_in_circles_end() {
    let mut stack = interrupted("fatal_after");
    // Interrupted in `leaf` at the very same place.
    (stack[4], stack[7]) = (code("leaf", 0), STACK);
    let (frames, end, _) = unwind(code("leaf", 0), STACK, 0, &stack);
    assert_eq!(end, UnwindEnd::NotRising);
    assert!(frames.len() < 32, "{}", frames.len());
}

/// Words that lead somewhere: into code, into the stack, to themselves, to interrupt frames.
fn word() -> impl Strategy<Value = u64> {
    let named =
        prop::sample::select(vec!["leaf", "variable", "stub_after", "fatal_after", "bare_after", "_start"]);
    prop_oneof![
        4 => (named, 0u64..24).prop_map(|(name, offset)| code(name, offset)),
        3 => (0u64..128).prop_map(|index| STACK + 8 * index),
        1 => Just(0u64),
        1 => prop::sample::select(vec![8u64, 0x10, 0x202, 0x246]),
        1 => any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4_000)) })]

    #[test]
    fn any_stack_ends(
        rip in word(), rsp in word(), rbp in word(),
        stack in prop::collection::vec(word(), 0..128),
    ) {
        let (frames, end, reads) = unwind(rip, rsp, rbp, &stack);
        prop_assert!((1..=MAX_FRAMES).contains(&frames.len()));
        prop_assert_eq!(frames[0].found, FrameSource::Leaf);
        prop_assert!(reads < 100_000, "{} reads for {} frames", reads, frames.len());
        prop_assert!(!end.to_string().is_empty());
    }
}
