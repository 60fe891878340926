//! How an answer is written.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use uniprof_symbolizer::{Frame, Resolution};
use uniprof_wire::address::GuestVirtual;

use crate::output;

/// The address, its function and place, and below them those that it is inlined into.
pub(crate) fn text(out: &mut impl Write, address: GuestVirtual, answer: &Resolution) -> io::Result<()> {
    match answer {
        Resolution::Symbol { frames, .. } => writeln!(out, "{:#x}  {}", address.0, on_one_line(frames)),
        Resolution::Unknown(reason) => writeln!(out, "{:#x}  {reason}", address.0),
    }
}

/// `inner (file:line) inlined in outer (file:line)`
pub(crate) fn on_one_line(frames: &[Frame]) -> String {
    let mut line = String::new();
    for (index, frame) in frames.iter().enumerate() {
        if index > 0 {
            line.push_str(" inlined in ");
        }
        line.push_str(&frame.function);
        // Writing to a string does not fail.
        let _ = match (&frame.file, frame.line) {
            (Some(file), Some(number)) => write!(line, " ({file}:{number})"),
            (Some(file), None) => write!(line, " ({file})"),
            (None, _) => Ok(()),
        };
    }
    line.replace(char::is_control, " ")
}

/// As GNU `addr2line -f -i -C -a`.
pub(crate) fn addr2line(out: &mut impl Write, address: GuestVirtual, answer: &Resolution) -> io::Result<()> {
    writeln!(out, "0x{:016x}", address.0)?;
    let frames = answer.frames();
    if frames.is_empty() {
        return writeln!(out, "??\n??:0");
    }
    for frame in frames {
        writeln!(out, "{}", frame.function)?;
        match (&frame.file, frame.line) {
            (Some(file), Some(line)) => writeln!(out, "{file}:{line}")?,
            (Some(file), None) => writeln!(out, "{file}:?")?,
            (None, _) => writeln!(out, "??:?")?,
        }
    }
    Ok(())
}

/// The address that a line starts with, as GNU addr2line reads it: 0 where it starts with no digit.
pub(crate) fn leading_digits(line: &str) -> GuestVirtual {
    let word = line.trim_start();
    let word = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
    let digits = word.chars().map_while(|c| c.to_digit(16)).map(u64::from);
    GuestVirtual(digits.fold(0, |value, digit| value << 4 | digit))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    address: String,
    frames: Vec<Row<'a>>,
    /// Why there is no name.
    unknown: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    inlined: bool,
}

/// A document on a line.
pub(crate) fn json(out: &mut impl Write, address: GuestVirtual, answer: &Resolution) -> io::Result<()> {
    let rows = answer.frames().iter().map(|frame| Row {
        function: &frame.function,
        file: frame.file.as_deref(),
        line: frame.line,
        inlined: frame.inlined,
    });
    let document = Document {
        schema: "uniprof.symbolize/1",
        address: format!("{:#x}", address.0),
        frames: rows.collect(),
        unknown: match answer {
            Resolution::Unknown(reason) => Some(reason.to_string()),
            Resolution::Symbol { .. } => None,
        },
    };
    output::json_line(out, &document)
}
