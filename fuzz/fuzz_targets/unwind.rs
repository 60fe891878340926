//! Any bytes as an image's call-frame information, and the last of them as registers and stack. Inputs are those of the target
//! `elf`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uniprof_symbolizer::{Image, LoadBias, MAX_FRAMES, Registers, Unwinder};

const REGISTERS: usize = 8;
const STACK: usize = 64;
const STACK_START: u64 = 0x7000_0000;

fuzz_target!(|bytes: &[u8]| {
    let Some(at) = bytes.len().checked_sub((REGISTERS + STACK) * 8) else { return };
    let Ok(image) = Image::parse(bytes) else { return };
    let words: Vec<u64> =
        bytes[at..].as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let code = image.executable_ranges();
    let Some(first) = code.first() else { return };
    let inside = |word: u64| first.start + word % (first.end - first.start).max(1);
    // Words that would point nowhere point into the code, or into the stack: else every stack has one frame.
    let aimed = |word: u64| match word & 3 {
        0 => inside(word >> 2),
        1 => STACK_START + (word >> 2) % (STACK as u64 * 8),
        _ => word,
    };
    let stack: Vec<u64> = words[REGISTERS..].iter().map(|word| aimed(*word)).collect();
    let mut unwinder = Unwinder::new();
    unwinder.add(&image, LoadBias::NONE);
    for start in 0..8 {
        let registers = Registers {
            rip: inside(words[start % REGISTERS].wrapping_mul(start as u64 + 1)),
            rsp: STACK_START + words[1] % 64,
            rbp: aimed(words[2]),
            rbx: aimed(words[3]),
            r12: aimed(words[4]),
            r13: aimed(words[5]),
            r14: aimed(words[6]),
            r15: aimed(words[7]),
        };
        let mut reads = 0;
        let read = |at: u64| {
            reads += 1;
            let offset = at.checked_sub(STACK_START)?;
            if offset % 8 == 0 { stack.get(usize::try_from(offset / 8).ok()?).copied() } else { Some(at) }
        };
        let mut frames = Vec::new();
        let end = unwinder.unwind(&registers, read, &mut frames);
        assert!((1..=MAX_FRAMES).contains(&frames.len()), "{} frames", frames.len());
        assert!(!end.to_string().is_empty());
        // Each frame may be searched for three times, and the walk is made twice at most.
        assert!(reads <= MAX_FRAMES * 2_000, "{reads} reads");
    }
});
