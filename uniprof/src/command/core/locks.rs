//! `uniprof locks`: which thread waits for what, who holds it, and which threads wait for each other.
//!
//! ```text
//! $ uniprof locks shop.core
//! deadlock: buyer (thread 4) waits for the lock STOCK, held by clerk (thread 5), which waits for the lock TILL, held by buyer
//!
//! THREAD            WAITS FOR       HELD BY           IN
//! buyer (thread 4)  the lock STOCK  clerk (thread 5)  shop::buy  shop/buy.rs:31
//! clerk (thread 5)  the lock TILL   buyer (thread 4)  shop::restock  shop/stock.rs:12
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_postmortem::locks::{self, Locks, Wait};
use uniprof_postmortem::stacks;

use super::{fit, stack_text};
use crate::input::Input;
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof locks shop.core
  uniprof locks kv                              a running guest; says for how long it was paused
  uniprof core locks shop.core --json | jq -r '.cycles[].text'

What waits for what is told by the kernel's scheduler through its probes; one that does not tell has no waits here.";

/// Characters of a name on a terminal.
const MOST_NAME: usize = 40;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Print a JSON document (schema uniprof.locks/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    waits: &'a [Wait],
    cycles: Vec<Cycle>,
}

#[derive(Serialize)]
struct Cycle {
    /// Each waits for the next, the last for the first.
    threads: Vec<u32>,
    text: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(&args.input))?, &args.memory)?;
    let (seen, locks) = opened.look(|seen| {
        let stacks = stacks::of(&mut seen.subject);
        Ok(locks::of(&seen.subject, &stacks))
    })?;
    if args.json {
        return output::json(&Document::new(&locks));
    }
    print(&locks)?;
    if let Err(why) = &seen.subject.region {
        output::say(format_args!("uniprof: who waits is not known: {why}"));
    }
    seen.tell_remarks();
    Ok(())
}

impl<'a> Document<'a> {
    fn new(locks: &'a Locks) -> Self {
        let cycle = |cycle: &locks::Cycle| Cycle {
            threads: cycle.waits.iter().map(|wait| wait.thread).collect(),
            text: cycle.to_string(),
        };
        let cycles = locks.cycles.iter().map(cycle).collect();
        Self { schema: "uniprof.locks/1", waits: &locks.waits, cycles }
    }
}

fn print(locks: &Locks) -> anyhow::Result<()> {
    let mut out = output::stdout();
    for cycle in &locks.cycles {
        writeln!(out, "deadlock: {}", output::printable(&cycle.to_string()))?;
    }
    if locks.waits.is_empty() {
        writeln!(out, "no thread waits for a lock, for another thread or for an event")?;
        return Ok(out.flush()?);
    }
    if !locks.cycles.is_empty() {
        writeln!(out)?;
    }
    // On a terminal a thread should have a line of its own.
    let room = if fit::width() == usize::MAX { usize::MAX } else { MOST_NAME };
    let mut rows = vec![["THREAD", "WAITS FOR", "HELD BY", "IN"].map(str::to_owned)];
    for wait in &locks.waits {
        let place = wait.place.as_deref().map(|place| format!("  {}", stack_text::short(place)));
        let function = fit::name(wait.function.as_deref().unwrap_or_default(), room);
        let function = format!("{function}{}", place.unwrap_or_default());
        rows.push([wait.title.clone(), fit::what(&wait.what(), room), wait.holder_title.clone(), function]);
    }
    output::table(&mut out, &rows)?;
    Ok(out.flush()?)
}
