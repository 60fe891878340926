//! Unwinding of stacks that are made up, of real code.

mod common;

use common::Built;
use uniprof_symbolizer::{FrameSource, LoadBias, Registers, UnwindEnd, Unwinder};

const SOURCE: &str = r#"
int seed;
__attribute__((noinline)) int leaf(int x) { volatile int y = x; return y; }
__asm__(".text\n.type middle,@function\nmiddle: .cfi_startproc\n push %rbp\n .cfi_def_cfa_offset 16\n .cfi_offset rbp, -16\n"
    " sub $32, %rsp\n .cfi_def_cfa_offset 48\n xor %ebp, %ebp\n call leaf\n nop\n add $32, %rsp\n .cfi_def_cfa_offset 16\n"
    " pop %rbp\n .cfi_def_cfa_offset 8\n ret\n .cfi_endproc\n.size middle, .-middle");
extern int middle(int);
void _start(void) { __asm__ volatile(".cfi_undefined rip"); seed = middle(seed); for (;;) ; }
"#;

#[test]
fn a_stack_without_frame_pointers() {
    let image = Built::new("a.c", SOURCE, &["-O1", "-fomit-frame-pointer"]).image();
    let bias = LoadBias::new(0x40_0000_0000);
    let mut unwinder = Unwinder::new();
    unwinder.add(&image, bias);
    let symbol = |name| image.symbol(name).expect(name);
    let inside = |name| bias.to_guest(symbol(name).address).0 + symbol(name).size / 2;
    let mut stack = [0; 16];
    (stack[0], stack[6]) = (inside("middle"), inside("_start"));
    let read = |at: u64| stack.get(usize::try_from(at.checked_sub(0x8000)?).ok()? / 8).copied();
    let registers = Registers { rip: inside("leaf"), rsp: 0x8000, rbp: 0x1234, ..Registers::default() };
    let mut frames = Vec::new();
    let end = unwinder.unwind(&registers, read, &mut frames);
    let found: Vec<_> = frames.iter().map(|frame| (frame.address.0, frame.found)).collect();
    let expected = [
        (inside("leaf"), FrameSource::Leaf),
        (inside("middle"), FrameSource::Cfi),
        (inside("_start"), FrameSource::Cfi),
    ];
    assert_eq!((found.as_slice(), end), (&expected[..], UnwindEnd::Root));
}
