//! The report of what is not on the CPU: stacks with the time that they were blocked, or the bytes that they allocated.
//!
//! ```text
//! $ uniprof report waits.uniprof --off-cpu --top 3
//! uniprof-sample-kernel: 39.9 s blocked time in 2,387 waits over 5.05 s
//! no record lost
//! profiler's own cost 0.41 % of vCPU time
//! then waiting for a CPU (in no width): mean 23.4 µs, p99 107 µs
//! …
//! BLOCKED     SHARE  WAITS  THREAD   WAITS AT (innermost first)                                                          ENDED BY
//! 5.00 s    12.51 %  246    sleeper  sleep::sleep_until < sleep::sleep < waits_sleep::{{closure}} < Sum::add < …         an interrupt
//! 4.99 s    12.48 %  326    reader   WaitQueue::wait_until < waits_event::{{closure}} < Sum::add < waits_event < …       writer
//! 4.21 s    10.53 %  141    clerk    WaitQueue::wait_until < Mutex<T>::wait_for_holder < Mutex<T>::lock < waits_lock < … auditor
//! ```

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use serde::Serialize;
use uniprof_flamegraph::{Amount, FrameId, Kind, Leaf, Measure, Profile, Unit};

use super::{Args, print_tree};
use crate::output;
use crate::profile::{self, Named, RunQueue, View};

/// Functions of a stack that fit into a line.
const SHOWN_FRAMES: usize = 5;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    view: &'static str,
    guest: &'a str,
    seconds: f64,
    emulated: bool,
    /// Ticks of the guest's clock in a second.
    tsc_hz: u64,
    /// In what `weight` is: nanoseconds or bytes.
    unit: &'static str,
    /// Of all stacks.
    weight: u64,
    count: u64,
    named_share: f64,
    stacks: Vec<Stack>,
    functions: Vec<Function>,
    threads: Vec<Thread>,
    /// For how long threads that were ready then waited for a CPU; `null` where that is not known.
    run_queue: Option<RunQueue>,
    still_waiting: u64,
    began_before: u64,
    lost_stacks: u64,
    lost_ends: u64,
    disordered: u64,
    /// Records of the view's class, and what of them was lost.
    records_emitted: u64,
    records_lost: u64,
    notes: Vec<String>,
}

/// A stack, without what is said at its end.
#[derive(Serialize)]
struct Stack {
    /// From the root, which is the thread, to the innermost function, as in folded text.
    frames: Vec<String>,
    weight: u64,
    unit: &'static str,
    count: u64,
    /// The name of the thread whose time, or whose block, it is; threads of one name and stack are one.
    thread: String,
    /// What is said of parts of it, such as who ended the wait.
    ended_by: Vec<Ended>,
    /// Where in the frames something is said that is no code.
    #[serde(skip)]
    note: Option<usize>,
}

#[derive(Serialize)]
struct Ended {
    name: String,
    weight: u64,
    count: u64,
}

#[derive(Serialize)]
struct Function {
    name: String,
    #[serde(rename = "self")]
    own: u64,
    total: u64,
    file: Option<String>,
}

#[derive(Serialize)]
struct Thread {
    id: u32,
    name: String,
    weight: u64,
    count: u64,
}

pub(super) fn document<'a>(named: &'a Named, shown: &Profile) -> Document<'a> {
    let Named { figures, view, aside, .. } = named;
    let total = shown.total();
    let class = figures.class(view.class());
    Document {
        schema: "uniprof.measured/1",
        view: view.name(),
        guest: &figures.session.guest,
        seconds: figures.seconds,
        emulated: figures.is_emulated(),
        tsc_hz: figures.tsc_hz,
        unit: shown.measured().unit().name(),
        weight: total.weight,
        count: total.samples,
        named_share: profile::named_share(shown),
        stacks: stacks(named, shown),
        functions: shown.functions(Measure::Weight).into_iter().map(Function::new).collect(),
        threads: threads(named, shown),
        run_queue: aside.run_queue(figures),
        still_waiting: aside.still_waiting,
        began_before: aside.clipped,
        lost_stacks: aside.unpaired.lost_stacks,
        lost_ends: aside.unpaired.lost_ends,
        disordered: aside.unpaired.disordered,
        records_emitted: class.emitted(),
        records_lost: class.lost(),
        notes: profile::title(named, shown).notes,
    }
}

impl Function {
    fn new(function: uniprof_flamegraph::Function) -> Self {
        let (own, total) = (function.own.weight, function.total.weight);
        Self { name: function.name, own, total, file: function.file }
    }
}

