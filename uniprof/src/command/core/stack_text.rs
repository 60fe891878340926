//! A stack as text: one line a frame.

use std::io::{self, Write};

use uniprof_postmortem::stacks::{Stack, StackFrame};

use super::fit;
use crate::output;

/// Fewer characters tell nothing of a function.
const LEAST_NAME: usize = 24;

/// Functions that a recursion goes through at most, for it to be seen as one.
const MOST_IN_TURN: usize = 16;
/// Rounds of a recursion that are shown before those that are left out; one more is shown behind them.
const ROUNDS: usize = 3;

/// Writes frames, the innermost first. Of a recursion the first rounds and the last are shown, unless `all` are wanted.
pub(super) fn write(out: &mut impl Write, frames: &[StackFrame], indent: &str, all: bool) -> io::Result<()> {
    let lines = fitted(frames, indent, fit::width());
    let items = if all { (0..frames.len()).map(Item::Frame).collect() } else { folded(frames) };
    for item in items {
        match item {
            Item::Frame(index) => writeln!(out, "{}", lines[index])?,
            Item::Recursion(text) => writeln!(out, "{indent}{text}")?,
        }
    }
    Ok(())
}

/// A line of a stack.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The frame of this index.
    Frame(usize),
    /// What stands for rounds of a recursion.
    Recursion(String),
}

/// A stack with recursions cut short: a stack that ran over has hundreds of frames, all alike.
pub(super) fn folded(frames: &[StackFrame]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < frames.len() {
        let left = &frames[at..];
        let rounds = |length: usize| {
            let alike =
                left.iter().zip(&left[length..]).take_while(|(one, next)| is_alike(one, next)).count();
            alike / length + 1
        };
        let most = MOST_IN_TURN.min(left.len() / (ROUNDS + 3));
        let Some((length, rounds)) =
            (1..=most).map(|length| (length, rounds(length))).find(|(_, rounds)| *rounds > ROUNDS + 2)
        else {
            items.push(Item::Frame(at));
            at += 1;
            continue;
        };
        let (first, last) = (at + ROUNDS * length, at + (rounds - 1) * length);
        items.extend((at..first).map(Item::Frame));
        let hidden = rounds - 1 - ROUNDS;
        let what = if length == 1 {
            format!("{hidden} more frames like the last one")
        } else {
            format!("{hidden} more rounds of the last {length} lines")
        };
        let (from, to) = (frames[first].depth, frames[last - 1].depth);
        items.push(Item::Recursion(format!("… {what}: #{from} to #{to}")));
        at = last + length;
        items.extend((last..at).map(Item::Frame));
    }
    items
}

/// Whether two frames are the same place in the code.
fn is_alike(one: &StackFrame, other: &StackFrame) -> bool {
    one.address == other.address
        && one.kind == other.kind
        && one.function == other.function
        && one.line == other.line
        && one.inlined == other.inlined
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
        write(&mut out, &[frame, outer, below], "  ", false).unwrap();
        let expected = [
            "      inline            sched::wake  src/sched/run.rs:88\n",
            "  #0  leaf    0x20893a  kv::put  src/sched/run.rs\n",
            "  #1  fp      0x10      [unknown: no image]  <- interrupted here\n",
        ];
        assert_eq!(String::from_utf8(out).unwrap(), expected.concat());
    }

    fn at(depth: usize, address: u64) -> StackFrame {
        StackFrame {
            address: GuestVirtual(address),
            kind: AddressKind::Return,
            found: FrameSource::Cfi,
            depth,
            function: Some(format!("f{address}").into()),
            unknown: None,
            file: None,
            line: None,
            inlined: false,
        }
    }

    #[test]
    fn a_recursion_is_cut_short_and_other_stacks_are_whole() {
        let shown = |addresses: &[u64]| -> Vec<String> {
            let frames: Vec<StackFrame> =
                addresses.iter().enumerate().map(|(depth, address)| at(depth, *address)).collect();
            let line = |item| match item {
                Item::Frame(index) => index.to_string(),
                Item::Recursion(text) => text,
            };
            folded(&frames).into_iter().map(line).collect()
        };
        assert_eq!(shown(&[]), [""; 0]);
        assert_eq!(shown(&[1, 1, 1, 1, 1, 2]), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(
            shown(&[9, 1, 1, 1, 1, 1, 1, 2]),
            ["0", "1", "2", "3", "… 2 more frames like the last one: #4 to #5", "6", "7"]
        );
        let turns: Vec<u64> = std::iter::once(9).chain([1, 2].repeat(6)).chain([1]).collect();
        assert_eq!(
            shown(&turns),
            [
                "0",
                "1",
                "2",
                "3",
                "4",
                "5",
                "6",
                "… 2 more rounds of the last 2 lines: #7 to #10",
                "11",
                "12",
                "13"
            ]
        );
    }
}
