//! One level of a stack: what it is called, where its source is, and how it came to be known.

use std::borrow::Cow;

use crate::image::ImageId;

/// What a frame stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Code with a name.
    Function,
    /// The thread at the root of its stacks; not code, so not listed among the functions.
    Thread,
    /// Code without a name; the frame's name is the reason.
    Unknown,
    /// Not code: something that is said of the stack below it, by the frames above it, too. What was measured up there belongs to the function
    /// below the first note.
    Note,
}

/// How a frame was found, from the most to the least certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Found {
    /// The instruction pointer of the sample itself.
    Leaf,
    /// A compiler's record of code inlined at the address of the frame below.
    Inline,
    /// The walk along frame pointers.
    FramePointer,
    /// Call-frame information (`.eh_frame`, `.debug_frame`).
    Cfi,
    /// The instructions around the address, where a function sets up or leaves its frame.
    Prologue,
    /// A word on the stack that looks like a return address.
    Scan,
    /// Not told.
    Unknown,
}

/// One level of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The function's demangled name, the thread's name, or the reason why there is none.
    pub name: &'a str,
    /// The source file.
    pub file: Option<&'a str>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
    /// Whether the compiler inlined this function into the frame that calls it.
    pub inlined: bool,
    /// How the frame was found.
    pub found: Found,
    /// What the frame stands for.
    pub kind: Kind,
    /// The image that its code belongs to.
    pub image: Option<ImageId>,
    /// The guest-virtual address that was looked up for it: the sampled instruction, or the last byte of the call.
    pub address: Option<u64>,
}

impl<'a> Frame<'a> {
    /// A function known by its name only.
    #[must_use]
    pub fn function(name: &'a str) -> Self {
        Self {
            name,
            file: None,
            line: None,
            inlined: false,
            found: Found::FramePointer,
            kind: Kind::Function,
            image: None,
            address: None,
        }
    }

    /// The frame at the root of a thread's stacks.
    #[must_use]
    pub fn thread(name: &'a str) -> Self {
        Self { kind: Kind::Thread, found: Found::Unknown, ..Self::function(name) }
    }

    /// An address without a name; `reason` is what is shown, for example `[unknown: outside the image]`.
    #[must_use]
    pub fn unknown(reason: &'a str) -> Self {
        Self { kind: Kind::Unknown, ..Self::function(reason) }
    }

    /// A remark in a stack, such as who ended a wait.
    #[must_use]
    pub fn note(text: &'a str) -> Self {
        Self { kind: Kind::Note, found: Found::Unknown, ..Self::function(text) }
    }

    /// The same frame, marked as inlined into its caller.
    #[must_use]
    pub fn inlined(self) -> Self {
        Self { inlined: true, found: Found::Inline, ..self }
    }

    /// The same frame with its place in the source.
    #[must_use]
    pub fn at(self, file: &'a str, line: u32) -> Self {
        Self { file: Some(file), line: Some(line), ..self }
    }

    /// The same frame with its place in the guest.
    #[must_use]
    pub fn located(self, image: Option<ImageId>, address: u64) -> Self {
        Self { image, address: Some(address), ..self }
    }
}

/// The text with spaces for control characters, which a terminal would obey, and for what XML forbids.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let refused = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    if text.contains(refused) { text.replace(refused, " ").into() } else { text.into() }
}
