//! Debug information, unit by unit: which functions and lines the addresses of a compilation unit belong to.
//!
//! The same code serves a single lookup, with a reader that fetches pages of the file as it goes ([`lazy`]), and the
//! table of a whole image, with all sections in memory.

mod abbreviations;
mod budget;
mod files;
mod index;
mod lazy;
mod lines;
mod names;
mod tree;
mod unit;

pub(crate) use budget::{Budget, Fault, Purse};
pub(crate) use files::{Files, Sections};
pub(crate) use index::{UnitIndex, UnitRange};
pub(crate) use lazy::LazyReader;
pub(crate) use unit::{NONE, Node, Row, Sink, UnitReader, UnitRows};
