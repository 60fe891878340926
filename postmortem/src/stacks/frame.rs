//! A frame of a stack with its names.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use uniprof_symbolizer::{AddressKind, FrameSource, UnwoundFrame};
use uniprof_wire::address::GuestVirtual;

use crate::program::Program;

/// One function of a stack. Several that were inlined into each other share an address.
#[derive(Clone, Debug, PartialEq)]
pub struct StackFrame {
    /// Where its code continues.
    pub address: GuestVirtual,
    /// [`AddressKind::Instruction`] of the innermost frame and of those that an interrupt or an exception came into.
    pub kind: AddressKind,
    /// How far it can be trusted.
    pub found: FrameSource,
    /// Its place among the frames of the machine, from 0: inlined functions share it, as they share registers.
    pub depth: usize,
    /// The function.
    pub function: Option<Arc<str>>,
    /// Why there is no function, in words.
    pub unknown: Option<String>,
    /// The source file.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// Whether it was inlined into the next frame.
    pub inlined: bool,
}

impl StackFrame {
    /// The function's name, or what stands for it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.function.as_deref().or(self.unknown.as_deref()).unwrap_or("[unknown]")
    }

    /// Whether an interrupt or an exception came into this code: what is further in is its handler.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.depth > 0 && self.kind == AddressKind::Instruction
    }

    /// `file:line`, as far as they are known.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        Some(self.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")))
    }

    /// A word for how it was found, for JSON.
    #[must_use]
    pub fn trust(&self) -> &'static str {
        if self.inlined {
            return "inline";
        }
        match self.found {
            FrameSource::Leaf => "leaf",
            FrameSource::Cfi => "cfi",
            FrameSource::Prologue => "instructions",
            FrameSource::FramePointer => "frame-pointer",
            FrameSource::Scan => "scan",
            _ => "other",
        }
    }
}

impl Serialize for StackFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            address: String,
            function: &'a str,
            file: Option<&'a str>,
            line: Option<u32>,
            inlined: bool,
            interrupted: bool,
            found: &'a str,
        }
        let document = Document {
            address: format!("{:#x}", self.address),
            function: self.name(),
            file: self.file.as_deref(),
            line: self.line,
            inlined: self.inlined,
            interrupted: self.is_interrupted(),
            found: self.trust(),
        };
        document.serialize(serializer)
    }
}

/// Adds a frame and what was inlined there.
pub(crate) fn push(program: &mut Program, depth: usize, frame: &UnwoundFrame, into: &mut Vec<StackFrame>) {
    let blank = StackFrame {
        address: frame.address,
        kind: frame.kind,
        found: frame.found,
        depth,
        function: None,
        unknown: None,
        file: None,
        line: None,
        inlined: false,
    };
    let resolution = program.resolve(frame.address, frame.kind);
    let functions = resolution.as_ref().map(|resolution| resolution.frames()).unwrap_or_default();
    if functions.is_empty() {
        let why =
            resolution.map_or_else(|| "[unknown: no image]".into(), |resolution| resolution.to_string());
        into.push(StackFrame { unknown: Some(why), ..blank });
        return;
    }
    into.extend(functions.iter().map(|function| StackFrame {
        function: Some(Arc::clone(&function.function)),
        file: function.file.clone(),
        line: function.line,
        inlined: function.inlined,
        ..blank.clone()
    }));
}
