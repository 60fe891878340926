//! `uniprof ps`: the threads of a dump, of a running guest, or of a recording at its end.
//!
//! ```text
//! $ uniprof ps kv
//! ID  NAME  STATE    VCPU  CPU TIME  SHARE   SINCE    WAITS FOR                       IN
//! 1   main  blocked  0     0.006 s   0.2 %   2.922 s  the end of a thread (thread 2)  uniprof_sample_kernel::workload::kv::run
//! 2   kv-0  running  0     2.454 s   83.9 %  0.004 s                                  uniprof_sample_kernel::sched::run::make_runnable
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use uniprof_collector::recording::{Body, Item};
use uniprof_collector::tables::Tables;
use uniprof_postmortem::stacks::{self, Owner};
use uniprof_postmortem::{Region, locks, verdict};
use uniprof_wire::tables::{Slot, ThreadEntry, ThreadState};

use super::fit;
use super::shares::Shares;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::profile::{self, Source};
use crate::subject::Opened;
use crate::{options, output};

const EXAMPLES: &str = "\
Examples:
  uniprof ps kv                                 a running guest, not paused; shares are of half a second
  uniprof ps r.uniprof                          at the end of a recording
  uniprof core ps kv.core --json | jq -r '.threads[] | select(.state == \"blocked\").name'";

/// Shares of a running guest are of so much time.
const INTERVAL: Duration = Duration::from_millis(500);
/// Characters of a name on a terminal.
const MOST_NAME: usize = 40;

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
    #[command(flatten)]
    memory: options::Memory,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    guest: String,
    /// From the guest's boot to its last sign of life.
    up_seconds: Option<f64>,
    /// The time that shares are of; null: since boot.
    interval_seconds: Option<f64>,
    /// vCPUs that have come up: with the share of idling, what all shares add up to.
    vcpus: usize,
    idle_share: Option<f64>,
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
    /// Of one vCPU's time, 0 to 1: since boot, or in the interval.
    cpu_share: Option<f64>,
    /// What it waits for, and who holds that; null where it does not wait or that is not known.
    waits_for: Option<String>,
    held_by: Option<u32>,
    /// The innermost function that is not the scheduler's; null where only tables are known.
    function: Option<String>,
    /// How long it has been in this state.
    since_seconds: Option<f64>,
    /// Whether the guest was writing the entry when it was read.
    torn: bool,
}

/// What memory tells of a thread, besides its table.
struct Doing {
    waits_for: Option<(String, Option<u32>)>,
    function: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = Input::choose(Some(&args.input))?;
    let earlier = match &input {
        Input::Guest(name) => Some(earlier(name)?),
        _ => None,
    };
    let (tables, doing) = match &input {
        Input::Core(_) | Input::Guest(_) => of_memory(&input, args)?,
        Input::File(_) if args.memory.dump.is_raw() => of_memory(&input, args)?,
        _ => (last_of_recording(Source::open(&input)?)?, BTreeMap::new()),
    };
    let document = document(&tables, earlier.as_ref(), &doing, args.all);
    if args.json { output::json(&document) } else { print(&document) }
}

/// The tables of a running guest, a while ago.
fn earlier(name: &str) -> anyhow::Result<Tables> {
    let memory = profile::find_guest(name)?.region_memory()?;
    let region = Region::find(&*memory, None).map_err(no_threads)?;
    std::thread::sleep(INTERVAL);
    Ok(region.tables)
}

fn no_threads(why: String) -> anyhow::Error {
    Failure::error(Exit::Failed, format!("no threads are known: {why}"))
}

/// A running guest runs on: of threads that don't run the stacks are still, and those that do are where they are.
fn of_memory(input: &Input, args: &Args) -> anyhow::Result<(Tables, BTreeMap<u32, Doing>)> {
    let mut seen = Opened::open(input, &args.memory)?.glance();
    let tables = match &seen.subject.region {
        Ok(region) => region.tables.clone(),
        Err(why) => return Err(no_threads(why.clone())),
    };
    let stacks = stacks::of(&mut seen.subject);
    let locks = locks::of(&seen.subject, &stacks);
    let doing = stacks.iter().filter_map(|stack| {
        let Owner::Thread(id) = stack.owner else { return None };
        let wait = locks.waits.iter().find(|wait| wait.thread == id);
        let frame = verdict::doing(&stack.frames);
        let function = frame.and_then(|frame| frame.function.as_deref()).map(str::to_owned);
        Some((id, Doing { waits_for: wait.map(|wait| (wait.what(), wait.holder)), function }))
    });
    Ok((tables, doing.collect()))
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

fn document(tables: &Tables, earlier: Option<&Tables>, doing: &BTreeMap<u32, Doing>, all: bool) -> Document {
    // A guest that has booted anew meanwhile has no earlier.
    let earlier = earlier.filter(|earlier| earlier.header.boot_id == tables.header.boot_id);
    let shares = Shares::between(earlier, tables);
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
            let doing = doing.get(&entry.id);
            let (waits_for, held_by) = doing.and_then(|doing| doing.waits_for.clone()).unzip();
            Thread {
                id: entry.id,
                name: String::from_utf8_lossy(entry.name.bytes()).into_owned(),
                state: state_name(entry.state),
                vcpu: entry.vcpu,
                cpu_seconds: cpu,
                cpu_share: shares.as_ref().and_then(|shares| Some(shares.of(entry.id)?.min(1.0))),
                waits_for,
                held_by: held_by.flatten(),
                function: doing.and_then(|doing| doing.function.clone()),
                since_seconds: seconds(in_state),
                torn,
            }
        })
        .collect();
    threads.sort_by_key(|thread| thread.id);
    let guest = String::from_utf8_lossy(header.name.bytes()).into_owned();
    Document {
        schema: "uniprof.ps/1",
        guest,
        up_seconds: up,
        interval_seconds: earlier.and(shares.as_ref()).and_then(|shares| seconds(shares.ticks as u64)),
        vcpus: tables.vcpus.iter().filter(|vcpu| vcpu.online != 0).count(),
        idle_share: shares.as_ref().map(|shares| shares.idle),
        threads,
    }
}

/// A state, for people.
pub(crate) fn state_name(state: ThreadState) -> &'static str {
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
    let mut rows = vec![
        ["ID", "NAME", "STATE", "VCPU", "CPU TIME", "SHARE", "SINCE", "WAITS FOR", "IN"].map(str::to_owned),
    ];
    // On a terminal a thread should have a line of its own.
    let room = if fit::width() == usize::MAX { usize::MAX } else { MOST_NAME };
    let seconds = |value: Option<f64>| value.map_or_else(|| "?".into(), |value| format!("{value:.3} s"));
    for thread in &document.threads {
        rows.push([
            thread.id.to_string(),
            thread.name.clone(),
            format!("{}{}", thread.state, if thread.torn { " (torn)" } else { "" }),
            thread.vcpu.to_string(),
            seconds(thread.cpu_seconds),
            thread.cpu_share.map_or_else(|| "?".into(), |share| format!("{:.1} %", share * 100.0)),
            seconds(thread.since_seconds),
            fit::what(&waits_for(thread), room),
            fit::name(thread.function.as_deref().unwrap_or_default(), room),
        ]);
    }
    output::table(&mut out, &rows)?;
    Ok(out.flush()?)
}

fn waits_for(thread: &Thread) -> String {
    let what = thread.waits_for.clone().unwrap_or_default();
    // Whose end is waited for says so itself.
    match thread.held_by.map(|id| format!("thread {id}")) {
        Some(holder) if !what.contains(&holder) => format!("{what}, held by {holder}"),
        _ => what,
    }
}
