//! `uniprof core FILE`: what killed a guest, on one screen.
//!
//! The analysis is `uniprof_postmortem::report`; here the rings are read for its last events, and it is printed.

use std::io::Write as _;
use std::path::Path;

use uniprof_postmortem::flight;
use uniprof_postmortem::report::{self, Loss, Report};
use uniprof_wire::ring::Source;

use super::report_text::Page;
use super::screen::Room;
use crate::command::trace::{self, Line};
use crate::exit::{Exit, Failure};
use crate::input::{Input, Recovered};
use crate::output::{self, Paint};
use crate::profile::Figures;
use crate::sites::Sites;
use crate::subject::{Opened, Seen};
use crate::{bundled, options};

const EXAMPLES: &str = "\
Examples:
  uniprof core report kv.core                   the same as `uniprof core kv.core`
  uniprof core report kv                        a running guest: is it well?
  uniprof core report kv.core --json | jq -r '.verdict.reason'";

/// Events that a report ends with.
const LAST: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Print a JSON document (schema uniprof.core/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

/// The same without a verb: then the file may be missing on the command line, for all that clap knows.
#[derive(Debug, clap::Args)]
pub(crate) struct Optional {
    /// A dump, or a running guest by name or pid
    #[arg(value_name = "FILE|TARGET")]
    input: Option<String>,
    /// What a pattern of the shell put behind it, or what follows a verb that there is none of.
    #[arg(hide = true)]
    more: Vec<String>,
    /// Print a JSON document (schema uniprof.core/1)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: options::Memory,
}

pub(crate) fn run_optional(args: &Optional) -> anyhow::Result<()> {
    let way_out = "name its file: `uniprof core FILE`; `uniprof core --help` lists what else can be asked";
    let input = args.input.as_deref();
    let input = input.ok_or_else(|| Failure::error(Exit::Usage, format!("which dump? {way_out}")))?;
    if let Some(last) = args.more.last() {
        let sentence = if Path::new(input).exists() {
            let count = args.more.len() + 1;
            format!(
                "{count} dumps were named, and a report is of one: `uniprof core {last}` is of the last of them"
            )
        } else {
            format!("`core` has no verb {input}; `uniprof core --help` lists those that there are")
        };
        return Err(Failure::error(Exit::Usage, sentence));
    }
    report(input, args.json, &args.memory)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    report(&args.input, args.json, &args.memory)
}

fn report(input: &str, json: bool, memory: &options::Memory) -> anyhow::Result<()> {
    let opened = Opened::open(&Input::choose(Some(input))?, memory)?;
    let (_, (report, lines)) = opened.look(|seen| {
        let mut report = report::examine(&mut seen.subject);
        let lines = add_past(seen, &mut report);
        Ok((report, lines))
    })?;
    if json {
        return output::json(&report);
    }
    let mut out = output::stdout();
    let events: Vec<String> = lines.iter().map(ToString::to_string).collect();
    // What was named here has to be named again.
    let kernel = memory.symbols.kernel.as_ref().filter(|kernel| *kernel != Path::new(bundled::NAME));
    let input = &match kernel {
        Some(kernel) => format!("{input} --kernel {}", kernel.display()),
        None => input.to_owned(),
    };
    let room = output::terminal().map(|(columns, rows)| Room { columns, rows });
    Page::new(Paint::of_stdout(), input, &events, room).print(&mut out, &report, room)?;
    Ok(out.flush()?)
}

/// Adds what the rings still hold: the last events, and the account of all others. That they can't be read is a remark.
fn add_past(seen: &Seen, report: &mut Report) -> Vec<Line> {
    let subject = &seen.subject;
    let Ok(region) = &subject.region else { return Vec::new() };
    let recovered = flight::recording(&subject.memory, region, subject.facts.as_ref(), Source::Dead);
    let told = recovered.map_err(anyhow::Error::from).and_then(|bytes| {
        let input = Input::Recovered(Recovered { stem: String::new(), bytes: bytes.into() });
        let mut sites = Sites::of(subject.program.images().iter().map(|loaded| &*loaded.image));
        if sites.is_empty() {
            // Then they have numbers for names.
            sites = Sites::of_memory(&subject.space, region.found.header.sites).unwrap_or_default();
        }
        trace::tail(&input, &sites, LAST)
    });
    match told {
        Ok((lines, figures)) => {
            report.events = lines.iter().filter_map(|line| serde_json::to_value(line).ok()).collect();
            report.loss = Some(loss(&figures));
            report.remarks.extend(figures.notes);
            lines
        }
        Err(why) => {
            report.remarks.push(format!("the last events are not known: {why}"));
            Vec::new()
        }
    }
}

fn loss(figures: &Figures) -> Loss {
    let mut loss = Loss::default();
    for vcpu in figures.vcpus.values() {
        let all = vcpu.all();
        loss.emitted += all.emitted();
        loss.recovered += all.received;
        for (cause, count) in all.causes() {
            *loss.lost_by.entry(cause.to_owned()).or_default() += count;
        }
    }
    loss
}
