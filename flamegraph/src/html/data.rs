//! The data elements of the file: what the title says, strings, frames, nodes and leaves.

use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::HtmlOptions;
use super::column::Column;
use super::json;
use super::used::Used;
use crate::frame::{Found, Frame, Kind};
use crate::profile::{Owner, Profile};
use crate::svg::Width;
use crate::title::Title;
use crate::tree::Direction;

/// The version of the data format; the viewer beside it in the file reads just this one.
const VERSION: u32 = 1;

pub(super) fn write(
    profile: &Profile,
    title: &Title,
    options: &HtmlOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let used = Used::of(profile);
    let owners: Vec<Owner> = profile.owners().into_iter().map(|(owner, _)| owner).collect();
    element(out, "head", "application/json", |out| head(profile, title, options, &owners, out))?;
    let strings = Strings::of(profile, &used);
    element(out, "strings", "application/json", |out| {
        json::array(out, &strings.sorted, |out, text| json::string(out, text))
    })?;
    element(out, "frames", "text/plain", |out| frames(profile, &used, &strings, out))?;
    element(out, "nodes", "text/plain", |out| nodes(profile, &used, out))?;
    element(out, "leaves", "text/plain", |out| leaves(profile, &used, &owners, out))
}

/// A script element of a type that browsers don't run.
fn element(
    out: &mut dyn Write,
    id: &str,
    kind: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write!(out, "<script id=\"data-{id}\" type=\"{kind}\">")?;
    write(out)?;
    out.write_all(b"</script>\n")
}

fn head(
    profile: &Profile,
    title: &Title,
    options: &HtmlOptions,
    owners: &[Owner],
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "{{\"version\":{VERSION},\"guest\":")?;
    json::string(out, &title.guest)?;
    out.write_all(b",\"heading\":")?;
    json::string(out, &title.heading())?;
    out.write_all(b",\"buildId\":")?;
    json::optional(out, title.build_id.as_deref())?;
    out.write_all(b",\"rate\":")?;
    json::number(out, title.rate)?;
    out.write_all(b",\"seconds\":")?;
    json::number(out, title.duration.map(|duration| duration.as_secs_f64()))?;
    let measured = profile.measured();
    let (one, several) = measured.counted();
    let (weight, unit) = (measured.weight(), measured.unit().name());
    let hue = measured.hue().map_or_else(|| "null".to_owned(), |hue| hue.to_string());
    write!(
        out,
        ",\"measured\":{{\"one\":\"{one}\",\"several\":\"{several}\",\"weight\":\"{weight}\",\"unit\":\"{unit}\",\"hue\":{hue}}}"
    )?;
    out.write_all(b",\"loss\":")?;
    match &title.loss {
        None => out.write_all(b"null")?,
        Some(loss) => json::array(out, loss, |out, (cause, count)| {
            out.write_all(b"[")?;
            json::string(out, cause)?;
            write!(out, ",{count}]")
        })?,
    }
    out.write_all(b",\"ownCost\":")?;
    json::number(out, title.own_cost)?;
    out.write_all(b",\"notes\":")?;
    json::array(out, &title.notes, |out, note| json::string(out, note))?;
    out.write_all(b",\"images\":")?;
    json::array(out, profile.images(), |out, image| json::string(out, &image.name))?;
    out.write_all(b",\"threads\":")?;
    let mut threads: Vec<u32> = owners.iter().map(|owner| owner.thread).collect();
    threads.dedup();
    json::array(out, threads, |out, id| {
        write!(out, "[{id},")?;
        json::optional(out, profile.thread_name(id))?;
        out.write_all(b"]")
    })?;
    out.write_all(b",\"owners\":")?;
    json::array(out, owners, |out, owner| write!(out, "[{},{}]", owner.thread, owner.vcpu))?;
    let by_time = options.width == Width::Time;
    let callers = options.direction == Direction::Callers;
    write!(out, ",\"view\":{{\"time\":{by_time},\"icicle\":{},\"callers\":{callers}}}}}", options.inverted)
}

