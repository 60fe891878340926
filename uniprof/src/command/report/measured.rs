//! The report of what is not on the CPU: stacks with the time that they were blocked, or the bytes that they allocated.
//!
//! ```text
//! $ uniprof report waits.uniprof --off-cpu --top 2
//! ```

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use serde::Serialize;
use uniprof_flamegraph::{Amount, FrameId, Kind, Leaf, Measure, Profile, Unit};

use super::{Args, print_tree};
use crate::output;
use crate::profile::{self, Named, RunQueue, View};

/// Functions of a stack that fit into a line.
const SHOWN_FRAMES: usize = 4;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    view: &'static str,
    guest: &'a str,
    seconds: f64,
    emulated: bool,
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
    /// The thread whose time, or whose block, it is.
    thread: u32,
    thread_name: String,
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
    all: Amount,
    by_note: BTreeMap<&'a str, Amount>,
}

/// The stacks, the heaviest first. Where all that differs is what is said at the end, they are one.
fn stacks(named: &Named, shown: &Profile) -> Vec<Stack> {
    let mut groups: HashMap<(u32, Vec<FrameId>), Sum<'_>> = HashMap::new();
    for leaf in shown.leaves() {
        let (frames, note) = without_last_note(shown, leaf);
        let sum = groups.entry((leaf.owner.thread, frames)).or_default();
        sum.all += leaf.amount;
        if let Some(note) = note {
            *sum.by_note.entry(note).or_default() += leaf.amount;
        }
    }
    let groups = groups.into_iter();
    let mut stacks: Vec<Stack> =
        groups.map(|((thread, frames), sum)| Stack::new(named, shown, thread, &frames, sum)).collect();
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
    for thread in threads(named, shown) {
        rows.push([unit.short(thread.weight), thread.count.to_string(), thread.name]);
    }
    writeln!(out)?;
    output::table(out, &rows)?;
    Ok(())
}

impl Stack {
    fn new(named: &Named, shown: &Profile, thread: u32, frames: &[FrameId], sum: Sum<'_>) -> Self {
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
            thread,
            thread_name: named.figures.thread(thread),
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
        [self.thread_name.clone(), innermost(self.frames.get(1..).unwrap_or_default()), ended, String::new()]
    }

    /// Holder, where it released the lock, waiter, where it waited.
    fn of_lock(&self) -> [String; 4] {
        let note = self.note.unwrap_or(self.frames.len());
        let held = innermost(self.frames.get(1..note).unwrap_or_default());
        let waits = innermost(self.frames.get(note + 1..).unwrap_or_default());
        [self.frames.first().cloned().unwrap_or_default(), held, self.thread_name.clone(), waits]
    }
}

/// The innermost functions of a stack.
fn innermost(functions: &[String]) -> String {
    let mut text: Vec<&str> = functions.iter().rev().take(SHOWN_FRAMES).map(String::as_str).collect();
    if functions.len() > SHOWN_FRAMES {
        text.push("…");
    }
    text.join(" < ")
}
