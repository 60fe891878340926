#![forbid(unsafe_code)]
//! ELF images of unikernels: identity, load bias, and a name or a reason for every address.
//!
//! - [`Image`]: what an ELF file contains and where it lies. Untrusted: any bytes give an image or an [`ImageError`].
//! - [`check_identity`]: whether the guest runs this very image, by build-id or by comparing its text.
//! - [`Symbolizer`]: an address becomes functions with file and line, inlined ones included, or a [`Reason`].
//! - [`LeafRules`]: the caller that a walk along frame pointers misses when it starts in a function without a frame.
//! - [`Unwinder`]: the frames of a stack from registers and memory, with or without frame pointers.
//! - [`Image::wanted`], [`Image::attach`]: debug information that lies in other files; [`Search`] says where they may be,
//!   and [`complete`] opens them.
//! - [`types`]: types, variables and where they lie, for whoever looks at values.
//! - [`slim`]: a small file that names addresses as the image does, to travel with a recording.
//!
//! It reads no guest (callers hand in a closure), draws nothing, and opens no files but in `loader.rs` ([`load`],
//! [`complete`]). It asks no server.
//!
//! ```
//! use std::sync::Arc;
//! use uniprof_symbolizer::{AddressKind, LoadBias, Resolution, Symbolizer, load};
//! use uniprof_wire::address::GuestVirtual;
//!
//! let image = Arc::new(load(std::env::current_exe()?)?);
//! let link = image.symbol("main").expect("a symbol of this program").address;
//! // This program was not loaded by a guest; pretend that it was, 64 KiB above its link address.
//! let bias = LoadBias::new(0x10000);
//! let mut symbolizer = Symbolizer::new(image, bias);
//!
//! let known = symbolizer.resolve(bias.to_guest(link), AddressKind::Instruction);
//! assert_eq!(known.to_string(), "main");
//!
//! let unknown = symbolizer.resolve(GuestVirtual(0x42), AddressKind::Instruction);
//! assert_eq!(unknown.to_string(), "[unknown: outside the image]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod background;
mod bias;
mod build_id;
mod cache;
mod cfi;
mod code;
mod debug;
mod demangle;
mod dwarf;
mod error;
mod find;
mod identity;
mod image;
mod leaf;
mod links;
mod loader;
mod lookup;
mod mini;
mod named;
mod ocaml;
mod parts;
mod resolution;
mod section;
mod slim;
mod split;
mod store;
mod symbolizer;
mod symbols;
mod table;
mod text;
pub mod types;
mod unwind;

pub use address::{AddressKind, LoadBias};
pub use background::Tables;
pub use bias::{TextMatch, TextSamples};
pub use build_id::{BuildId, BuildIdError};
pub use cache::Cache;
pub use demangle::demangle;
pub use error::ImageError;
pub use find::{SYSTEM_DEBUG_DIR, Search};
pub use identity::{Identity, IdentityError, Match, Mismatch, TextHash, check_identity};
pub use image::{DebugInfo, Image, SectionBytes};
pub use leaf::{Leaf, LeafReason, LeafRule, LeafRules, Repair};
pub use links::{AltLink, DebugLink, SplitUnit};
pub use loader::{Tried, complete, elf_files, load, load_debug_file};
pub use named::NamedSymbol;
pub use parts::{DebugFile, Misfit, Part, Proof, Wanted};
pub use resolution::{Frame, Reason, Resolution, Source};
pub use section::Segment;
pub use slim::{slim, slim_image};
pub use store::ReadAt;
pub use symbolizer::{Symbolizer, Tally};
pub use symbols::Symbol;
pub use table::{Answer, FrameRef, Frames, Table, TableError};
pub use text::{Mention, bare_address, mentions};
pub use unwind::{
    DetailedFrame, FrameSource, MAX_FRAMES, Missing, RegisterFile, Registers, UnwindEnd, Unwinder,
    UnwoundFrame,
};
