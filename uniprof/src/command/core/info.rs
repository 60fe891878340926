//! `uniprof core info`: what a dump is, what it holds, and what it lacks.
//!
//! ```text
//! $ uniprof core info kv.core
//! dump          kv.core: kdump-compressed, in flattened form
//! memory        256.0 MiB in 2 ranges, up to 0x10000000
//! registers     2 vCPUs, from QEMU's note in the dump
//! page tables   4 levels at 0x1000
//! region        at 0xfe000000: wire version 2, boot 0x5b2c…, 2 vCPUs, rings of 1.0 MiB
//! image         kernel.elf at 0x0: build-id 3f9aff4dd336457761de46869d50e9d6fd3dd42d
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_collector::dump::{Facts, Format};
use uniprof_postmortem::Subject;

use super::regs;
use crate::command::symbols::Looked;
use crate::input::Input;
use crate::subject::{Opened, Origin, Seen};
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof core info kv.core
  uniprof core info memory.img --raw --regs rip=0x101234,rsp=0x7ff0,cr3=0x1000
  uniprof core info kv.core --json | jq '.lacks'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Print a JSON document (schema uniprof.info/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    /// The file, or the guest's name.
    name: String,
    /// `None` for a running guest.
    format: Option<&'static str>,
    memory: Memory,
    vcpus: Vec<Vcpu>,
    page_tables: Option<PageTables>,
    region: Option<Region>,
    /// Whether the dump has a VMCOREINFO note.
    vmcoreinfo: bool,
    /// What was known when the dump was taken.
    facts: Option<Facts>,
    images: Vec<Image>,
    /// Where images were looked for.
    looked: Vec<Looked>,
    /// What is missing or damaged, in sentences.
    lacks: Vec<String>,
}

#[derive(Serialize)]
struct Memory {
    bytes: u64,
    ranges: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    start: String,
    end: String,
}

#[derive(Serialize)]
struct Vcpu {
    vcpu: u32,
    source: &'static str,
    registers: usize,
}

#[derive(Serialize)]
struct PageTables {
    root: String,
    levels: u8,
}

#[derive(Serialize)]
struct Region {
    physical: String,
    #[serde(rename = "virtual")]
    seen_at: String,
    guest: String,
    boot_id: String,
    vcpus: u32,
    ring_bytes: u64,
    tsc_hz: u64,
    threads: usize,
    crashes: usize,
}

#[derive(Serialize)]
struct Image {
    name: String,
    bias: String,
    identity: Option<String>,
    dwarf: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (_, document) = opened.look(|seen| document(seen))?;
    if args.json { output::json(&document) } else { print(&document) }
}

