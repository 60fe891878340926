//! Folded stacks as input: what [`folded`](crate::folded) writes, and the `stackcollapse-*` programs of others.
//!
//! A line is frames from the root to the leaf with `;` between them, a blank, and a count. Lines that are none are passed over
//! and counted, because such files are often put together by hand; a file without a single stack is refused.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Read};

use crate::frame::{Found, Frame, plain};
use crate::profile::{Amount, FrameId, Owner, Profile, ProfileBuilder};

/// What one file may take: about half a gigabyte of memory at most.
const MAX_LINE: usize = 1 << 20;
const MAX_DEPTH: usize = 4096;
const MAX_NODES: usize = 8 << 20;
const MAX_NAME_BYTES: usize = 128 << 20;

const INLINED: &str = " (inlined)";
const NO_BREAK_SPACE: char = '\u{a0}';
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What folded text came to.
#[derive(Debug, Clone)]
pub struct FoldedProfile {
    /// The counts as samples. Time, threads, vCPUs and source lines are not in such text.
    pub profile: Profile,
    /// How many lines were passed over.
    pub skipped: u64,
    /// The first of them.
    pub first_skipped: Option<BadLine>,
}

/// A line that is no stack with a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFault {
    /// It does not end in a blank and a whole number.
    NoCount,
    /// Nothing comes before the count.
    NoStack,
    /// It ends in two numbers.
    TwoCounts,
    /// It is longer than a megabyte.
    TooLong,
    /// It has more than 4096 frames.
    TooDeep,
}

impl fmt::Display for BadLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            LineFault::NoCount => "does not end in a blank and a whole number",
            LineFault::NoStack => "has a count but no stack",
            LineFault::TwoCounts => "has two counts, as text of a differential profile has",
            LineFault::TooLong => "is longer than 1 MiB",
            LineFault::TooDeep => "has more than 4096 frames",
        };
        write!(out, "line {} {what}", self.line)
    }
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldedError {
    /// No line is a stack.
    #[error(
        "no folded stacks: {}; a line is `main;serve;parse 12`",
        .0.map_or_else(|| "the text is empty".to_owned(), |bad| bad.to_string())
    )]
    NoStacks(Option<BadLine>),
    /// The profile would not fit into the memory that one may take.
    #[error("too many different stacks or names for one profile, from line {line} on; merge rare ones first")]
    TooLarge {
        /// The first line that does not fit.
        line: u64,
    },
    /// The text cannot be read.
    #[error("cannot read the folded stacks: {0}")]
    Read(#[from] io::Error),
}

