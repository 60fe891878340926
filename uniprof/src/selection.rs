//! What is to be recorded: classes of records and event sites by name, as people write them.
//!
//! ```text
//!  http.*,off-cpu       event sites by name, and a class; nothing else
//!  all,-heap            everything but one class
//!  +http.*,-http.raw    what is recorded anyway, sites of one name, and one of them not
//! ```

use std::str::FromStr;

use uniprof_wire::pattern;
use uniprof_wire::record::Class;

use crate::sites::Sites;

/// Bytes of patterns that a control request takes.
const MOST_BYTES: usize = 256;
/// Names that an error shows.
const SHOWN: usize = 8;

/// Classes of records and patterns over site names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// A bit each.
    pub(crate) classes: u64,
    /// With commas between them; those with a `-` exclude, and the last that matches a name counts.
    pub(crate) patterns: String,
}

impl Selection {
    /// The classes as a kernel's command line has them.
    pub(crate) fn class_words(&self) -> String {
        match class_names(self.classes) {
            names if names.is_empty() => "none".into(),
            names => names.join(","),
        }
    }

    /// What is to be added to what a guest records anyway.
    pub(crate) fn added(text: &str) -> Result<Self, String> {
        let selection = Self::parse(text, 0)?;
        let adds = selection.classes != 0 || selection.each().any(|pattern| !pattern.starts_with('-'));
        if adds {
            Ok(selection)
        } else {
            Err(format!(
                "`{text}` adds nothing: a word with a `-` narrows what the same request asks for, and what others ask \
                 for stays on"
            ))
        }
    }

    /// The same with one more class or pattern, or without it.
    pub(crate) fn with(&self, word: &str, on: bool) -> Result<Self, String> {
        let one = Self::parse(word, 0)?;
        let classes = if on { self.classes | one.classes } else { self.classes & !one.classes };
        let without = |pattern: &&str| {
            !one.each().any(|word| word.trim_start_matches('-') == pattern.trim_start_matches('-'))
        };
        let mut patterns: Vec<String> = self.each().filter(without).map(str::to_owned).collect();
        // A name may be on by a wider pattern: then it is taken out of that.
        let left = Self { classes, patterns: patterns.join(",") };
        let more: Vec<String> = match on {
            true => one.each().map(str::to_owned).collect(),
            false => one.each().filter(|name| left.has(name)).map(|name| format!("-{name}")).collect(),
        };
        patterns.extend(more);
        let text = patterns.join(",");
        if text.len() > MOST_BYTES {
            return Err(format!(
                "{} bytes of patterns are more than the {MOST_BYTES} that a guest takes",
                text.len()
            ));
        }
        Ok(Self { classes, patterns: text })
    }

    fn parse(text: &str, base: u64) -> Result<Self, String> {
        let (mut classes, mut patterns) = (base, Vec::new());
        for word in text.split(',').map(str::trim) {
            let (off, name) = match word.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, word.strip_prefix('+').unwrap_or(word)),
            };
            match bits(name) {
                Some(bits) if off => classes &= !bits,
                Some(bits) => classes |= with_implied(bits),
                None => {
                    check_pattern(name)?;
                    patterns.push(if off { format!("-{name}") } else { name.to_owned() });
                }
            }
        }
        let patterns = patterns.join(",");
        if patterns.len() > MOST_BYTES {
            return Err(format!(
                "{} bytes of patterns are more than the {MOST_BYTES} that a guest takes; use `*`",
                patterns.len()
            ));
        }
        Ok(Self { classes, patterns })
    }

    /// Whether a class, or an event site, of that name is among it.
    pub(crate) fn has(&self, name: &str) -> bool {
        if let Some(bits) = bits(name) {
            return self.classes & bits != 0;
        }
        let matches =
            |known: &str| pattern::matches(known.trim_start_matches('-').as_bytes(), name.as_bytes());
        self.each().filter(|known| matches(known)).last().is_some_and(|known| !known.starts_with('-'))
    }

    fn each(&self) -> impl Iterator<Item = &str> {
        self.patterns.split(',').filter(|pattern| !pattern.is_empty())
    }

    /// Refuses a pattern that matches no site of `whose`, and says what there is.
    pub(crate) fn check(&self, sites: &Sites, whose: &str) -> Result<(), String> {
        let unmatched = self.each().map(|pattern| pattern.trim_start_matches('-')).find(|wanted| {
            !sites.iter().any(|site| pattern::matches(wanted.as_bytes(), site.name.as_bytes()))
        });
        let Some(word) = unmatched else { return Ok(()) };
        let mut names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let known = class_names(Class::RECORDED);
        let near = near(word, names.iter().copied().chain(known.iter().copied()));
        let hint = match (near.is_empty(), names.len()) {
            (false, _) => format!("did you mean {}?", near.join(" or ")),
            (true, all) => {
                let more = if all > SHOWN { format!(" and {} more", all - SHOWN) } else { String::new() };
                format!("its sites are {}{more}", names[..all.min(SHOWN)].join(", "))
            }
        };
        Err(format!(
            "`{word}` is no class of records, and no event site of {whose} is called so; {hint}; classes are {}, light \
             and all",
            known.join(", ")
        ))
    }
}

impl FromStr for Selection {
    type Err = String;

    /// Words without a sign first say all that is to be recorded; a first word with one changes what is recorded anyway.
    fn from_str(text: &str) -> Result<Self, String> {
        let base = if text.starts_with(['+', '-']) { Class::LIGHT } else { 0 };
        Self::parse(text, base)
    }
}

