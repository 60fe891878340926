//! `uniprof find`: where a value lies in the memory of a dump or of a running guest.
//!
//! ```text
//! $ uniprof find kv.core 0x41df80
//! PHYSICAL            VIRTUAL             WHAT
//! 0x0000000000141a28  0x0000000000141a28  uniprof_sample_kernel::sched::THREADS+0xa8
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_postmortem::memory::{self, Hit, Hits};

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output, values};

const EXAMPLES: &str = "\
Examples:
  uniprof find kv.core 0x41df80                 who points there
  uniprof find kv.core 'panicked'               where a text lies
  uniprof find kv 4711 --bytes 4 --limit 10     a running guest, a 32-bit number
  uniprof core find kv.core --text 0x10         the text, not the number";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// A number, or a text
    value: String,
    /// Take the value for text, even if it is a number
    #[arg(long)]
    text: bool,
    /// How many bytes a number has; it is looked for at multiples of that
    #[arg(long, value_name = "1|2|4|8", default_value = "8", value_parser = ["1", "2", "4", "8"])]
    bytes: String,
    /// How many places are listed
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print a JSON document (schema uniprof.find/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    total: u64,
    searched_bytes: u64,
    unreadable_bytes: u64,
    hits: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    physical: String,
    #[serde(rename = "virtual")]
    seen_at: Option<String>,
    /// What it is a part of.
    owner: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (needle, align) = needle(args)?;
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, found) = opened.look(|seen| Ok(memory::find(&seen.subject, &needle, align, args.limit)?))?;
    let document = Document::new(&found);
    if args.json {
        return output::json(&document);
    }
    if found.total == 0 {
        let searched = found.searched >> 20;
        return Err(Failure::error(Exit::Failed, format!("it is nowhere in {searched} MiB of memory")));
    }
    print(&document)?;
    seen.tell_remarks();
    Ok(())
}

/// The bytes to look for, and what their addresses are multiples of.
fn needle(args: &Args) -> anyhow::Result<(Vec<u8>, usize)> {
    let number = values::number(&args.value).ok().filter(|_| !args.text);
    let Some(number) = number else {
        let empty = || Failure::error(Exit::Usage, "an empty text is everywhere");
        let bytes = args.value.clone().into_bytes();
        return if bytes.is_empty() { Err(empty()) } else { Ok((bytes, 1)) };
    };
    let len: usize = args.bytes.parse().unwrap_or(8);
    let bytes = number.to_le_bytes();
    if bytes[len..].iter().any(|byte| *byte != 0) {
        return Err(Failure::error(Exit::Usage, format!("{} does not fit into {len} bytes", args.value)));
    }
    Ok((bytes[..len].to_vec(), len))
}

impl Document {
    fn new(found: &Hits) -> Self {
        let place = |hit: &Hit| Place {
            physical: format!("{:#x}", hit.physical.0),
            seen_at: hit.seen_at.map(|at| format!("{:#x}", at.0)),
            owner: hit.owner.as_ref().map(ToString::to_string),
        };
        Self {
            schema: "uniprof.find/1",
            total: found.total,
            searched_bytes: found.searched,
            unreadable_bytes: found.unreadable,
            hits: found.hits.iter().map(place).collect(),
        }
    }
}

fn print(document: &Document) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let mut rows = vec![["PHYSICAL", "VIRTUAL", "WHAT"].map(str::to_owned)];
    let wide = |text: &str| format!("0x{:0>16}", text.trim_start_matches("0x"));
    for hit in &document.hits {
        let seen_at = hit.seen_at.as_deref().map_or_else(|| "not mapped".into(), wide);
        rows.push([wide(&hit.physical), seen_at, hit.owner.clone().unwrap_or_default()]);
    }
    output::table(&mut out, &rows)?;
    let listed = document.hits.len() as u64;
    if listed < document.total {
        writeln!(out, "… and {} more (--limit N)", document.total - listed)?;
    }
    Ok(out.flush()?)
}