/// Reads folded stacks to the end. Bytes that are no UTF-8 become U+FFFD; `\r\n` ends a line, too; empty lines and those
/// that start with `# ` say nothing; frames that end in ` (inlined)` or `_[i]` are inlined functions.
///
/// # Errors
///
/// Where there is no stack, where there are too many, or what `input` reports.
pub fn read_folded(mut input: impl BufRead) -> Result<FoldedProfile, FoldedError> {
    let mut reader = Reader { nodes_left: MAX_NODES, names_left: MAX_NAME_BYTES, ..Reader::default() };
    // Whoever asks for the name of thread 0 learns that threads were not told apart.
    reader.builder.thread(0, "all threads");
    let (mut skipped, mut first_skipped) = (0u64, None);
    let mut bytes = Vec::new();
    for line in 1.. {
        let taken = match next_line(&mut input, &mut bytes)? {
            Next::End => break,
            Next::TooLong => Err(LineFault::TooLong),
            Next::Line => match parse(text(&bytes, line).as_ref()) {
                Ok(None) => Ok(()),
                Ok(Some((stack, count))) => {
                    reader.add(stack, count).map_err(|Full| FoldedError::TooLarge { line })?;
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
        };
        if let Err(fault) = taken {
            skipped += 1;
            first_skipped.get_or_insert(BadLine { line, fault });
        }
    }
    let profile = reader.builder.finish();
    if profile.leaves().is_empty() {
        return Err(FoldedError::NoStacks(first_skipped));
    }
    Ok(FoldedProfile { profile, skipped, first_skipped })
}

enum Next {
    Line,
    TooLong,
    End,
}

/// Reads a line into `bytes`; of one that is too long no more than the limit is held.
fn next_line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Next> {
    bytes.clear();
    let length = input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', bytes)?;
    if length == 0 {
        return Ok(Next::End);
    }
    if length <= MAX_LINE || bytes.ends_with(b"\n") {
        return Ok(Next::Line);
    }
    input.skip_until(b'\n')?;
    Ok(Next::TooLong)
}

/// The line's text, of the first one without a byte order mark.
fn text(bytes: &[u8], line: u64) -> Cow<'_, str> {
    let mut mark = [0; 4];
    let mark: &[u8] = if line == 1 { BYTE_ORDER_MARK.encode_utf8(&mut mark).as_bytes() } else { b"" };
    String::from_utf8_lossy(bytes.strip_prefix(mark).unwrap_or(bytes))
}

/// A stack and its count; `None` where the line says nothing.
fn parse(line: &str) -> Result<Option<(&str, u64)>, LineFault> {
    let line = line.trim_end_matches(|c| is_blank(c) || matches!(c, '\r' | '\n'));
    if line.is_empty() || line == "#" || line.starts_with("# ") {
        return Ok(None);
    }
    let Some((stack, count)) = line.rsplit_once(is_blank) else {
        let is_count = line.parse::<u64>().is_ok();
        return Err(if is_count { LineFault::NoStack } else { LineFault::NoCount });
    };
    let count = count.parse::<u64>().map_err(|_| LineFault::NoCount)?;
    let stack = stack.trim_matches(is_blank);
    if stack.is_empty() {
        return Err(LineFault::NoStack);
    }
    // As flamegraph.pl has it, and the writer: `+1`, `.5` and `inf` are numbers to Rust, and words of a name here.
    let is_count = |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok();
    if stack.rsplit_once(is_blank).is_some_and(|(_, word)| is_count(word)) {
        return Err(LineFault::TwoCounts);
    }
    if stack.split(';').nth(MAX_DEPTH).is_some() {
        return Err(LineFault::TooDeep);
    }
    Ok((count > 0).then_some((stack, count)))
}

/// A no-break space is part of a name: see [`folded`](crate::folded).
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

struct Full;

#[derive(Default)]
struct Reader {
    builder: ProfileBuilder,
    /// From the text between two `;` to the frame.
    known: HashMap<Box<str>, FrameId>,
    path: Vec<FrameId>,
    nodes_left: usize,
    names_left: usize,
}

impl Reader {
    fn add(&mut self, stack: &str, count: u64) -> Result<(), Full> {
        self.path.clear();
        for text in stack.split(';') {
            let id = match self.known.get(text) {
                Some(id) => *id,
                None => {
                    let bytes = text.len() + size_of::<FrameId>();
                    self.names_left = self.names_left.checked_sub(bytes).ok_or(Full)?;
                    let id = self.builder.frame(frame(&name(text)));
                    self.known.insert(text.into(), id);
                    id
                }
            };
            self.path.push(id);
        }
        let before = self.builder.node_count();
        let owner = Owner { thread: 0, vcpu: 0 };
        self.builder.add(self.path.iter().copied(), owner, Amount { samples: count, weight: 0 });
        let new = self.builder.node_count() - before;
        self.nodes_left = self.nodes_left.checked_sub(new).ok_or(Full)?;
        Ok(())
    }
}

/// The name without what [`folded`](crate::folded) changes in names that end in a number or start like a comment.
fn name(text: &str) -> String {
    // Control characters become spaces in any profile: here before marks are looked for, not after.
    // A byte order mark at the start of a name would be the file's once the name comes first in it.
    let mut name = plain(text).trim_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK).to_owned();
    // The writer changes the last blank, so what it changed comes after any that is left.
    let after_blanks = name.rfind(' ').map_or(0, |at| at + 1);
    let spaces = name[after_blanks..].rmatch_indices(NO_BREAK_SPACE);
    let mut spaces = spaces.map(|(at, space)| (after_blanks + at, space.len()));
    let is_before_number =
        |(at, length): &(usize, usize)| name[at + length..].starts_with(|next: char| next.is_ascii_digit());
    if let Some((at, length)) = spaces.find(is_before_number) {
        name.replace_range(at..at + length, " ");
    }
    if name.strip_prefix('#').is_some_and(|rest| rest.starts_with(NO_BREAK_SPACE)) {
        name.replace_range(1..1 + NO_BREAK_SPACE.len_utf8(), " ");
    }
    name.truncate(name.trim_end().len());
    name
}