/// What was measured in a stack, and in what it ends.
#[derive(Default)]
struct Sum<'a> {
    /// One of those that it was measured in.
    thread: u32,
    all: Amount,
    by_note: BTreeMap<&'a str, Amount>,
}

/// The stacks, the heaviest first. Where all that differs is what is said at the end, they are one.
fn stacks(named: &Named, shown: &Profile) -> Vec<Stack> {
    let mut groups: HashMap<Vec<FrameId>, Sum<'_>> = HashMap::new();
    for leaf in shown.leaves() {
        let (frames, note) = without_last_note(shown, leaf);
        let sum = groups.entry(frames).or_default();
        sum.thread = leaf.owner.thread;
        sum.all += leaf.amount;
        if let Some(note) = note {
            *sum.by_note.entry(note).or_default() += leaf.amount;
        }
    }
    let groups = groups.into_iter();
    let mut stacks: Vec<Stack> = groups.map(|(frames, sum)| Stack::new(named, shown, &frames, sum)).collect();
    stacks
        .sort_by(|a, b| (b.weight, b.count).cmp(&(a.weight, a.count)).then_with(|| a.frames.cmp(&b.frames)));
    stacks
}

/// The frames from the root on, and the note that they end in.
fn without_last_note<'a>(shown: &'a Profile, leaf: &Leaf) -> (Vec<FrameId>, Option<&'a str>) {
    let mut frames: Vec<FrameId> = shown.stack(leaf.stack).collect();
    frames.reverse();
    let last = frames.last().map(|id| shown.frame(*id)).filter(|frame| frame.kind == Kind::Note);
    let note = last.map(|frame| frame.name);
    if note.is_some() {
        frames.pop();
    }
    (frames, note)
}

fn threads(named: &Named, shown: &Profile) -> Vec<Thread> {
    let mut sums = BTreeMap::<u32, Amount>::new();
    for (owner, amount) in shown.owners() {
        *sums.entry(owner.thread).or_default() += amount;
    }
    let row = |(id, amount): (u32, Amount)| Thread {
        id,
        name: named.figures.thread(id),
        weight: amount.weight,
        count: amount.samples,
    };
    let mut threads: Vec<Thread> = sums.into_iter().map(row).collect();
    threads.sort_by_key(|thread| (std::cmp::Reverse(thread.weight), thread.id));
    threads
}

pub(super) fn print(out: &mut impl Write, named: &Named, shown: &Profile, args: &Args) -> anyhow::Result<()> {
    let title = profile::title(named, shown);
    writeln!(out, "{}", title.heading())?;
    writeln!(out, "{}", title.details().replace(" · ", "\n"))?;
    let (unit, all) = (shown.measured().unit(), shown.total().weight);
    let percent = |part: u64| format!("{:>6.2} %", part as f64 * 100.0 / all.max(1) as f64);
    let stacks = stacks(named, shown);
    let weight = match named.view {
        View::Cpu | View::OffCpu | View::Wakeups => "BLOCKED",
        View::Locks => "WAITED",
        View::LiveHeap => "LIVE",
        View::AllocatedHeap => "ALLOCATED",
    };
    let count = if unit == Unit::Bytes { "SAMPLED" } else { "WAITS" };
    let last = match named.view {
        View::Locks => ["HOLDER", "HELD AT (innermost first)", "WAITER", "WAITS AT"],
        View::LiveHeap | View::AllocatedHeap => ["THREAD", "ALLOCATED AT (innermost first)", "", ""],
        _ => ["THREAD", "WAITS AT (innermost first)", "ENDED BY", ""],
    };
    let mut rows = vec![[weight, "   SHARE", count, last[0], last[1], last[2], last[3]].map(str::to_owned)];
    rows.extend(stacks.iter().take(args.top).map(|stack| {
        let [a, b, c, d] = if named.view == View::Locks { stack.of_lock() } else { stack.of_thread() };
        [unit.short(stack.weight), percent(stack.weight), stack.count.to_string(), a, b, c, d]
    }));
    writeln!(out)?;
    output::table(out, &rows)?;
    if stacks.len() > args.top {
        writeln!(out, "… and {} more (--top N)", stacks.len() - args.top)?;
    }
    if args.tree {
        writeln!(out)?;
        print_tree(out, shown, percent)?;
    }
    let mut rows = vec![[weight, count, "THREAD"].map(str::to_owned)];
    let threads = threads(named, shown);
    rows.extend(
        threads
            .iter()
            .take(args.top)
            .map(|thread| [unit.short(thread.weight), thread.count.to_string(), thread.name.clone()]),
    );
    writeln!(out)?;
    output::table(out, &rows)?;
    if threads.len() > args.top {
        writeln!(out, "… and {} more (--top N)", threads.len() - args.top)?;
    }
    Ok(())
}

