//! `uniprof list`: the event sites of a guest, and which of them are on.
//!
//! ```text
//! $ uniprof list web 'kv.*'
//! ON   KIND   NAME      ARGUMENTS                   CLASS   AT
//! on   span   kv.get    key: unsigned               spans   src/workload/kv/worker.rs:58
//! off  event  kv.miss   key: unsigned, peer: text   events  src/workload/kv/worker.rs:77
//! ```

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::Serialize;
use uniprof_collector::dump::{self, OpenOptions};
use uniprof_postmortem::Evidence;
use uniprof_symbolizer::Image;
use uniprof_wire::pattern;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::guest::Target;
use crate::input::Input;
use crate::sites::{Site, Sites};
use crate::{bundled, options, output, profile};

const EXAMPLES: &str = "\
Examples:
  uniprof list web                              a running guest that `uniprof ls` lists; no ELF file is needed
  uniprof list web 'http.*,-http.raw'           those of these names
  uniprof list kernel.elf
  uniprof list bundled 'kv.*'
  uniprof list web --json | jq -r '.sites[] | select(.enabled).name'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest, an ELF file, `bundled`, a dump, or a recording
    #[arg(value_name = "TARGET|ELF|FILE")]
    input: String,
    /// Only sites of these names: patterns with commas between them
    #[arg(value_name = "PATTERNS", allow_hyphen_values = true)]
    patterns: Option<String>,
    /// Print a JSON document (schema uniprof.list/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    symbols: options::Symbols,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    /// Where the sites were read.
    from: From,
    sites: Vec<Row<'a>>,
}

/// Where sites were read.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum From {
    /// The guest's memory, or what it says of that over its serial port: it says what is on.
    Memory,
    /// An ELF file.
    Elf,
    /// The image of a recording's guest.
    Recording,
}

#[derive(Serialize)]
struct Row<'a> {
    id: u32,
    kind: &'static str,
    name: &'a str,
    class: &'static str,
    /// Of a call the last one is its result.
    args: Vec<Arg<'a>>,
    file: &'a str,
    line: u32,
    /// Null where only an image was read: that has all of them off.
    enabled: Option<bool>,
}

#[derive(Serialize)]
struct Arg<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'static str,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (from, sites) = read(args)?;
    let wanted = args.patterns.as_deref().unwrap_or("*");
    // Patterns that only exclude leave the others.
    let unsaid = wanted.split(',').all(|pattern| pattern.is_empty() || pattern.starts_with('-'));
    let shown = |site: &&Site| pattern::selects(wanted.as_bytes(), site.name.as_bytes()).unwrap_or(unsaid);
    let mut rows: Vec<Row<'_>> = sites.iter().filter(shown).map(|site| row(site, from)).collect();
    rows.sort_by_key(|row| (row.name, row.id));
    if rows.is_empty() && !sites.is_empty() {
        let mut names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(", ");
        return Err(Failure::error(
            Exit::Failed,
            format!("no event site is called {wanted}; there are {names}"),
        ));
    }
    if args.json {
        return output::json(&Document { schema: "uniprof.list/1", from, sites: rows });
    }
    if rows.is_empty() {
        output::say(format_args!(
            "uniprof: {} has no event sites: nothing in it calls event!, span! or their like",
            args.input
        ));
    }
    print(&rows)
}

fn read(args: &Args) -> anyhow::Result<(From, Sites)> {
    let failed = |why| Failure::error(Exit::Failed, why);
    if args.input == bundled::NAME {
        let image = Image::parse(bundled::elf()?)?;
        return Ok((From::Elf, Sites::of(std::iter::once(&image))));
    }
    match Input::choose(Some(&args.input))? {
        Input::Core(path) => {
            let evidence = Evidence::of_dump(dump::open(&path, &OpenOptions::default())?);
            Ok((From::Memory, Sites::of_evidence(&evidence).map_err(failed)?))
        }
        Input::Guest(name) => {
            let sites = match profile::find_guest(&name)? {
                Target::Ours(entry) => Sites::of_entry(&entry),
                process @ Target::Process(_) => Sites::of_guest(&process.open()?),
            };
            Ok((From::Memory, sites.map_err(failed)?))
        }
        Input::File(path) if is_elf(&path) => Ok((From::Elf, Sites::of_file(&path)?)),
        input => {
            let images = profile::find_images(&profile::head(&input)?, &args.symbols, &Config::load()?)?;
            let sites = Sites::of(images.symbolizers().map(|(_, symbolizer)| &**symbolizer.image()));
            Ok((From::Recording, sites))
        }
    }
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn row(site: &Site, from: From) -> Row<'_> {
    Row {
        id: site.id,
        kind: site.kind.name(),
        name: &site.name,
        class: site.class().name(),
        args: site.args.iter().map(|arg| Arg { name: &arg.name, ty: arg.ty.name() }).collect(),
        file: &site.file,
        line: site.line,
        enabled: (from == From::Memory).then_some(site.enabled),
    }
}

fn print(rows: &[Row<'_>]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let mut lines = vec![["ON", "KIND", "NAME", "ARGUMENTS", "CLASS", "AT"].map(str::to_owned)];
    for row in rows {
        let args: Vec<String> = row.args.iter().map(|arg| format!("{}: {}", arg.name, arg.ty)).collect();
        let on = match row.enabled {
            Some(true) => "on",
            Some(false) => "off",
            None => "?",
        };
        let at = format!("{}:{}", row.file, row.line);
        lines.push([on.into(), row.kind.into(), row.name.into(), args.join(", "), row.class.into(), at]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    output::table(&mut out, &lines)?;
    Ok(out.flush()?)
}
