//! Entries of the `uniprof_sites` section: what an event's number means.
//!
//! A site is described where it is used; the linker gathers the descriptions. Nothing in an entry is an address, so the section needs
//! no relocation, and its linker-made bounds (`__start_uniprof_sites`) need no linker script. An event stores
//! its entry's byte offset from the start of the section.
//!
//! ```text
//!  byte 0   MAGIC:16 │ total bytes:16 (a multiple of 8) │ kind:8 │ arguments:8 │ name bytes:16
//!  byte 8   enabled:32 (the guest writes it: 0 or 1) │ line:32
//!  byte 16  slot:32 (the guest writes it: 1 + the number of a histogram, 0 for none) │ 0:32
//!  byte 24  name, file NUL, for each argument its type (a letter, see ArgType) and its name NUL, zero padding
//! ```
//!
//! A call that has a result has it as its last argument, which is named `result`.

mod value;

use crate::record::Class;

pub use value::{ArgType, Bytes, Value, Values, text_words};

/// First two bytes of an entry. Another one than that of wire versions 1 and 2, whose arguments had no types.
pub const MAGIC: u16 = 0x5e18;
/// Bytes before the text.
pub const HEADER_BYTES: usize = 24;
/// Name of the section.
pub const SECTION: &str = "uniprof_sites";
/// Largest section that a host reads.
pub const MAX_SECTION_BYTES: usize = 16 << 20;

/// What a site emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SiteKind {
    /// `event!`
    Event = 1,
    /// `span!`
    Span = 2,
    /// `counter!`
    Counter = 3,
    /// `gauge!`
    Gauge = 4,
    /// `histogram!`
    Histogram = 5,
    /// `call!`
    Call = 6,
}

impl SiteKind {
    /// The kind with that number in an entry.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Event,
            2 => Self::Span,
            3 => Self::Counter,
            4 => Self::Gauge,
            5 => Self::Histogram,
            6 => Self::Call,
            _ => return None,
        })
    }

    /// The class that its records are counted under, and that switches it on.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Event => Class::Event,
            Self::Span => Class::Span,
            Self::Counter | Self::Gauge | Self::Histogram => Class::Counter,
            Self::Call => Class::Call,
        }
    }

    /// A word for people, JSON and the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Span => "span",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Call => "call",
        }
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// Byte offset in the section: the number that records carry.
    pub id: u32,
    /// What it emits.
    pub kind: SiteKind,
    /// Its name.
    pub name: &'a str,
    /// Source file.
    pub file: &'a str,
    /// Source line.
    pub line: u32,
    /// Whether it was switched on when the section was copied.
    pub enabled: bool,
    /// Number of its histogram in the region's table, once the guest has given it one.
    pub slot: Option<u32>,
    /// For each argument its type and its name, followed by a NUL.
    args: &'a str,
}

/// An argument of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteArg<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub ty: ArgType,
}

impl<'a> Site<'a> {
    /// Its arguments; of a call that has a result, that last.
    pub fn args(&self) -> impl Iterator<Item = SiteArg<'a>> + Clone + use<'a> {
        self.args.split_terminator('\0').filter_map(|arg| {
            let mut letters = arg.chars();
            Some(SiteArg { ty: ArgType::from_letter(letters.next()?)?, name: letters.as_str() })
        })
    }

    /// The result, if this is a call that has one.
    #[must_use]
    pub fn result(&self) -> Option<SiteArg<'a>> {
        self.args().last().filter(|arg| self.kind == SiteKind::Call && arg.name == "result")
    }

    /// What the words of a record of this site say, argument by argument. Words that are missing or left over are not shown.
    pub fn values<'w>(
        &self,
        words: &'w [u64],
    ) -> impl Iterator<Item = (SiteArg<'a>, Value<'w>)> + use<'a, 'w> {
        let mut values = Values::new(words);
        self.args().map_while(move |arg| Some((arg, values.next(arg.ty)?)))
    }
}

/// Bytes of an entry whose text is `text` bytes long.
#[must_use]
pub const fn entry_bytes(text: usize) -> usize {
    (HEADER_BYTES + text).next_multiple_of(8)
}

/// First word of an entry.
#[must_use]
pub const fn first_word(kind: SiteKind, total: usize, args: usize, name: usize) -> u64 {
    assert!(total <= u16::MAX as usize && args <= crate::record::MAX_ARGS + 1 && name <= u16::MAX as usize);
    MAGIC as u64 | (total as u64) << 16 | (kind as u64) << 32 | (args as u64) << 40 | (name as u64) << 48
}

