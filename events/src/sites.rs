//! The event sites of a guest: what an event's number means, and what can be switched on.

use std::collections::BTreeMap;
use std::sync::Arc;

use uniprof_wire::record::Class;
use uniprof_wire::site::{self, ArgType, SiteKind, Value, Values};

/// An event site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The number that records carry.
    pub id: u32,
    /// What it emits.
    pub kind: SiteKind,
    /// Its name.
    pub name: String,
    /// Source file.
    pub file: String,
    /// Source line.
    pub line: u32,
    /// Whether it was on when the section was read; in an ELF file none is.
    pub enabled: bool,
    /// The number of its histogram, once the guest has given it one.
    pub slot: Option<u32>,
    /// Of a call the last one is its result.
    pub args: Vec<SiteArg>,
}

/// An argument of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteArg {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ArgType,
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
    #[must_use]
    pub const fn class(&self) -> Class {
        self.kind.class()
    }

    /// What the words of one of its records say, argument by argument; those that are missing, and all after one that makes no
    /// sense, are left out.
    pub fn values<'a>(&'a self, words: &'a [u64]) -> impl Iterator<Item = (&'a SiteArg, Value<'a>)> {
        let mut values = Values::new(words);
        self.args.iter().map_while(move |arg| Some((arg, values.next(arg.ty)?)))
    }
}

/// All sites of a guest, by the number that records carry.
#[derive(Clone, Debug, Default)]
pub struct Sites(BTreeMap<u32, Arc<Site>>);

impl Sites {
    /// Those of a copy of the section.
    #[must_use]
    pub fn of_section(section: &[u8]) -> Self {
        site::sites(section).map(|site| Site::new(&site)).collect()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The site with that number.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Arc<Site>> {
        self.0.get(&id)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.0.values().map(|site| &**site)
    }
}

impl FromIterator<Site> for Sites {
    fn from_iter<T: IntoIterator<Item = Site>>(sites: T) -> Self {
        Self(sites.into_iter().map(|site| (site.id, Arc::new(site))).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A section's entry.
    pub(crate) fn entry(kind: SiteKind, name: &str, args: &[&str]) -> Vec<u8> {
        let mut text = format!("{name}kv.rs\0");
        args.iter().for_each(|arg| text.extend([arg, "\0"]));
        let total = site::entry_bytes(text.len());
        let mut bytes = Vec::new();
        bytes.extend(site::first_word(kind, total, args.len(), name.len()).to_le_bytes());
        bytes.extend((1 | 7u64 << 32).to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(text.bytes());
        bytes.resize(total, 0);
        bytes
    }

    #[test]
    fn sites_are_read_with_their_types() {
        let sites = Sites::of_section(&entry(SiteKind::Call, "kv.get", &["ukey", "speer"]));
        let site = sites.get(0).unwrap();
        assert_eq!((site.name.as_str(), site.file.as_str(), site.line), ("kv.get", "kv.rs", 7));
        assert_eq!((site.kind, site.class(), site.enabled), (SiteKind::Call, Class::Call, true));
        let args: Vec<_> = site.args.iter().map(|arg| (arg.name.as_str(), arg.ty)).collect();
        assert_eq!(args, [("key", ArgType::Unsigned), ("peer", ArgType::Text)]);
        let words = [9, 2 | 2 << 32, u64::from_le_bytes(*b"hi\0\0\0\0\0\0")];
        let told: Vec<String> =
            site.values(&words).map(|(arg, value)| format!("{}={value}", arg.name)).collect();
        assert_eq!(told, ["key=9", "peer=\"hi\""]);
        assert_eq!(site.values(&words[..2]).count(), 1);
        assert!(Sites::of_section(b"no section at all, but some text").is_empty());
    }
}
