//! `uniprof ps`: the threads of a dump, of a running guest, or of a recording at its end.
//!
//! ```text
//! $ uniprof ps kv.core
//! ID  STATE    VCPU  CPU TIME  SHARE   SINCE  WAITS FOR  NAME
//! 1   blocked  0     0.004 s   0.1 %   2.1 s             main
//! 2   running  0     1.902 s   48.9 %  0.0 s             kv-0
//! ```

use std::io::Write as _;
use std::sync::Arc;

use serde::Serialize;
use uniprof_collector::dump::{self, OpenOptions};
use uniprof_collector::recording::{Body, Item};
use uniprof_collector::tables::Tables;
use uniprof_postmortem::{Evidence, Region};
use uniprof_wire::tables::{Slot, ThreadEntry, ThreadState};

use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::output;
use crate::profile::{self, Source};

const EXAMPLES: &str = "\
Examples:
  uniprof ps kv                                 a running guest that `uniprof ls` lists; it is not paused
  uniprof ps r.uniprof                          at the end of a recording
  uniprof core ps kv.core --json | jq -r '.threads[] | select(.state == \"blocked\").name'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A dump, a running guest, a recording, or `sample`
    #[arg(value_name = "FILE|TARGET")]
    input: String,
    /// Threads that have ended, too
    #[arg(long)]
    all: bool,
    /// Print a JSON document (schema uniprof.ps/1)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    guest: String,
    /// From the guest's boot to its last sign of life.
    up_seconds: Option<f64>,
    threads: Vec<Thread>,
}

#[derive(Serialize)]
struct Thread {
    id: u32,
    name: String,
    state: &'static str,
    /// Where it runs, or last ran.
    vcpu: u16,
    cpu_seconds: Option<f64>,
    /// Of the time since boot, 0 to 1.
    cpu_share: Option<f64>,
    /// How long it has been in this state.
    since_seconds: Option<f64>,
    /// Whether the guest was writing the entry when it was read.
    torn: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let tables = tables(&Input::choose(Some(&args.input))?)?;
    let document = document(&tables, args.all);
    if args.json { output::json(&document) } else { print(&document) }
}

/// The tables of the region, wherever it is. Nothing but them is needed, so a running guest runs on.
fn tables(input: &Input) -> anyhow::Result<Tables> {
    let of_region = |region: Result<Region, String>| {
        let no_threads = |why| Failure::error(Exit::Failed, format!("no threads are known: {why}"));
        region.map(|region| region.tables).map_err(no_threads)
    };
    match input {
        Input::Core(path) => of_region(Evidence::of_dump(dump::open(path, &OpenOptions::default())?).region),
        Input::Guest(name) => {
            let entry = profile::find_guest(name)?;
            let memory: Arc<dyn uniprof_collector::memory::GuestMemory> = Arc::from(entry.open_memory()?);
            of_region(Region::find(&*memory, None))
        }
        _ => last_of_recording(Source::open(input)?),
    }
}

fn last_of_recording(mut source: Source) -> anyhow::Result<Tables> {
    let mut last = None;
    while let Some(item) = source.next()? {
        if let Item::Message(message) = item
            && let Body::Region { bytes, .. } = &message.body
        {
            last = Tables::parse(bytes).ok().or(last);
        }
    }
    last.ok_or_else(|| Failure::error(Exit::Failed, "the recording holds no copy of the guest's tables"))
}

fn document(tables: &Tables, all: bool) -> Document {
    let header = &tables.header;
    let now = tables.vcpus.iter().map(|vcpu| vcpu.heartbeat).max().unwrap_or(0);
    let seconds = |ticks: u64| (header.tsc_hz > 0).then(|| ticks as f64 / header.tsc_hz as f64);
    let up = seconds(now.saturating_sub(header.boot_tsc));
    let shown = |entry: &ThreadEntry| all || entry.state != ThreadState::Exited;
    let slots = tables.threads.iter().map(|slot| (matches!(slot, Slot::Torn(_)), slot.entry()));
    let entries = slots.filter_map(|(torn, entry)| Some((torn, entry.filter(shown)?)));
    let mut threads: Vec<Thread> = entries
        .map(|(torn, entry)| {
            let in_state = now.saturating_sub(entry.since);
            // What it has run since it was last switched in is not in its account yet.
            let ran = if entry.state == ThreadState::Running { in_state } else { 0 };
            let cpu = seconds(entry.cpu_time.saturating_add(ran));
            Thread {
                id: entry.id,
                name: String::from_utf8_lossy(entry.name.bytes()).into_owned(),
                state: state_name(entry.state),
                vcpu: entry.vcpu,
                cpu_seconds: cpu,
                cpu_share: cpu.zip(up).filter(|(_, up)| *up > 0.0).map(|(cpu, up)| (cpu / up).min(1.0)),
                since_seconds: seconds(in_state),
                torn,
            }
        })
        .collect();
    threads.sort_by_key(|thread| thread.id);
    let guest = String::from_utf8_lossy(header.name.bytes()).into_owned();
    Document { schema: "uniprof.ps/1", guest, up_seconds: up, threads }
}

/// A state, for people.
pub(super) fn state_name(state: ThreadState) -> &'static str {
    match state {
        ThreadState::Ready => "ready",
        ThreadState::Running => "running",
        ThreadState::Blocked => "blocked",
        ThreadState::Sleeping => "sleeping",
        ThreadState::Exited => "exited",
    }
}

fn print(document: &Document) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let mut rows = vec![["ID", "STATE", "VCPU", "CPU TIME", "SHARE", "SINCE", "NAME"].map(str::to_owned)];
    let seconds = |value: Option<f64>| value.map_or_else(|| "?".into(), |value| format!("{value:.3} s"));
    for thread in &document.threads {
        rows.push([
            thread.id.to_string(),
            format!("{}{}", thread.state, if thread.torn { " (torn)" } else { "" }),
            thread.vcpu.to_string(),
            seconds(thread.cpu_seconds),
            thread.cpu_share.map_or_else(|| "?".into(), |share| format!("{:.1} %", share * 100.0)),
            seconds(thread.since_seconds),
            thread.name.clone(),
        ]);
    }
    output::table(&mut out, &rows)?;
    Ok(out.flush()?)
}
