//! From a recording to a profile.
//!
//! ```text
//!  recording ─ load ─> raw stacks (addresses, summed) ─ naming ─> flamegraph::Profile ─> report, picture, folded text
//!                └───> figures (vCPUs, loss, own cost, threads) ───────────────────────> report, title
//!  recover: the recording that a dump or a running guest holds in its rings
//!  images: what repairs leaves while loading, and names addresses afterwards; finder: where they come from
//! ```

pub(crate) mod clock;
pub(crate) mod figures;
pub(crate) mod finder;
mod folded;
pub(crate) mod growing;
pub(crate) mod images;
mod joined;
mod lives;
pub(crate) mod load;
mod mark;
pub(crate) mod metrics;
pub(crate) mod naming;
pub(crate) mod not_running;
mod open;
mod recover;
mod timeline;
mod title;
mod view;
pub(crate) mod walk;

use uniprof_flamegraph::{Kind, Profile};

use crate::exit::{Exit, Failure};
use crate::sites::Sites;

pub(crate) use figures::Figures;
pub(crate) use lives::{Life, Lives};
pub(crate) use load::Times;
pub(crate) use not_running::{Aside, RunQueue};
pub(crate) use open::{Head, Source, find_images, head, read, read_view};
pub(crate) use recover::{choose, find_guest, recover};
pub(crate) use timeline::timeline;
pub(crate) use title::title;
pub(crate) use view::View;

/// A recording with names.
pub(crate) struct Named {
    pub(crate) profile: Profile,
    pub(crate) figures: Figures,
    /// What of it was looked at.
    pub(crate) view: View,
    pub(crate) aside: Aside,
    /// What the guest's numbers are called.
    pub(crate) sites: Sites,
}

impl Named {
    /// Tells on stderr what is to be known about the recording, for commands whose output has no place for it.
    pub(crate) fn tell_notes(&self) {
        for note in &self.figures.notes {
            crate::output::say(format_args!("uniprof: {note}"));
        }
    }

    /// An error that says why there is nothing to show, where there is nothing.
    pub(crate) fn require_samples(&self) -> anyhow::Result<()> {
        if self.profile.total().samples > 0 {
            return Ok(());
        }
        Err(Failure::error(Exit::Failed, self.figures.why_nothing(self.view)))
    }
}

/// The share of what was measured, 0 to 1, in which every frame from the thread's entry to the leaf has a name.
pub(crate) fn named_share(profile: &Profile) -> f64 {
    let measure = profile.measured().measure();
    let total = measure.of(profile.total());
    if total == 0 {
        return 0.0;
    }
    let is_named = |stack| profile.stack(stack).all(|id| profile.frame(id).kind != Kind::Unknown);
    let leaves = profile.leaves().iter().filter(|leaf| is_named(leaf.stack));
    leaves.map(|leaf| measure.of(leaf.amount)).sum::<u64>() as f64 / total as f64
}
