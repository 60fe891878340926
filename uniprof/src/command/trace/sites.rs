//! The event sites of a guest's images: what an event's number means.

use std::collections::HashMap;

use uniprof_symbolizer::Image;
use uniprof_wire::site::{self, MAX_SECTION_BYTES};

/// An event site.
pub(super) struct Site {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) args: Vec<String>,
}

/// All sites, by the number that records carry.
pub(crate) struct Sites(HashMap<u32, Site>);

impl Sites {
    /// Those of the first image that has any: the one that the probes are linked into.
    pub(crate) fn of<'a>(images: impl Iterator<Item = &'a Image>) -> Self {
        let sections = images.filter_map(|image| {
            let section = image.section(site::SECTION).ok()??;
            (section.len() <= MAX_SECTION_BYTES).then_some(section)
        });
        let mut found = sections.map(|section| site::sites(&section).map(Site::new).collect());
        Self(found.find(|sites: &HashMap<_, _>| !sites.is_empty()).unwrap_or_default())
    }

    /// Whether none is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The site with that number.
    pub(super) fn get(&self, id: u32) -> Option<&Site> {
        self.0.get(&id)
    }

    #[cfg(test)]
    pub(super) fn with(id: u32, site: Site) -> Self {
        Self(HashMap::from([(id, site)]))
    }
}

impl Site {
    fn new(site: site::Site<'_>) -> (u32, Self) {
        let args = site.args().map(|arg| arg.name.to_owned()).collect();
        (site.id, Self { name: site.name.into(), file: site.file.into(), line: site.line, args })
    }
}
