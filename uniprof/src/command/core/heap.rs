//! `uniprof heap`: what the heap is made of, by size and by who allocated, and blocks that nobody points to any more.
//!
//! ```text
//! $ uniprof heap shop.core
//! allocated   118.3 MB in 2967 blocks, counted; 130.1 MB were allocated since boot
//! sampled     230 blocks, one every 0.5 MB on average: they stand for 117.9 MB
//!
//! SIZE             SAMPLED  BLOCKS  BYTES
//! 16384 to 32767   47       1440    23.6 MB
//!
//! BYTES    SAMPLED  SITE
//! 94.3 MB  183      shop::cache::load_page  shop/cache.rs:41
//!
//! nobody points to 47 of these blocks, which stand for 23.6 MB:
//! BYTES    SAMPLED  SITE
//! 23.6 MB  47       shop::cache::decode_page  shop/cache.rs:52
//! ```

use std::io::{self, Write};

use serde::Serialize;
use uniprof_postmortem::heap::{self, Heap, Leaks, Options, Site};

use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof heap shop.core
  uniprof heap kv --no-leaks                    a running guest; says for how long it was paused
  uniprof core heap shop.core --stacks --limit 3
  uniprof core heap shop.core --json | jq -r '.leaks.sites[].function'

The kernel's allocator has to tell the probes of what it gives out and takes back. Leak candidates are sampled blocks to whose inside no word in memory \
points; a stale pointer hides one, and pointers that are kept in another form make one up.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Do not look for blocks that nobody points to: reads less
    #[arg(long)]
    no_leaks: bool,
    /// Show whole allocation stacks
    #[arg(long)]
    stacks: bool,
    /// How many allocation stacks are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print a JSON document (schema uniprof.heap/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    heap: &'a Heap,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let how = Options { most_sites: args.limit, leaks: !args.no_leaks, ..Options::default() };
    let (seen, heap) = opened.look(|seen| Ok(heap::census(&mut seen.subject, &how)?))?;
    if args.json {
        return output::json(&Document { schema: "uniprof.heap/1", heap: &heap });
    }
    let mut out = output::stdout();
    print(&mut out, &heap, args.stacks)?;
    out.flush()?;
    seen.tell_remarks();
    Ok(())
}

fn print(out: &mut impl Write, heap: &Heap, stacks: bool) -> io::Result<()> {
    let Heap { totals, sampled, .. } = heap;
    let rows = [
        [
            "allocated".to_owned(),
            format!(
                "{} in {} blocks, counted; {} were allocated since boot",
                mb(totals.live_bytes),
                totals.live_blocks,
                mb(totals.allocated_bytes)
            ),
        ],
        [
            "sampled".to_owned(),
            format!(
                "{}, one every {} on average: they stand for {}",
                blocks(sampled.blocks),
                mb(sampled.interval),
                mb(sampled.estimated_bytes)
            ),
        ],
    ];
    output::table(out, &rows)?;
    if sampled.blocks == 0 {
        writeln!(out, "no block that lives was sampled, so nothing is known of sizes, sites and leaks")?;
        return heap.remarks.iter().try_for_each(|remark| writeln!(out, "{remark}"));
    }
    let mut rows = vec![["SIZE", "SAMPLED", "BLOCKS", "BYTES"].map(str::to_owned)];
    rows.extend(heap.sizes.iter().map(|class| {
        [
            format!("{} to {}", class.from_bytes, class.to_bytes),
            class.sampled_blocks.to_string(),
            class.estimated_blocks.to_string(),
            mb(class.estimated_bytes),
        ]
    }));
    writeln!(out)?;
    output::table(out, &rows)?;
    writeln!(out)?;
    sites(out, &heap.sites, stacks)?;
    if heap.other_sites > 0 {
        writeln!(out, "{} in {} more (--limit N)", mb(heap.other_bytes), heap.other_sites)?;
    }
    if let Some(leaks) = &heap.leaks {
        writeln!(out)?;
        lost(out, leaks, stacks)?;
    }
    heap.remarks.iter().try_for_each(|remark| writeln!(out, "{remark}"))
}

fn lost(out: &mut impl Write, leaks: &Leaks, stacks: bool) -> io::Result<()> {
    if leaks.sampled_blocks == 0 && leaks.inside_blocks == 0 {
        writeln!(
            out,
            "each of these blocks is pointed to from somewhere in {} of memory",
            mb(leaks.scanned_bytes)
        )?;
    }
    if leaks.sampled_blocks > 0 {
        writeln!(
            out,
            "nobody points to {} of these blocks (they stand for {}):",
            leaks.sampled_blocks,
            mb(leaks.estimated_bytes)
        )?;
        sites(out, &leaks.sites, stacks)?;
    }
    if leaks.inside_blocks > 0 {
        writeln!(
            out,
            "nobody points to the start of {} of these blocks (they stand for {}), but into them:",
            leaks.inside_blocks,
            mb(leaks.inside_bytes)
        )?;
        sites(out, &leaks.inside_sites, stacks)?;
    }
    leaks.not_scanned.iter().try_for_each(|what| writeln!(out, "not searched: {what}"))
}

fn sites(out: &mut impl Write, sites: &[Site], stacks: bool) -> io::Result<()> {
    let row = |site: &Site| {
        let frame = site.frames.iter().find(|frame| frame.name() == site.function);
        let place = frame.and_then(|frame| frame.place()).unwrap_or_default();
        [mb(site.estimated_bytes), site.sampled_blocks.to_string(), format!("{}  {place}", site.function)]
    };
    let head = ["BYTES", "SAMPLED", "SITE"].map(str::to_owned);
    if !stacks {
        let mut rows = vec![head];
        rows.extend(sites.iter().map(row));
        return output::table(out, &rows);
    }
    for site in sites {
        output::table(out, &[head.clone(), row(site)])?;
        for frame in &site.frames {
            let place = frame.place().unwrap_or_default();
            writeln!(out, "    {}  {}", output::printable(frame.name()), output::printable(&place))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn blocks(count: u64) -> String {
    if count == 1 { "1 block".to_owned() } else { format!("{count} blocks") }
}

fn mb(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