/// The strings of the frames that are used, in the order in which those name them.
struct Strings<'a> {
    sorted: Vec<&'a str>,
    numbers: FxHashMap<&'a str, u32>,
}

impl<'a> Strings<'a> {
    fn of(profile: &'a Profile, used: &Used) -> Self {
        let mut strings = Self { sorted: Vec::new(), numbers: FxHashMap::default() };
        for id in used.frames() {
            let frame = profile.frame(id);
            strings.add(frame.name);
            frame.file.into_iter().for_each(|file| strings.add(file));
        }
        strings
    }

    fn add(&mut self, text: &'a str) {
        let next = self.sorted.len() as u32;
        if *self.numbers.entry(text).or_insert(next) == next {
            self.sorted.push(text);
        }
    }
}

/// The count, then for each frame: name, file plus one or 0, line plus one or 0, image plus one or 0, [`flags`], and
/// where these say so the upper and the lower half of the address.
fn frames(profile: &Profile, used: &Used, strings: &Strings<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut column = Column::new(out);
    column.add(used.frames().len() as u64)?;
    for id in used.frames() {
        let frame = profile.frame(id);
        let number = |text: &str| u64::from(strings.numbers.get(text).copied().unwrap_or(0));
        column.add(number(frame.name))?;
        column.add(frame.file.map_or(0, |file| number(file) + 1))?;
        column.add(frame.line.map_or(0, |line| u64::from(line) + 1))?;
        column.add(frame.image.map_or(0, |image| u64::from(image.0) + 1))?;
        column.add(flags(&frame))?;
        if let Some(address) = frame.address {
            column.add(address >> 32)?;
            column.add(address & 0xffff_ffff)?;
        }
    }
    column.finish()
}

/// Bits 0 and 1: the kind; 2: inlined; 3: has an address; from 4: how it was found.
fn flags(frame: &Frame<'_>) -> u64 {
    let kind = match frame.kind {
        Kind::Function => 0,
        Kind::Thread => 1,
        Kind::Unknown => 2,
        Kind::Note => 3,
    };
    let found = match frame.found {
        Found::Leaf => 0,
        Found::Inline => 1,
        Found::FramePointer => 2,
        Found::Cfi => 3,
        Found::Prologue => 4,
        Found::Scan => 5,
        Found::Unknown => 6,
    };
    kind | u64::from(frame.inlined) << 2 | u64::from(frame.address.is_some()) << 3 | found << 4
}

/// The count, then for each node: how far before it its parent is, 0 where it has none; its frame.
fn nodes(profile: &Profile, used: &Used, out: &mut dyn Write) -> io::Result<()> {
    let mut column = Column::new(out);
    column.add(u64::from(used.node_count()))?;
    for (index, node) in profile.nodes.iter().enumerate() {
        let Some(number) = used.node(index) else { continue };
        let parent = node.parent.and_then(|parent| used.node(parent.0 as usize));
        column.add(parent.map_or(0, |parent| u64::from(number - parent)))?;
        column.add(u64::from(used.frame(node.frame)))?;
    }
    column.finish()
}

/// The count, then for each leaf: its node less the one of the leaf before, signed; owner, samples, weight.
fn leaves(profile: &Profile, used: &Used, owners: &[Owner], out: &mut dyn Write) -> io::Result<()> {
    let mut column = Column::new(out);
    column.add(profile.leaves().len() as u64)?;
    let mut before = 0;
    for leaf in profile.leaves() {
        let node = i64::from(used.node(leaf.stack.0 as usize).unwrap_or(0));
        column.add_signed(node - before)?;
        before = node;
        column.add(owners.binary_search(&leaf.owner).unwrap_or(0) as u64)?;
        column.add(leaf.amount.samples)?;
        column.add(leaf.amount.weight)?;
    }
    column.finish()
}