/// The words for the classes in a mask.
pub(crate) fn class_names(bits: u64) -> Vec<&'static str> {
    let recorded = Class::ALL.into_iter().filter(|class| class.bit() & Class::RECORDED & bits != 0);
    recorded.map(Class::name).collect()
}

/// What is asked for with what it is of no use without: time off the CPU is told apart by switches, and threads by their beginnings and ends.
/// Both are light.
fn with_implied(bits: u64) -> u64 {
    let implied = Class::Switch.bit() | Class::Thread.bit();
    if bits & Class::OffCpu.bit() != 0 { bits | implied } else { bits }
}

fn bits(name: &str) -> Option<u64> {
    match name {
        "all" => Some(Class::RECORDED),
        "light" => Some(Class::LIGHT),
        "none" => Some(0),
        _ => {
            let mut classes = Class::ALL.into_iter().filter(|class| class.bit() & Class::RECORDED != 0);
            classes.find(|class| class.name() == name).map(Class::bit)
        }
    }
}

/// A pattern travels on a kernel's command line.
fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("between two commas a class or a name is missing".into());
    }
    match pattern.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '+' | '"' | '\'' | '=')) {
        Some(c) => Err(format!("`{pattern}` is no class and no name of event sites: they have no {c:?}")),
        None => Ok(()),
    }
}

/// The names that are nearest to `word`, if any is near: one of three letters may be wrong.
fn near<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> =
        names.map(|name| (distance(word, name), name)).filter(|(steps, _)| *steps <= most).collect();
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// How many letters have to be changed, added or left out (Levenshtein's distance, one row at a time).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use uniprof_wire::site::SiteKind;

    use super::*;
    use crate::sites::Site;

    fn parsed(text: &str) -> (u64, String) {
        let Selection { classes, patterns } = text.parse().unwrap();
        (classes, patterns)
    }

    #[test]
    fn classes_and_sites_stand_beside_each_other() {
        assert_eq!(parsed("samples,logs"), (Class::Sample.bit() | Class::Log.bit(), String::new()));
        assert_eq!(parsed("http.*,locks"), (Class::Lock.bit(), "http.*".into()));
        let off_cpu = Class::OffCpu.bit() | Class::Switch.bit() | Class::Thread.bit();
        assert_eq!(parsed("off-cpu"), (off_cpu, String::new()));
        assert_eq!(parsed("off-cpu,-switches,-threads"), (Class::OffCpu.bit(), String::new()));
        assert_eq!(parsed("all,-heap"), (Class::RECORDED & !Class::Heap.bit(), String::new()));
        assert_eq!(parsed("+http.*,-http.raw"), (Class::LIGHT, "http.*,-http.raw".into()));
        assert_eq!(parsed("-kv.get"), (Class::LIGHT, "-kv.get".into()));
        assert_eq!(parsed("none,kv.?et"), (0, "kv.?et".into()));
        assert_eq!("kv.get".parse::<Selection>().unwrap().class_words(), "none");
        assert_eq!("locks,irq".parse::<Selection>().unwrap().class_words(), "locks,irq");
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for text in ["", "a,,b", "a b", "x=y", "-", "+", "\u{e9}"] {
            assert!(text.parse::<Selection>().is_err(), "{text:?}");
        }
        let long = "a".repeat(257).parse::<Selection>().unwrap_err();
        assert!(long.contains("257 bytes"), "{long}");
    }

    #[test]
    fn one_more_or_one_less() {
        let none = Selection::default();
        let some = none.with("kv.*", true).unwrap().with("locks", true).unwrap();
        assert_eq!((some.classes, some.patterns.as_str()), (Class::Lock.bit(), "kv.*"));
        let less = some.with("kv.get", false).unwrap();
        assert_eq!(less.patterns, "kv.*,-kv.get");
        assert_eq!(less.with("kv.get", true).unwrap().patterns, "kv.*,kv.get");
        assert_eq!(
            less.with("kv.*", false).unwrap().with("locks", false).unwrap(),
            Selection { classes: 0, patterns: "-kv.get".into() }
        );
        assert_eq!(some.with("net.up", false).unwrap(), some, "it is off");
        assert!(none.with("a b", true).is_err());
    }

    #[test]
    fn a_request_can_only_add() {
        assert_eq!(Selection::added("+net.*,-net.raw,+locks").unwrap().classes, Class::Lock.bit());
        assert!(Selection::added("-net.raw").unwrap_err().contains("adds nothing"));
    }

    #[test]
    fn words_that_mean_nothing_are_refused_with_what_there_is() {
        let site = |id, name: &str| Site {
            id,
            kind: SiteKind::Event,
            name: name.into(),
            file: String::new(),
            line: 0,
            enabled: false,
            slot: None,
            args: Vec::new(),
        };
        let sites: Sites = [site(0, "kv.get"), site(8, "kv.put")].into_iter().collect();
        let checked = |text: &str| text.parse::<Selection>().unwrap().check(&sites, "k.elf");
        assert_eq!(checked("kv.*,off-cpu,-kv.put"), Ok(()));
        let typo = checked("kv.gte").unwrap_err();
        assert!(typo.contains("`kv.gte`") && typo.contains("did you mean kv.get"), "{typo}");
        assert!(checked("of-cpu").unwrap_err().contains("did you mean off-cpu"));
        let nothing = checked("http.*").unwrap_err();
        assert!(nothing.contains("its sites are kv.get, kv.put") && nothing.contains("heap"), "{nothing}");
    }
}
