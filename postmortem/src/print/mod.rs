//! The values of a guest's variables: expressions as people know them from Rust, C and gdb, evaluated in the memory of a guest
//! that stands still.
//!
//! Everything that is read may be damaged: lengths are checked before they are followed, and what is shown is bounded by
//! [`Limits`].

mod collections;
mod evaluate;
mod expression;
mod frame;
mod inspect;
mod lookup;
mod operand;
mod render;
mod sequence;
mod token;
mod value;

use uniprof_symbolizer::types::TypesError;

use crate::subject::Subject;

pub use frame::FrameContext;
pub use uniprof_symbolizer::types::VariableKind;
pub use value::{Data, Value, Variable};

use inspect::Inspector;

/// How much of a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Structures within structures.
    pub depth: u32,
    /// Elements of one list, map or array.
    pub elements: usize,
    /// Bytes of one text.
    pub text: usize,
    /// Values altogether.
    pub nodes: usize,
    /// References that are followed one after another.
    pub references: u32,
}

impl Limits {
    /// For one value that somebody asked for.
    pub const FULL: Self = Self { depth: 12, elements: 100, text: 1024, nodes: 8192, references: 3 };
    /// For variables in a report.
    pub const BRIEF: Self = Self { depth: 3, elements: 6, text: 80, nodes: 60, references: 1 };
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// It is none.
    #[error("the expression is not understood at column {}: {what}", at + 1)]
    Syntax {
        /// The byte at which that was noticed.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// Nothing is called so.
    #[error("no variable is called {name:?}{hint}")]
    NoSuchName {
        /// What was asked for.
        name: String,
        /// What to do instead; empty, or begins with a punctuation mark.
        hint: String,
    },
    /// Several are called so.
    #[error("{name:?} can be any of {}{}", candidates.join(", "), if *more > 0 { format!(" and {more} more") } else { String::new() })]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Some of them.
        candidates: Vec<String>,
        /// How many others there are.
        more: usize,
    },
    /// It has no value there.
    #[error("{name} is {why}")]
    Unavailable {
        /// What was asked for.
        name: String,
        /// Why.
        why: String,
    },
    /// What was asked of a value can't be asked of its type, or not of this value.
    #[error("{0}")]
    Type(String),
    /// The guest's memory lacks what is needed.
    #[error("{0}")]
    Memory(String),
    /// There is no frame, and the expression needs one.
    #[error("{name} belongs to a frame; say which thread or vCPU and which frame is meant")]
    NoFrame {
        /// The register.
        name: String,
    },
    /// There are no types.
    #[error("{0}")]
    Types(#[from] TypesError),
    /// There is no image.
    #[error("no image of the guest is known, so neither are its variables; name its ELF file")]
    NoImage,
}

impl PrintError {
    fn syntax(at: usize, what: impl Into<String>) -> Self {
        Self::Syntax { at, what: what.into() }
    }
}

/// Whether a text is an expression, whatever its names may mean.
///
/// # Errors
///
/// [`PrintError::Syntax`] says where it is not understood.
pub fn check(text: &str) -> Result<(), PrintError> {
    expression::parse(text).map(drop)
}

/// The value of an expression, in a frame or without one.
///
/// # Errors
///
/// [`PrintError`] says why there is none.
pub fn evaluate(
    subject: &mut Subject,
    frame: Option<&FrameContext>,
    text: &str,
) -> Result<Value, PrintError> {
    evaluate_within(subject, frame, text, Limits::FULL)
}

/// As [`evaluate`], and shows as much of it as `limits` say.
///
/// # Errors
///
/// [`PrintError`] says why there is none.
pub fn evaluate_within(
    subject: &mut Subject,
    frame: Option<&FrameContext>,
    text: &str,
    limits: Limits,
) -> Result<Value, PrintError> {
    let parsed = expression::parse(text)?;
    let images = subject.program.images().len();
    let home = frame.and_then(|frame| subject.program.place(frame.lookup())).map(|place| place.image);
    let order = home.into_iter().chain((0..images).filter(|image| Some(*image) != home));
    let mut first = None;
    for image in order {
        // Variables of a frame are those of its own image.
        let frame = frame.filter(|_| home == Some(image) || home.is_none());
        let found = Inspector::new(subject, image, limits)
            .and_then(|mut inspector| inspector.expression(&parsed, frame));
        match found {
            Err(
                error @ (PrintError::NoSuchName { .. } | PrintError::Types(_) | PrintError::NoFrame { .. }),
            ) => {
                first.get_or_insert(error);
            }
            found => return found,
        }
    }
    Err(first.unwrap_or(PrintError::NoImage))
}

/// The arguments and variables of a function in a frame, as far as they are in scope where it stands: arguments first, inner
/// blocks last.
///
/// # Errors
///
/// [`PrintError`] where nothing at all is known of them.
pub fn locals(subject: &mut Subject, frame: &FrameContext) -> Result<Vec<Variable>, PrintError> {
    locals_within(subject, frame, Limits::BRIEF)
}

/// As [`locals`], and shows as much of each as `limits` say.
///
/// # Errors
///
/// [`PrintError`] where nothing at all is known of them.
pub fn locals_within(
    subject: &mut Subject,
    frame: &FrameContext,
    limits: Limits,
) -> Result<Vec<Variable>, PrintError> {
    let place = subject.program.place(frame.lookup()).ok_or(PrintError::NoImage)?;
    Inspector::new(subject, place.image, limits)?.locals(frame)
}
