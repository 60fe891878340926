//! A mistake in an expression, and where it is.

use std::fmt;

/// Why a text is no expression: what was expected, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// All of the text.
    pub(super) text: String,
    /// The byte at which something else was expected.
    pub(super) at: usize,
    /// What was expected, or what is wrong with what is there.
    pub(super) what: String,
}

impl FilterError {
    pub(super) fn new(text: &str, at: usize, what: impl Into<String>) -> Self {
        // What is not understood is quoted in it: a word may hold anything.
        Self { text: text.into(), at, what: what.into().replace(char::is_control, " ") }
    }

    /// The column, from 1 on, in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        1 + self.text.char_indices().take_while(|(at, _)| *at < self.at).count()
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column();
        writeln!(f, "the filter is wrong at column {column}: {}", self.what)?;
        // What would move the cursor would make the caret point elsewhere.
        writeln!(f, "  {}", self.text.replace(char::is_control, " "))?;
        write!(f, "  {:>column$}", '^')
    }
}

impl std::error::Error for FilterError {}
