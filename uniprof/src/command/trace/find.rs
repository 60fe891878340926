//! The names of a guest's events: from its image, else from its memory.

use uniprof_collector::dump::{self, OpenOptions};
use uniprof_events::EventKind;
use uniprof_postmortem::Evidence;

use crate::config::Config;
use crate::guest::Target;
use crate::input::Input;
use crate::options;
use crate::profile::{self, Head};
use crate::sites::Sites;

/// Names that an error lists.
const MOST_LISTED: usize = 40;

/// The sites of what `input` means, whose recording begins with `head`.
pub(super) fn of_input(input: &Input, head: &Head, symbols: &options::Symbols) -> anyhow::Result<Sites> {
    let images = profile::find_images(head, symbols, &Config::load()?)?;
    let sites = Sites::of(images.symbolizers().map(|(_, symbolizer)| &**symbolizer.image()));
    if !sites.is_empty() {
        return Ok(sites);
    }
    // That memory has no names either is what is said anyway where a name is missing.
    Ok(in_memory(input).unwrap_or_default())
}

/// Those that lie in the memory of a dump or of a guest.
fn in_memory(input: &Input) -> Option<Sites> {
    match input {
        Input::Core(path) => {
            let dump = dump::open(path, &OpenOptions::default()).ok()?;
            Sites::of_evidence(&Evidence::of_dump(dump)).ok()
        }
        Input::Guest(name) => match profile::find_guest(name).ok()? {
            Target::Ours(entry) => Sites::of_entry(&entry).ok(),
            process @ Target::Process(_) => Sites::of_guest(&process.open().ok()?).ok(),
        },
        _ => None,
    }
}

/// All names that an event can have, sorted.
pub(super) fn names(sites: &Sites) -> Vec<String> {
    let kinds = EventKind::ALL.into_iter().filter(|kind| !kind.has_site());
    let mut names: Vec<String> = sites.iter().map(|site| site.name.clone()).collect();
    names.extend(kinds.map(|kind| kind.name().to_owned()));
    names.sort();
    names.dedup();
    names
}

/// Names for a sentence, not more than it can bear.
pub(super) fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(MOST_LISTED)].join(", ");
    match names.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