fn document(seen: &Seen) -> anyhow::Result<Document> {
    let subject = &seen.subject;
    let ranges = subject.memory.ranges()?;
    let (name, format, vmcoreinfo) = match &seen.origin {
        Origin::Dump { name, format, vmcoreinfo } => {
            (name.clone(), Some(format_name(*format)), vmcoreinfo.is_some())
        }
        Origin::Live { name } => (name.clone(), None, false),
    };
    Ok(Document {
        schema: "uniprof.info/1",
        name,
        format,
        memory: Memory {
            bytes: ranges.iter().map(|range| range.end.0 - range.start.0).sum(),
            ranges: ranges
                .iter()
                .map(|range| Range { start: hex(range.start.0), end: hex(range.end.0) })
                .collect(),
        },
        vcpus: subject
            .cpus
            .iter()
            .map(|cpu| Vcpu {
                vcpu: cpu.vcpu,
                source: regs::source(cpu.source),
                registers: regs::known(cpu).len(),
            })
            .collect(),
        page_tables: subject
            .space
            .tables()
            .map(|tables| PageTables { root: hex(tables.root.0), levels: tables.levels }),
        region: region(subject),
        vmcoreinfo,
        facts: subject.facts.clone(),
        images: images(subject),
        looked: seen.looked.iter().map(Looked::new).collect(),
        lacks: lacks(seen),
    })
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

fn region(subject: &Subject) -> Option<Region> {
    let region = subject.region.as_ref().ok()?;
    let header = &region.tables.header;
    Some(Region {
        physical: hex(region.found.at.0),
        seen_at: hex(header.region_gva.0),
        guest: String::from_utf8_lossy(header.name.bytes()).into_owned(),
        boot_id: hex(header.boot_id),
        vcpus: header.geometry.vcpus(),
        ring_bytes: header.geometry.ring_bytes().into(),
        tsc_hz: header.tsc_hz,
        threads: region.tables.threads.len(),
        crashes: region.tables.crashes.iter().filter(|slot| slot.entry().is_some()).count(),
    })
}

fn images(subject: &Subject) -> Vec<Image> {
    let images = subject.program.images().iter();
    images
        .map(|loaded| Image {
            name: loaded.name.clone(),
            bias: loaded.bias.to_string(),
            identity: loaded.image.identity().map(|identity| identity.to_string()),
            dwarf: loaded.image.debug_info().dwarf,
        })
        .collect()
}

/// What is missing, and what that costs or how to mend it.
fn lacks(seen: &Seen) -> Vec<String> {
    let subject = &seen.subject;
    let mut lacks = subject.remarks.clone();
    if let Err(why) = &subject.region {
        lacks.push(format!("no threads, events, samples and log lines: {why}"));
    }
    if subject.cpus.is_empty() {
        lacks.push("no registers: give those of each vCPU with --regs".into());
    } else if subject.cpus.iter().all(|cpu| cpu.cr3.is_none()) {
        lacks.push("no page tables are known: virtual addresses are taken for physical ones".into());
    }
    match subject.program.images().first() {
        None => lacks
            .push("no image of the guest was found, so nothing has a name: name it with --kernel ELF".into()),
        Some(kernel) if !kernel.image.debug_info().dwarf => {
            lacks.push(format!("{} has no debug info: no source lines, no variables", kernel.name));
        }
        Some(_) => {}
    }
    lacks
}

/// The format's name, for people.
pub(crate) fn format_name(format: Format) -> &'static str {
    match format {
        Format::QemuElf => "ELF core of QEMU or libvirt",
        Format::Kdump => "kdump-compressed",
        Format::FlattenedKdump => "kdump-compressed, in flattened form",
        Format::Solo5Elf => "ELF core of Solo5's hvt",
        Format::XenElf => "ELF core of Xen",
        Format::Raw => "raw memory",
        Format::Region => "an observation region alone",
    }
}

/// `1 range`, `2 ranges`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn print(document: &Document) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut row = |what: &str, text: String| rows.push([what.to_owned(), text]);
    let format = document.format.unwrap_or("a running guest");
    row("dump", format!("{}: {format}", document.name));
    if let Some(facts) = document.facts.as_ref().filter(|_| document.format.is_some()) {
        row("taken", taken(facts));
    }
    let last = document.memory.ranges.last().map_or("0x0", |range| &range.end);
    let count = document.memory.ranges.len();
    row("memory", format!("{} in {}, up to {last}", mib(document.memory.bytes), counted(count, "range")));
    for vcpu in &document.vcpus {
        row(&format!("vcpu{}", vcpu.vcpu), format!("{} registers, from {}", vcpu.registers, vcpu.source));
    }
    if let Some(tables) = &document.page_tables {
        row("page tables", format!("{} levels at {}", tables.levels, tables.root));
    }
    if let Some(region) = &document.region {
        row(
            "region",
            format!(
                "at {}: guest {}, boot {}, {}, rings of {}, {}, {}",
                region.physical,
                region.guest,
                region.boot_id,
                counted(region.vcpus as usize, "vCPU"),
                mib(region.ring_bytes),
                counted(region.threads, "thread"),
                counted(region.crashes, "crash record")
            ),
        );
    }
    for image in &document.images {
        let identity = image.identity.as_deref().unwrap_or("no identity");
        row("image", format!("{} at {}: {identity}", image.name, image.bias));
    }
    for looked in document.looked.iter().filter(|_| document.images.is_empty()) {
        row("looked", format!("{}: {}", looked.place, looked.result));
    }
    for lack in &document.lacks {
        row("lacks", lack.clone());
    }
    let mut out = output::stdout();
    output::table(&mut out, &rows)?;
    Ok(out.flush()?)
}

fn taken(facts: &Facts) -> String {
    let mut text = format!("because: {}", if facts.why.is_empty() { "unknown" } else { &facts.why });
    if let Some(ending) = &facts.ending {
        text.push_str(&format!(" ({ending})"));
    }
    if facts.paused_ns > 0 {
        text.push_str(&format!(", the guest stood still for {:.1} ms", facts.paused_ns as f64 / 1e6));
    }
    if !facts.hypervisor.is_empty() {
        text.push_str(&format!(", on {}", facts.hypervisor));
    }
    text
}
