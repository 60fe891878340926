//! Where the event sites of a guest are found: in the section of an ELF image, or in memory alone: the region's header says where the
//! section lies, and only memory knows which sites are on now.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uniprof_collector::attach::{Observed, WaitOptions, wait_for_region};
use uniprof_collector::cancel::Cancel;
use uniprof_collector::guests::GuestEntry;
use uniprof_collector::live::LiveGuest;
use uniprof_collector::paging::{AddressSpace, PageTables};
use uniprof_collector::port::Port;
use uniprof_postmortem::Evidence;
use uniprof_symbolizer::Image;
use uniprof_wire::address::GuestVirtual;
use uniprof_wire::site::{self, MAX_SECTION_BYTES};
use uniprof_wire::stream::Area;

use crate::profile::finder;

pub(crate) use uniprof_events::Site;

/// How long a guest may take to tell of its sites over its port.
const PATIENCE: Duration = Duration::from_secs(5);

/// All sites of a guest, by the number that records carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sites(uniprof_events::Sites);

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
        Self(uniprof_events::Sites::of_section(section))
    }

    /// Those that an ELF file has.
    pub(crate) fn of_file(path: &Path) -> anyhow::Result<Self> {
        let (_, image) = finder::open(path)?;
        Ok(Self::of(std::iter::once(&image)))
    }

    /// Those that lie in a guest's memory, or why they can't be read, in a sentence. No ELF file is needed.
    pub(crate) fn of_evidence(evidence: &Evidence) -> Result<Self, String> {
        let region = evidence.region.as_ref().map_err(Clone::clone)?;
        let tables = evidence.cpus.iter().find_map(PageTables::of);
        let space = AddressSpace::new(Arc::clone(&evidence.memory), tables);
        Self::of_memory(&space, region.tables.header.sites)
    }

    /// Those of a guest that runs, as they are on and off now.
    pub(crate) fn of_guest(live: &LiveGuest) -> Result<Self, String> {
        // Without registers virtual addresses are taken for physical ones, which many unikernels' are.
        Self::of_evidence(&Evidence::new(live.memory(), live.registers().unwrap_or_default(), None))
    }

    /// Those of a guest that runs and shares no memory, as it tells them over its serial port, or why it does not.
    pub(crate) fn of_port(port: &Port, cancel: &Cancel) -> Result<Self, String> {
        let section = port.area(Area::Sites, PATIENCE, cancel);
        let section = section.ok_or("the guest does not tell its event sites over its serial port")?;
        Ok(Self::of_section(&section))
    }

    /// Those of a guest of ours that runs, as they are on and off now, whichever way it can be asked.
    pub(crate) fn of_entry(entry: &GuestEntry) -> Result<Self, String> {
        if entry.port.is_none() {
            return Self::of_guest(&LiveGuest::open(entry).map_err(|error| error.to_string())?);
        }
        let cancel = Cancel::new();
        let wait = WaitOptions { limit: PATIENCE, hint: None, cancel: cancel.clone() };
        let attached = wait_for_region(&Observed::Other(entry), &wait).map_err(|error| error.to_string())?;
        let port = attached.port.ok_or("the guest has no serial port")?;
        port.discard_messages();
        Self::of_port(&port, &cancel)
    }

    /// Those that lie in a guest's memory where the region's header says, or why they can't be read, in a sentence.
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
}

impl Deref for Sites {
    type Target = uniprof_events::Sites;

    fn deref(&self) -> &uniprof_events::Sites {
        &self.0
    }
}

impl FromIterator<Site> for Sites {
    fn from_iter<T: IntoIterator<Item = Site>>(sites: T) -> Self {
        Self(sites.into_iter().collect())
    }
}
