//! The event sites of a guest: what an event's number means, and what can be switched on.
//!
//! They come from the section of an ELF image, or from memory alone: the region's header says where the section lies, and only
//! memory knows which sites are on now.

use std::collections::BTreeMap;

use uniprof_collector::paging::AddressSpace;
use uniprof_symbolizer::Image;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::record::Class;
use uniprof_wire::site::{self, ArgType, MAX_SECTION_BYTES, SiteKind, Value, Values};

/// An event site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The number that records carry.
    pub(crate) id: u32,
    pub(crate) kind: SiteKind,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    /// Whether it was on when the section was read; in an ELF file none is.
    pub(crate) enabled: bool,
    /// The number of its histogram, once the guest has given it one.
    pub(crate) slot: Option<u32>,
    /// Of a call the last one is its result.
    pub(crate) args: Vec<SiteArg>,
}

/// An argument of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteArg {
    pub(crate) name: String,
    pub(crate) ty: ArgType,
}

impl Site {
    fn new(site: &site::Site<'_>) -> Self {
        let args = site.args().map(|arg| SiteArg { name: arg.name.to_owned(), ty: arg.ty });
        Self {
            id: site.id,
            kind: site.kind,
            name: site.name.into(),
            file: site.file.into(),
            line: site.line,
            enabled: site.enabled,
            slot: site.slot,
            args: args.collect(),
        }
    }

    /// The class that its records are counted under.
    pub(crate) fn class(&self) -> Class {
        self.kind.class()
    }

    /// What the words of one of its records say, argument by argument; those that are missing, and all after one that makes no
    /// sense, are left out.
    pub(crate) fn values<'a>(&'a self, words: &'a [u64]) -> impl Iterator<Item = (&'a SiteArg, Value<'a>)> {
        let mut values = Values::new(words);
        self.args.iter().map_while(move |arg| Some((arg, values.next(arg.ty)?)))
    }
}

/// All sites of a guest, by the number that records carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sites(BTreeMap<u32, Site>);

impl Sites {
    /// Those of the first image that has any: the one that the probes are linked into.
    pub(crate) fn of<'a>(images: impl Iterator<Item = &'a Image>) -> Self {
        let sections = images.filter_map(|image| {
            let section = image.section(site::SECTION).ok()??;
            (section.len() <= MAX_SECTION_BYTES).then_some(section)
        });
        let mut found = sections.map(|section| Self::of_section(&section));
        found.find(|sites| !sites.is_empty()).unwrap_or_default()
    }

    /// Those of a copy of the section.
    pub(crate) fn of_section(section: &[u8]) -> Self {
        Self(site::sites(section).map(|site| (site.id, Site::new(&site))).collect())
    }

    /// Those that lie in a guest's memory where the region's header says, or why they can't be read, in a sentence.
    #[allow(dead_code, reason = "`uniprof list` comes next")]
    pub(crate) fn of_memory(
        space: &AddressSpace,
        (start, end): (GuestVirtual, GuestVirtual),
    ) -> Result<Self, String> {
        let len = usize::try_from(end.0.saturating_sub(start.0)).unwrap_or(usize::MAX);
        if len == 0 || len > MAX_SECTION_BYTES {
            return Err(format!("the guest says that its sites lie from {start} to {end}, which cannot be"));
        }
        let mut section = vec![0; len];
        space
            .read(start, &mut section)
            .map_err(|error| format!("the guest's sites can't be read: {error}"))?;
        Ok(Self::of_section(&section))
    }

    /// Whether none is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The site with that number.
    pub(crate) fn get(&self, id: u32) -> Option<&Site> {
        self.0.get(&id)
    }

    /// All of them, by number.
    #[allow(dead_code, reason = "`uniprof list` comes next")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Site> {
        self.0.values()
    }
}

impl FromIterator<Site> for Sites {
    fn from_iter<T: IntoIterator<Item = Site>>(sites: T) -> Self {
        Self(sites.into_iter().map(|site| (site.id, site)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Vec<u8> {
        let text = "kv.getkv.rs\0ukey\0speer\0";
        let total = site::entry_bytes(text.len());
        let mut bytes = Vec::new();
        bytes.extend(site::first_word(SiteKind::Call, total, 2, 6).to_le_bytes());
        bytes.extend((1 | 7u64 << 32).to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(text.bytes());
        bytes.resize(total, 0);
        bytes
    }

    #[test]
    fn sites_are_read_with_their_types() {
        let sites = Sites::of_section(&section());
        let site = sites.get(0).unwrap();
        assert_eq!((site.name.as_str(), site.file.as_str(), site.line), ("kv.get", "kv.rs", 7));
        assert_eq!((site.kind, site.class(), site.enabled), (SiteKind::Call, Class::Call, true));
        let words = [9, 2 | 2 << 32, u64::from_le_bytes(*b"hi\0\0\0\0\0\0")];
        let told: Vec<String> =
            site.values(&words).map(|(arg, value)| format!("{}={value}", arg.name)).collect();
        assert_eq!(told, ["key=9", "peer=\"hi\""]);
        assert_eq!(site.values(&words[..2]).count(), 1);
        assert!(Sites::of_section(b"no section at all, but some text").is_empty());
    }
}
