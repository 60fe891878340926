//! What can be wrong with an image.

use std::io;
use std::path::PathBuf;

/// The first bytes of a file, as a hexadecimal dump has them.
fn beginning(start: &[u8]) -> String {
    match start {
        [] => "is empty".into(),
        bytes => bytes.iter().fold("starts with".into(), |text, byte| format!("{text} {byte:02x}")),
    }
}

/// Why a file is no usable image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Not an ELF file at all.
    #[error(
        "not an ELF file: it {}; give the kernel's ELF file, not a raw or compressed image",
        beginning(start)
    )]
    NotElf {
        /// The first bytes of the file, at most four.
        start: Vec<u8>,
    },
    /// An ELF file of a kind that is not handled.
    #[error(
        "{found} is not supported; images are little-endian 64-bit x86-64 executables (ET_EXEC or ET_DYN)"
    )]
    Unsupported {
        /// What it is instead.
        found: String,
    },
    /// A table of the file lies outside it or contradicts itself.
    #[error("damaged ELF file: {what}; it may be truncated, copy it again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A compressed section is larger than a section of this file may be.
    #[error(
        "section {section} claims to hold {claimed} bytes uncompressed, more than the {limit} that a file of this size may hold"
    )]
    TooLarge {
        /// The section's name.
        section: String,
        /// Its size, as the file says.
        claimed: u64,
        /// The limit.
        limit: u64,
    },
    /// The file could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl ImageError {
    pub(crate) fn damaged(what: impl ToString) -> Self {
        Self::Damaged { what: what.to_string() }
    }
}
