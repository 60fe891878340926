//! A recording out of what the rings of a dump or of a running guest hold.

use std::path::Path;

use anyhow::Context as _;
use uniprof_collector::dump::{self, OpenOptions};
use uniprof_postmortem::{Evidence, Region, flight};
use uniprof_wire::ring::Source;

use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::input::{Input, Recovered};

/// What `word` names, as something that records can be read of; without a word, the newest recording here.
pub(crate) fn choose(word: Option<&str>) -> anyhow::Result<Input> {
    recover(&Input::choose(word)?)
}

/// `input`, where it is a dump or a guest as the recording that its rings hold.
pub(crate) fn recover(input: &Input) -> anyhow::Result<Input> {
    let bytes = match input {
        Input::Core(path) => of_dump(path)?,
        Input::Guest(name) => of_guest(name)?,
        _ => return Ok(input.clone()),
    };
    Ok(Input::Recovered(Recovered { stem: input.stem(), bytes: bytes.into() }))
}

fn of_dump(path: &Path) -> anyhow::Result<Vec<u8>> {
    let dump = dump::open(path, &OpenOptions::default())?;
    of_evidence(&Evidence::of_dump(dump)).with_context(|| path.display().to_string())
}

/// What can be said of the rings of a guest that stands still.
pub(crate) fn of_evidence(evidence: &Evidence) -> anyhow::Result<Vec<u8>> {
    let region = match &evidence.region {
        Ok(region) => region,
        Err(why) => return Err(no_records(why)),
    };
    Ok(flight::recording(&evidence.memory, region, evidence.facts.as_ref(), Source::Dead)?)
}

/// A running guest's rings are read while it runs: that costs it nothing.
fn of_guest(name: &str) -> anyhow::Result<Vec<u8>> {
    let memory = find_guest(name)?.region_memory()?;
    let region = Region::find(&*memory, None).map_err(|why| no_records(&why))?;
    Ok(flight::recording(&memory, &region, None, Source::Live)?)
}

/// The running guest of that name, which is the name of no file.
pub(crate) fn find_guest(name: &str) -> anyhow::Result<Target> {
    Target::find(name).with_context(|| format!("there is no recording or dump {name}"))
}

fn no_records(why: &str) -> anyhow::Error {
    Failure::error(Exit::Failed, format!("there are no records to read: {why}"))
}
