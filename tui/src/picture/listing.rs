//! A function's source and machine code, with what was sampled in each line.

/// A function, by lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The function.
    pub function: String,
    /// Samples in the function itself within the span.
    pub samples: u64,
    /// Its source file, or why that can't be shown; lines follow in [`Listing::source`].
    pub file: Result<String, String>,
    /// The source from the function's first line to its last, or a little more; empty where the file is not there.
    pub source: Vec<SourceLine>,
    /// Instructions in rising order; empty where neither image nor memory has them.
    pub instructions: Vec<InstructionLine>,
    /// Why there are none.
    pub no_instructions: Option<String>,
}

/// A line of a source file.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceLine {
    /// From 1.
    pub number: u32,
    /// Its text, without its end, tabs as spaces.
    pub text: String,
    /// Samples in it.
    pub samples: u64,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct InstructionLine {
    /// Where it lies.
    pub address: u64,
    /// It in Intel's syntax.
    pub text: String,
    /// The source line that it belongs to, and its file's last part.
    pub line: Option<(String, u32)>,
    /// Samples at it.
    pub samples: u64,
}
