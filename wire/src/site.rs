//! Entries of the `uniprof_sites` section: what an event's number means.
//!
//! A site is described where it is used; the linker gathers the descriptions. Nothing in an entry is an address, so the section needs
//! no relocation, and its linker-made bounds (`__start_uniprof_sites`) need no linker script. An event stores
//! its entry's byte offset from the start of the section.
//!
//! ```text
//!  byte 0   MAGIC:16 │ total bytes:16 (a multiple of 8) │ kind:8 │ arguments:8 │ name bytes:16
//!  byte 8   enabled:32 (the guest writes it: 0 or 1) │ line:32
//!  byte 16  name, file NUL, argument names each NUL, zero padding
//! ```

/// First two bytes of an entry.
pub const MAGIC: u16 = 0x5e17;
/// Bytes before the text.
pub const HEADER_BYTES: usize = 16;
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
    /// Names of its arguments, each followed by a NUL.
    args: &'a str,
}

impl<'a> Site<'a> {
    /// Names of its arguments.
    pub fn args(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.args.split_terminator('\0')
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
    assert!(total <= u16::MAX as usize && args <= crate::record::MAX_ARGS && name <= u16::MAX as usize);
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
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    let (second, _) = rest.split_first_chunk::<8>()?;
    let (first, second) = (u64::from_le_bytes(*first), u64::from_le_bytes(*second));
    let total = (first >> 16 & 0xffff) as usize;
    if first as u16 != MAGIC || total < HEADER_BYTES || !total.is_multiple_of(8) {
        return None;
    }
    let kind = match (first >> 32) as u8 {
        1 => SiteKind::Event,
        2 => SiteKind::Span,
        3 => SiteKind::Counter,
        _ => return None,
    };
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
        bytes.extend(text.bytes());
        bytes.resize(total, 0);
        bytes
    }

    #[test]
    fn entries_are_found_after_padding_and_damage() {
        let mut section = entry("kv.get", &["key", "size"]);
        section.extend([0; 16]);
        section.extend([0xff; 8]);
        let second = section.len() as u32;
        section.extend(entry("kv.put", &[]));
        let found: Vec<_> = sites(&section).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name, found[0].file, found[0].line, found[0].id), ("kv.get", "main.rs", 77, 0));
        assert_eq!(found[0].args().collect::<Vec<_>>(), ["key", "size"]);
        assert_eq!((found[1].name, found[1].id, found[1].args().count()), ("kv.put", second, 0));
    }

    #[test]
    fn truncated_entries_are_not_found() {
        let whole = entry("kv.get", &["key"]);
        for len in 0..whole.len() {
            assert_eq!(sites(&whole[..len]).count(), 0, "{len} bytes");
        }
    }
}