/// The well-formed entries of a copy of the section; damaged ones are passed over word by word.
#[must_use]
pub fn sites(section: &[u8]) -> Sites<'_> {
    Sites { section, offset: 0 }
}

/// See [`sites`].
#[derive(Clone, Debug)]
pub struct Sites<'a> {
    section: &'a [u8],
    offset: usize,
}

fn parse(id: u32, bytes: &[u8]) -> Option<(Site<'_>, usize)> {
    let words = bytes.get(..HEADER_BYTES)?.as_chunks::<8>().0;
    let [first, second, third] = [0, 1, 2].map(|i: usize| u64::from_le_bytes(words[i]));
    let total = (first >> 16 & 0xffff) as usize;
    if first as u16 != MAGIC || total < HEADER_BYTES || !total.is_multiple_of(8) {
        return None;
    }
    let kind = SiteKind::from_number((first >> 32) as u8)?;
    let text = core::str::from_utf8(bytes.get(HEADER_BYTES..total)?).ok()?;
    let (name, text) = text.split_at_checked((first >> 48) as usize)?;
    let (file, text) = text.split_once('\0')?;
    let args = (first >> 40) as u8;
    let args_bytes = text.split_inclusive('\0').take(args.into()).map(str::len).sum();
    let site = Site {
        id,
        kind,
        name,
        file,
        line: (second >> 32) as u32,
        enabled: second as u32 != 0,
        slot: (third as u32).checked_sub(1),
        args: &text[..args_bytes],
    };
    Some((site, total))
}

impl<'a> Iterator for Sites<'a> {
    type Item = Site<'a>;

    fn next(&mut self) -> Option<Site<'a>> {
        while let Some(bytes) = self.section.get(self.offset..).filter(|b| b.len() >= HEADER_BYTES) {
            let id = u32::try_from(self.offset).ok()?;
            match parse(id, bytes) {
                Some((site, total)) => {
                    self.offset += total;
                    return Some(site);
                }
                None => self.offset += 8,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn entry(name: &str, args: &[&str]) -> Vec<u8> {
        let mut text = std::format!("{name}main.rs\0");
        args.iter().for_each(|arg| text.extend([arg, "\0"]));
        let total = entry_bytes(text.len());
        let mut bytes = Vec::new();
        bytes.extend(first_word(SiteKind::Event, total, args.len(), name.len()).to_le_bytes());
        bytes.extend((1 | 77u64 << 32).to_le_bytes());
        bytes.extend(4u64.to_le_bytes());
        bytes.extend(text.bytes());
        bytes.resize(total, 0);
        bytes
    }

    #[test]
    fn entries_are_found_after_padding_and_damage() {
        let mut section = entry("kv.get", &["ukey", "isize"]);
        section.extend([0; 16]);
        section.extend([0xff; 8]);
        let second = section.len() as u32;
        section.extend(entry("kv.put", &[]));
        let found: Vec<_> = sites(&section).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name, found[0].file, found[0].line, found[0].id), ("kv.get", "main.rs", 77, 0));
        assert_eq!(found[0].slot, Some(3));
        let args: Vec<_> = found[0].args().map(|arg| (arg.name, arg.ty)).collect();
        assert_eq!(args, [("key", ArgType::Unsigned), ("size", ArgType::Signed)]);
        assert_eq!((found[1].name, found[1].id, found[1].args().count()), ("kv.put", second, 0));
    }

    #[test]
    fn values_are_read_by_their_types() {
        let section = entry("x", &["upid", "speer", "iresult"]);
        let site = sites(&section).next().unwrap();
        let text = [5 | 5 << 32, u64::from_le_bytes(*b"hello\0\0\0")];
        let words = [7, text[0], text[1], -1i64 as u64];
        let values: Vec<_> =
            site.values(&words).map(|(arg, value)| std::format!("{}={value}", arg.name)).collect();
        assert_eq!(values, ["pid=7", "peer=\"hello\"", "result=-1"]);
        assert_eq!(site.values(&words[..2]).count(), 1, "text that is cut off is not shown");
    }

    #[test]
    fn truncated_entries_are_not_found() {
        let whole = entry("kv.get", &["ukey"]);
        for len in 0..whole.len() {
            assert_eq!(sites(&whole[..len]).count(), 0, "{len} bytes");
        }
    }
}
