//! A stack as text: one line a frame.

use std::io::{self, Write};

use uniprof_postmortem::stacks::{Stack, StackFrame};

use super::fit;
use crate::output;

/// Fewer characters tell nothing of a function.
const LEAST_NAME: usize = 24;

/// Writes frames, the innermost first.
pub(super) fn write(out: &mut impl Write, frames: &[StackFrame], indent: &str) -> io::Result<()> {
    fitted(frames, indent, fit::width()).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Frames as lines of at most `width` characters: names give way, places don't.
pub(super) fn fitted(frames: &[StackFrame], indent: &str, width: usize) -> Vec<String> {
    let widest = |of: fn(&StackFrame) -> usize| frames.iter().map(of).max().unwrap_or(0);
    let tags = widest(|frame| tag(frame).len());
    let addresses = widest(|frame| format!("{:#x}", frame.address.0).len());
    let numbers = widest(|frame| frame.depth.to_string().len()) + 1;
    let line = |frame: &StackFrame| {
        // Inlined functions share the frame of the one that they were inlined into; that one has the number.
        let number = if frame.inlined { String::new() } else { format!("#{}", frame.depth) };
        let address = if frame.inlined { String::new() } else { format!("{:#x}", frame.address.0) };
        let place = frame.place().map(|place| format!("  {}", short(&place))).unwrap_or_default();
        let interrupted = if frame.is_interrupted() && !frame.inlined { "  <- interrupted here" } else { "" };
        let start = format!("{indent}{number:<numbers$}  {:<tags$}  {address:<addresses$}  ", tag(frame));
        let taken = [&*start, &*place, interrupted].iter().map(|part| part.chars().count()).sum();
        let name = fit::name(frame.name(), width.saturating_sub(taken).max(LEAST_NAME));
        let line = format!("{start}{name}{place}{interrupted}");
        output::printable(line.trim_end())
    };
    frames.iter().map(line).collect()
}

/// Says why a stack ends, unless that is its outermost frame.
pub(super) fn write_end(out: &mut impl Write, stack: &Stack, indent: &str) -> io::Result<()> {
    match (stack.complete, stack.frames.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => writeln!(out, "{indent}no stack: {}", output::printable(&stack.end)),
        (false, false) => writeln!(out, "{indent}ends here: {}", output::printable(&stack.end)),
    }
}

fn tag(frame: &StackFrame) -> &'static str {
    match frame.trust() {
        "frame-pointer" => "fp",
        "instructions" => "insn",
        tag => tag,
    }
}

/// A source file by its last parts: the rest is the same in every line, or somebody's home directory.
pub(super) fn short(place: &str) -> &str {
    const PARTS: usize = 3;
    place.rmatch_indices('/').nth(PARTS - 1).map_or(place, |(at, _)| &place[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use uniprof_symbolizer::{AddressKind, FrameSource};
    use uniprof_wire::address::GuestVirtual;

    #[test]
    fn frames_are_lined_up_and_inlined_ones_have_no_number() {
        let frame = StackFrame {
            address: GuestVirtual(0x20_893a),
            kind: AddressKind::Instruction,
            found: FrameSource::Leaf,
            depth: 0,
            function: Some("sched::wake".into()),
            unknown: None,
            file: Some("/build/sample-kernel/src/sched/run.rs".into()),
            line: Some(88),
            inlined: true,
        };
        let outer =
            StackFrame { function: Some("kv::put".into()), line: None, inlined: false, ..frame.clone() };
        let below = StackFrame {
            depth: 1,
            found: FrameSource::FramePointer,
            address: GuestVirtual(0x10),
            function: None,
            unknown: Some("[unknown: no image]".into()),
            file: None,
            ..outer.clone()
        };
        let mut out = Vec::new();
        write(&mut out, &[frame, outer, below], "  ").unwrap();
        let expected = [
            "      inline            sched::wake  src/sched/run.rs:88\n",
            "  #0  leaf    0x20893a  kv::put  src/sched/run.rs\n",
            "  #1  fp      0x10      [unknown: no image]  <- interrupted here\n",
        ];
        assert_eq!(String::from_utf8(out).unwrap(), expected.concat());
    }
}
