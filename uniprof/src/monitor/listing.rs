//! A function line by line, with what was sampled where.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use uniprof_symbolizer::{AddressKind, Frame};
use uniprof_tui::picture::{InstructionLine, Listing, SourceLine};
use uniprof_wire::address::GuestVirtual;

use super::inside::Code;
use super::model::Model;
use super::span::Reach;
use crate::profile::images::Images;
use crate::values::PathMap;

/// Stacks whose leaves are looked at.
const MOST_STACKS: usize = 20_000;
/// Source files that are larger are no source files.
const MOST_SOURCE: u64 = 16 << 20;
/// Lines before the first and after the last that has code.
const AROUND: u32 = 3;
/// Lines that are shown.
const MOST_LINES: u32 = 3000;

/// Samples by the address that they were at.
pub(super) type Hits = BTreeMap<u64, u64>;

/// Samples within `reach` in a function itself, or in what is inlined into it.
pub(super) fn hits(model: &mut Model, reach: &Reach, function: &str) -> Hits {
    let Model { images, seen, .. } = model;
    let mut hits = Hits::new();
    for (place, amount) in seen.stacks.sums(reach, MOST_STACKS).stacks {
        let leaf = seen.stacks.get(place).and_then(|stack| stack.frames.first().copied());
        if let Some(address) = leaf {
            *hits.entry(address).or_default() += amount.samples;
        }
    }
    hits.retain(|address, _| frames(images, *address).iter().any(|frame| &*frame.function == function));
    hits
}

/// The address with the most samples.
pub(super) fn hottest(hits: &Hits) -> Option<u64> {
    hits.iter().max_by_key(|(_, samples)| **samples).map(|(address, _)| *address)
}

fn frames(images: &mut Images, address: u64) -> Vec<Frame> {
    let resolution = images.resolve(GuestVirtual(address), AddressKind::Instruction);
    resolution.map(|(_, resolution)| resolution.frames().to_vec()).unwrap_or_default()
}

/// The listing of a function whose code is known, or why it is not.
pub(super) fn listing(images: &mut Images, code: &Code, hits: &Hits, paths: &[PathMap]) -> Listing {
    let function = &code.function;
    let addresses: Vec<u64> = match &code.listing {
        Ok(listing) => listing.lines.iter().map(|line| line.address).collect(),
        Err(_) => hits.keys().copied().collect(),
    };
    // The lines of the function itself: those of others are inlined into it.
    let own: BTreeMap<u64, (String, u32)> = addresses
        .iter()
        .filter_map(|address| {
            let frames = frames(images, *address);
            let frame = frames.iter().find(|frame| *frame.function == **function).or(frames.last())?;
            Some((*address, (frame.file.as_deref()?.to_owned(), frame.line?)))
        })
        .collect();
    let file = own.values().next().map(|(file, _)| file.clone());
    let (file, source) = match &file {
        Some(file) => source(file, &own, hits, paths),
        None => (Err("the debug information does not say where its source is".to_owned()), Vec::new()),
    };
    let instructions = match &code.listing {
        Ok(listing) => listing.lines.iter().map(|line| instruction(line, images, hits)).collect(),
        Err(_) => Vec::new(),
    };
    Listing {
        function: function.clone(),
        samples: hits.values().sum(),
        file,
        source,
        instructions,
        no_instructions: code.listing.as_ref().err().cloned(),
    }
}

fn instruction(
    line: &uniprof_postmortem::disassembly::Line,
    images: &mut Images,
    hits: &Hits,
) -> InstructionLine {
    let frames = frames(images, line.address);
    let place = frames.first().and_then(|frame| {
        let file = Path::new(frame.file.as_deref()?).file_name()?.to_string_lossy().into_owned();
        Some((file, frame.line?))
    });
    InstructionLine {
        address: line.address,
        text: line.text.clone(),
        line: place,
        samples: hits.get(&line.address).copied().unwrap_or(0),
    }
}

/// The text of the lines that have code, where the file is there.
fn source(
    file: &str,
    own: &BTreeMap<u64, (String, u32)>,
    hits: &Hits,
    paths: &[PathMap],
) -> (Result<String, String>, Vec<SourceLine>) {
    let lines =
        || own.iter().filter(|(_, (other, _))| other == file).map(|(address, (_, line))| (*address, *line));
    let (Some(first), Some(last)) =
        (lines().map(|(_, line)| line).min(), lines().map(|(_, line)| line).max())
    else {
        return (Ok(file.to_owned()), Vec::new());
    };
    let text = match read(&mapped(file, paths)) {
        Ok(text) => text,
        Err(why) => {
            let way_out = "--path-map FROM=TO says where it lies here";
            return (Err(format!("{file}: {why}; {way_out}")), Vec::new());
        }
    };
    let mut samples: BTreeMap<u32, u64> = BTreeMap::new();
    for (address, line) in lines() {
        *samples.entry(line).or_default() += hits.get(&address).copied().unwrap_or(0);
    }
    let first = first.saturating_sub(AROUND).max(1);
    let last = last.saturating_add(AROUND).min(first.saturating_add(MOST_LINES));
    let shown = (1..)
        .zip(text.lines())
        .skip_while(|(number, _)| *number < first)
        .take_while(|(number, _)| *number <= last);
    let shown = shown.map(|(number, text)| SourceLine {
        number,
        text: crate::output::printable(text).replace('\t', "    "),
        samples: samples.get(&number).copied().unwrap_or(0),
    });
    (Ok(file.to_owned()), shown.collect())
}

/// Where a file of the build lies here.
fn mapped(file: &str, paths: &[PathMap]) -> PathBuf {
    let map = paths.iter().find_map(|map| Some(map.to.join(Path::new(file).strip_prefix(&map.from).ok()?)));
    map.unwrap_or_else(|| file.into())
}

/// The name comes from debug information: what it names may be anything.
fn read(path: &Path) -> Result<String, String> {
    let meta = fs::metadata(path).map_err(|_| "this file is not here".to_owned())?;
    if !meta.is_file() || meta.len() > MOST_SOURCE {
        return Err("this is no source file".into());
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MOST_SOURCE).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
