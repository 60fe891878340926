//! Which event sites of a guest are on now: only its memory knows.

use std::time::{Duration, Instant};

use uniprof_collector::guests::GuestEntry;
use uniprof_collector::paging::AddressSpace;
use uniprof_wire::address::GuestVirtual;

use crate::sites::Sites;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Looks which sites are on.
pub(crate) struct SiteStates {
    space: AddressSpace,
    section: (GuestVirtual, GuestVirtual),
    last: (Instant, Sites),
}

impl SiteStates {
    /// Of a guest whose memory can be seen, and whose sites lie at the physical addresses that it calls virtual, as those of many
    /// unikernels do: nothing is asked of its monitor for this.
    pub(crate) fn of(entry: &GuestEntry, section: (GuestVirtual, GuestVirtual)) -> Option<Self> {
        let space = AddressSpace::new(entry.open_all_memory().ok()?, None);
        let sites = Sites::of_memory(&space, section).ok().filter(|sites| !sites.is_empty())?;
        Some(Self { space, section, last: (Instant::now(), sites) })
    }

    /// As they are, or were a moment ago.
    pub(crate) fn look(&mut self) -> &Sites {
        if self.last.0.elapsed() >= EVERY
            && let Ok(sites) = Sites::of_memory(&self.space, self.section)
        {
            self.last = (Instant::now(), sites);
        }
        &self.last.1
    }

    /// Looks anew the next time.
    pub(crate) fn forget(&mut self) {
        let at = self.last.0;
        self.last.0 = at.checked_sub(EVERY).unwrap_or(at);
    }
}