fn frame(name: &str) -> Frame<'_> {
    let base = |name| Frame { found: Found::Unknown, ..Frame::function(name) };
    match name.strip_suffix(INLINED).or_else(|| name.strip_suffix("_[i]")) {
        Some(inner) if !inner.is_empty() => base(inner.trim_end()).inlined(),
        _ if name.is_empty() => Frame::unknown("[no name]"),
        _ if name.starts_with("[unknown") || name == "[no name]" => Frame::unknown(name),
        _ => base(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Measure;

    fn again(text: &str) -> String {
        let mut out = Vec::new();
        let read = read_folded(text.as_bytes()).unwrap();
        crate::folded(&read.profile, Measure::Samples, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_of_others_is_read() {
        let text = "\u{feff}# made by hand\n\n# more\r\nmain;serve thing;parse(int, char) 12\r\n  main;serve thing\t3  \nx_[i] 1";
        let read = read_folded(text.as_bytes()).unwrap();
        assert_eq!((read.skipped, read.profile.total().samples), (0, 16));
        let again = again(text);
        assert_eq!(again, "main;serve thing 3\nmain;serve thing;parse(int, char) 12\nx (inlined) 1\n");
    }

    #[test]
    fn bad_lines_are_named_by_number_and_passed_over() {
        let long = "x".repeat(MAX_LINE + 10);
        let deep = "a;".repeat(MAX_DEPTH);
        let lines: [(&str, LineFault); 8] = [
            ("main;serve", LineFault::NoCount),
            ("main;serve x", LineFault::NoCount),
            ("main;serve -1", LineFault::NoCount),
            ("main;serve 1.5", LineFault::NoCount),
            ("12", LineFault::NoStack),
            ("main;serve 3 4", LineFault::TwoCounts),
            (&format!("{long} 1"), LineFault::TooLong),
            (&format!("{deep}b 1"), LineFault::TooDeep),
        ];
        for (line, fault) in lines {
            let read = read_folded(format!("a 1\n{line}\nb 2\n").as_bytes()).unwrap();
            assert_eq!(
                (read.skipped, read.first_skipped),
                (1, Some(BadLine { line: 2, fault })),
                "{fault:?}"
            );
            assert_eq!(read.profile.total().samples, 3, "{fault:?}");
            let alone = read_folded(line.as_bytes());
            assert!(
                matches!(alone, Err(FoldedError::NoStacks(Some(bad))) if bad.fault == fault),
                "{fault:?}"
            );
        }
        let empty = read_folded(&b"# nothing\n"[..]).unwrap_err();
        assert!(empty.to_string().contains("empty"), "{empty}");
    }

    #[test]
    fn what_the_writer_changes_is_changed_back() {
        assert_eq!(again("f\0(inlined) 1\n"), "f (inlined) 1\n");
        for text in [
            "#\u{a0} 2\n",
            "\u{feff}\u{a0} \u{a0} 2\n",
            "a 1b\u{a0}3c\u{a0}d 2\n",
            "a\0\0+1 2\n",
            "worker inf 2\n",
            "worker .5;b -1 2\n",
        ] {
            let once = again(text);
            assert_eq!(again(&once), once);
        }
        let text = "worker\u{a0}7;#\u{a0}1 2\n[unknown: no image];f (inlined) 3\n";
        let read = read_folded(text.as_bytes()).unwrap();
        let names: Vec<String> = read
            .profile
            .leaves()
            .iter()
            .flat_map(|leaf| read.profile.stack(leaf.stack))
            .map(|id| read.profile.frame(id).name.to_owned())
            .collect();
        assert_eq!(names, ["# 1", "worker 7", "f", "[unknown: no image]"]);
        assert_eq!(again(text), "[unknown: no image];f (inlined) 3\nworker\u{a0}7;#\u{a0}1 2\n");
    }
}