impl Stack {
    fn new(named: &Named, shown: &Profile, frames: &[FrameId], sum: Sum<'_>) -> Self {
        let ended = |(note, amount): (&str, Amount)| Ended {
            name: note.trim_matches(['[', ']']).to_owned(),
            weight: amount.weight,
            count: amount.samples,
        };
        let mut ended_by: Vec<Ended> = sum.by_note.into_iter().map(ended).collect();
        ended_by.sort_by_key(|ended| std::cmp::Reverse(ended.weight));
        Self {
            frames: frames.iter().map(|id| shown.frame(*id).name.to_owned()).collect(),
            weight: sum.all.weight,
            unit: shown.measured().unit().name(),
            count: sum.all.samples,
            thread: named.figures.thread(sum.thread),
            ended_by,
            note: frames.iter().position(|id| shown.frame(*id).kind == Kind::Note),
        }
    }

    /// Thread, where, and who ended it.
    fn of_thread(&self) -> [String; 4] {
        let more = self.ended_by.len().saturating_sub(1);
        let others = if more > 0 { format!(" (and {more} others)") } else { String::new() };
        let first = self.ended_by.first().map(|ended| ended.name.trim_start_matches("woken by "));
        let ended = first.map(|name| format!("{name}{others}")).unwrap_or_default();
        [self.thread.clone(), innermost(self.frames.get(1..).unwrap_or_default()), ended, String::new()]
    }

    /// Holder, where it released the lock, waiter, where it waited.
    fn of_lock(&self) -> [String; 4] {
        let note = self.note.unwrap_or(self.frames.len());
        let held = innermost(self.frames.get(1..note).unwrap_or_default());
        let waits = innermost(self.frames.get(note + 1..).unwrap_or_default());
        [self.frames.first().cloned().unwrap_or_default(), held, self.thread.clone(), waits]
    }
}

/// The innermost functions of a stack, in short; those that switch threads, and the probes themselves, are in all of them.
fn innermost(functions: &[String]) -> String {
    let own =
        || functions.iter().rev().skip_while(|name| is_machinery(name)).filter(|name| !is_library(name));
    // A stack that is nothing else is shown as it is.
    let shown: Vec<&String> =
        if own().next().is_some() { own().collect() } else { functions.iter().rev().collect() };
    let mut text: Vec<String> = shown.iter().take(SHOWN_FRAMES).map(|name| short(name)).collect();
    if shown.len() > SHOWN_FRAMES {
        text.push("…".into());
    }
    text.join(" < ")
}

fn is_machinery(name: &str) -> bool {
    let last = name.rsplit("::").next().unwrap_or(name);
    name.starts_with("uniprof_probes::")
        || matches!(last, "switch_away" | "switch_to" | "schedule" | "context_switch")
}

/// Whether it is a function of Rust's own libraries, of which a stack has many.
fn is_library(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    ["core::", "alloc::", "std::"].iter().any(|start| name.starts_with(start)) || name.contains(" as core::")
}

/// The last two parts of a path; brackets hold paths of their own.
fn short(name: &str) -> String {
    let (mut depth, mut parts) = (0_i32, 0);
    let bytes = name.as_bytes();
    for at in (1..bytes.len()).rev() {
        match bytes[at] {
            b'>' | b')' | b'}' | b']' => depth += 1,
            b'<' | b'(' | b'{' | b'[' => depth -= 1,
            b':' if depth == 0 && bytes[at - 1] == b':' => {
                parts += 1;
                if parts == 2 {
                    return name[at + 1..].to_owned();
                }
            }
            _ => {}
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_shown_from_the_function_that_waits() {
        let stack =
            ["thread_entry", "k::waits::waits_sleep", "k::sched::sleep", "k::sched::run::switch_away"];
        let stack = stack.map(str::to_owned);
        assert_eq!(innermost(&stack), "sched::sleep < waits::waits_sleep < thread_entry");
        assert_eq!(innermost(&stack[3..]), "run::switch_away");
    }

    #[test]
    fn names_keep_their_last_two_parts() {
        assert_eq!(short("a::b::c::d"), "c::d");
        assert_eq!(short("a::Mutex<b::c::T>::lock"), "Mutex<b::c::T>::lock");
        assert_eq!(short("<a::b as c::d>::drop"), "<a::b as c::d>::drop");
        assert_eq!(short("waits::{{closure}}"), "waits::{{closure}}");
        assert_eq!(short("main"), "main");
    }
}
