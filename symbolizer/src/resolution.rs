//! The answer for an address: a symbol, or a reason why there is none.

use std::fmt;
use std::sync::Arc;

/// One function of an address. Several belong to one address where the compiler inlined.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function's readable name.
    pub function: Arc<str>,
    /// The source file.
    pub file: Option<Arc<str>>,
    /// The line in `file`, from 1: where execution is, or in an outer frame where the inlined call is.
    pub line: Option<u32>,
    /// Whether the function was inlined into the next outer frame.
    pub inlined: bool,
}

/// Where the names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Debug information.
    Dwarf,
    /// The symbol table: no inlined frames. There is a file and line only where debug information knows those but not
    /// the function.
    SymbolTable,
}

/// Why an address has no name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is no address of the image.
    OutsideImage,
    /// It lies in the image, but not where code is.
    NotExecutable {
        /// The section that it lies in.
        section: Option<Arc<str>>,
    },
    /// The image was stripped of all names.
    NoSymbols {
        /// The section that it lies in.
        section: Option<Arc<str>>,
    },
    /// No symbol covers it: padding between functions, or code whose author gave it no symbol.
    Gap {
        /// The section that it lies in.
        section: Option<Arc<str>>,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, section) = match self {
            Self::OutsideImage => ("outside the image", &None),
            Self::NotExecutable { section } => ("not code", section),
            Self::NoSymbols { section } => ("image has no symbols", section),
            Self::Gap { section } => ("no symbol covers it", section),
        };
        match section {
            Some(section) => write!(f, "[unknown: {why}, in {section}]"),
            None => write!(f, "[unknown: {why}]"),
        }
    }
}

/// What an address is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Code with a name.
    Symbol {
        /// The functions, innermost first; the last one is not inlined. Never empty.
        frames: Arc<[Frame]>,
        /// Where they come from.
        source: Source,
    },
    /// Something without a name.
    Unknown(Reason),
}

impl Resolution {
    /// The functions, innermost first; none where the address is unknown.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        match self {
            Self::Symbol { frames, .. } => frames,
            Self::Unknown(_) => &[],
        }
    }
}

impl fmt::Display for Resolution {
    /// The innermost function, or the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol { frames, .. } => f.write_str(frames.first().map_or("", |frame| &frame.function)),
            Self::Unknown(reason) => reason.fmt(f),
        }
    }
}
