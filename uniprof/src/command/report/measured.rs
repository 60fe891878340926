//! The report of what is not on the CPU: stacks with the time that they were blocked, or the bytes that they allocated.
//!
//! ```text
//! $ uniprof report waits.uniprof --off-cpu --top 3
//! uniprof-sample-kernel: 23.9 s blocked time in 1,288 waits over 3.07 s
//! no record lost
//! profiler's own cost 0.39 % of vCPU time
//! emulated CPU (TCG): timings are not the processor's
//! from wake-up to CPU (in no width): mean 31.7 µs, p99 196 µs
//! build-id 053bbd7439e8232d7262510aacd8ad60133ca1c8
//! of 24.1 s of the threads' time 96.2 ms (0.4 %) running, 23.9 s (99.3 %) blocked, 78.5 ms (0.3 %) ready and waiting for a CPU
//!
//! BLOCKED     SHARE  WAITS  THREAD  WAITS AT (innermost first)                                                                    ENDED BY
//! 3.00 s    12.54 %  181    writer  sleep::sleep_until < sleep::sleep < waits::write_mail < waits::until_over < run::{{closure}} < …  an interrupt
//! 3.00 s    12.51 %  1      main    WaitQueue::wait_until < JoinHandle::join < workload::join_all < waits::run < workload::run < …    sleeper
//! 2.98 s    12.44 %  179    reader  WaitQueue::wait_until < waits_event::{{closure}} < Sum::add < waits_event < waits::repeat < …     writer
//! … and 13 more (--top N)
//!
//! BLOCKED  WAITS  RAN      READY    LIFE    THREAD
//! 3.03 s   5      8.10 ms  1.02 ms  3.04 s  main
//! 3.01 s   160    11.3 ms  4.41 ms  3.03 s  auditor
//! 3.00 s   181    24.0 ms  6.13 ms  3.03 s  writer
//! … and 5 more (--top N)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use serde::Serialize;
use uniprof_flamegraph::{Amount, FrameId, Kind, Leaf, Measure, Profile, Unit};

use super::names::{elided, innermost};
use super::{Args, print_tree};
use crate::output;
use crate::profile::{self, Life, Named, RunQueue, View};

/// Characters of a stack where the terminal does not say how many there is room for.
const WIDE: usize = 120;
/// Fewer say too little of it.
const NARROW: usize = 30;

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
    /// For how long threads that had been woken then waited for a CPU; `null` where that is not known.
    run_queue: Option<RunQueue>,
    /// What the time of all these threads was made of; `null` where switches were not recorded.
    time: Option<Time>,
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
    /// What its time was made of; `null` where switches were not recorded.
    time: Option<Time>,
}

/// What the time of threads was made of, in nanoseconds.
#[derive(Clone, Copy, Default, Serialize)]
struct Time {
    running_ns: u64,
    blocked_ns: u64,
    /// Ready, and waiting for a CPU: preempted, woken, or just started.
    runnable_ns: u64,
    /// From their start, or that of the recording, to their end.
    life_ns: u64,
}

pub(super) fn document<'a>(named: &'a Named, shown: &Profile) -> Document<'a> {
    let Named { figures, view, aside, .. } = named;
    let total = shown.total();
    let class = figures.class(view.class());
    let threads = threads(named, shown);
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
        time: Time::of_all(&threads),
        threads,
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

/// The threads that waited or allocated. Where all were asked for, those that only ran are among them.
fn threads(named: &Named, shown: &Profile) -> Vec<Thread> {
    let mut sums = BTreeMap::<u32, Amount>::new();
    for (owner, amount) in shown.owners() {
        *sums.entry(owner.thread).or_default() += amount;
    }
    let lives = named.aside.lives.as_ref();
    if shown.total() == named.profile.total() {
        for thread in lives.iter().flat_map(|lives| lives.keys()) {
            sums.entry(*thread).or_default();
        }
    }
    let row = |(id, amount): (u32, Amount)| Thread {
        id,
        name: named.figures.thread(id),
        weight: amount.weight,
        count: amount.samples,
        time: lives.map(|lives| {
            let Life { running, runnable, all } = lives.get(&id).copied().unwrap_or_default();
            let ns = |ticks| named.figures.nanoseconds(ticks).unwrap_or(0);
            let [running_ns, runnable_ns, life_ns] = [running, runnable, all].map(ns);
            Time { running_ns, blocked_ns: amount.weight, runnable_ns, life_ns }
        }),
    };
    let mut threads: Vec<Thread> = sums.into_iter().map(row).collect();
    threads.sort_by_key(|thread| (std::cmp::Reverse(thread.weight), thread.id));
    threads
}

impl Time {
    /// That of several threads; `None` where it is not known.
    fn of_all<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> Option<Self> {
        let add = |sum: Self, time: Self| Self {
            running_ns: sum.running_ns.saturating_add(time.running_ns),
            blocked_ns: sum.blocked_ns.saturating_add(time.blocked_ns),
            runnable_ns: sum.runnable_ns.saturating_add(time.runnable_ns),
            life_ns: sum.life_ns.saturating_add(time.life_ns),
        };
        threads.into_iter().filter_map(|thread| thread.time).reduce(add)
    }

    /// A line for people.
    fn sentence(self) -> String {
        let Self { running_ns, blocked_ns, runnable_ns, life_ns } = self;
        let part = |ns: u64| {
            let share = ns as f64 * 100.0 / life_ns.max(1) as f64;
            format!("{} ({share:.1} %)", Unit::Nanoseconds.short(ns))
        };
        format!(
            "of {} of the threads' time {} running, {} blocked, {} ready and waiting for a CPU",
            Unit::Nanoseconds.short(life_ns),
            part(running_ns),
            part(blocked_ns),
            part(runnable_ns)
        )
    }
}

pub(super) fn print(out: &mut impl Write, named: &Named, shown: &Profile, args: &Args) -> anyhow::Result<()> {
    let title = profile::title(named, shown);
    let threads = threads(named, shown);
    writeln!(out, "{}", title.heading())?;
    writeln!(out, "{}", title.details().replace(" · ", "\n"))?;
    if let Some(time) = Time::of_all(&threads) {
        writeln!(out, "{}", time.sentence())?;
    }
    let all = shown.total().weight;
    let percent = |part: u64| format!("{:>6.2} %", part as f64 * 100.0 / all.max(1) as f64);
    writeln!(out)?;
    print_stacks(out, named, shown, args, percent)?;
    if args.tree {
        writeln!(out)?;
        print_tree(out, shown, percent)?;
    }
    writeln!(out)?;
    print_threads(out, named, shown, &threads, args)
}

/// The heads of the columns of weights and of counts.
fn heads(named: &Named, shown: &Profile) -> [&'static str; 2] {
    let weight = match named.view {
        View::Cpu | View::OffCpu | View::Wakeups => "BLOCKED",
        View::Locks => "WAITED",
        View::LiveHeap => "LIVE",
        View::AllocatedHeap => "ALLOCATED",
    };
    [weight, if shown.measured().unit() == Unit::Bytes { "SAMPLED" } else { "WAITS" }]
}

fn print_stacks(
    out: &mut impl Write,
    named: &Named,
    shown: &Profile,
    args: &Args,
    percent: impl Fn(u64) -> String,
) -> anyhow::Result<()> {
    let (stacks, unit) = (stacks(named, shown), shown.measured().unit());
    let shown_stacks = &stacks[..stacks.len().min(args.top)];
    let [weight, count] = heads(named, shown);
    let last = match named.view {
        View::Locks => ["HOLDER", "HELD AT (innermost first)", "WAITER", "WAITS AT"],
        View::LiveHeap | View::AllocatedHeap => ["THREAD", "ALLOCATED AT (innermost first)", "", ""],
        View::Wakeups => ["THREAD", "WAITS AT (innermost first)", "ENDED BY", "WHICH WOKE IT AT"],
        _ => ["THREAD", "WAITS AT (innermost first)", "ENDED BY", ""],
    };
    let room = room_for_stack(named.view, shown_stacks);
    let mut rows = vec![[weight, "   SHARE", count, last[0], last[1], last[2], last[3]].map(str::to_owned)];
    rows.extend(shown_stacks.iter().map(|stack| {
        let [a, b, c, d] =
            if named.view == View::Locks { stack.of_lock(room) } else { stack.of_thread(room) };
        [unit.short(stack.weight), percent(stack.weight), stack.count.to_string(), a, b, c, d]
    }));
    output::table(out, &rows)?;
    if stacks.len() > args.top {
        writeln!(out, "… and {} more (--top N)", stacks.len() - args.top)?;
    }
    Ok(())
}

/// Characters of a line that a stack may take, of which there are two in a line about a lock or a wake-up.
fn room_for_stack(view: View, stacks: &[Stack]) -> usize {
    let Some((columns, _)) = output::terminal() else { return WIDE };
    let widest = |of: &dyn Fn(&Stack) -> usize| stacks.iter().map(of).max().unwrap_or(0);
    let length = |text: &str| text.chars().count();
    // Weight, share and number, with what is between columns.
    let figures = 3 * 10;
    let (names, parts) = if view == View::Locks {
        let holder = |stack: &Stack| stack.frames.first().map_or(0, |name| length(name));
        (widest(&holder) + widest(&|stack| length(&stack.thread)) + 6, 2)
    } else {
        let ended = |stack: &Stack| length(&stack.ended());
        let parts = if view == View::Wakeups { 2 } else { 1 };
        (widest(&|stack| length(&stack.thread)) + widest(&ended) + 4, parts)
    };
    (columns.saturating_sub(figures + names) / parts).clamp(NARROW, WIDE)
}

fn print_threads(
    out: &mut impl Write,
    named: &Named,
    shown: &Profile,
    threads: &[Thread],
    args: &Args,
) -> anyhow::Result<()> {
    let unit = shown.measured().unit();
    let [weight, count] = heads(named, shown);
    let is_timed = threads.iter().any(|thread| thread.time.is_some());
    let more = if is_timed { ["RAN", "READY", "LIFE"] } else { [""; 3] };
    let mut rows = vec![[weight, count, more[0], more[1], more[2], "THREAD"].map(str::to_owned)];
    let threads = by_name(threads);
    rows.extend(threads.iter().take(args.top).map(|(thread, several)| {
        let times = thread.time.map(|time| [time.running_ns, time.runnable_ns, time.life_ns]);
        let [ran, ready, life] = times.map_or_else(Default::default, |ns| ns.map(|ns| unit.short(ns)));
        let name = match several {
            1 => thread.name.clone(),
            several => format!("{} ({several} threads)", thread.name),
        };
        [unit.short(thread.weight), thread.count.to_string(), ran, ready, life, name]
    }));
    if is_timed {
        output::table(out, &rows)?;
    } else {
        let rows: Vec<[String; 3]> = rows.into_iter().map(|[a, b, _, _, _, c]| [a, b, c]).collect();
        output::table(out, &rows)?;
    }
    if threads.len() > args.top {
        writeln!(out, "… and {} more (--top N)", threads.len() - args.top)?;
    }
    Ok(())
}

/// Threads of one name as one, with how many they are.
fn by_name(threads: &[Thread]) -> Vec<(Thread, usize)> {
    let mut names: BTreeMap<&str, Vec<&Thread>> = BTreeMap::new();
    threads.iter().for_each(|thread| names.entry(&thread.name).or_default().push(thread));
    let sum = |(name, threads): (&str, Vec<&Thread>)| {
        let all = Thread {
            id: threads[0].id,
            name: name.to_owned(),
            weight: threads.iter().fold(0, |sum, thread| sum.saturating_add(thread.weight)),
            count: threads.iter().map(|thread| thread.count).sum(),
            time: Time::of_all(threads.iter().copied()),
        };
        (all, threads.len())
    };
    let mut all: Vec<(Thread, usize)> = names.into_iter().map(sum).collect();
    all.sort_by_key(|(thread, _)| (std::cmp::Reverse(thread.weight), thread.id));
    all
}

impl Stack {
    fn new(named: &Named, shown: &Profile, frames: &[FrameId], sum: Sum<'_>) -> Self {
        let ended = |(note, amount): (&str, Amount)| Ended {
            name: note.trim_matches(['[', ']']).to_owned(),
            weight: amount.weight,
            count: amount.samples,
        };
        let note = frames.iter().position(|id| shown.frame(*id).kind == Kind::Note);
        // Of a wake-up the waker's stack is above the note that names it.
        let waker = note.filter(|_| named.view == View::Wakeups).map(|at| shown.frame(frames[at]).name);
        let mut ended_by: Vec<Ended> =
            sum.by_note.into_iter().chain(waker.map(|name| (name, sum.all))).map(ended).collect();
        ended_by.sort_by_key(|ended| std::cmp::Reverse(ended.weight));
        Self {
            frames: frames.iter().map(|id| shown.frame(*id).name.to_owned()).collect(),
            weight: sum.all.weight,
            unit: shown.measured().unit().name(),
            count: sum.all.samples,
            thread: named.figures.thread(sum.thread),
            ended_by,
            note,
        }
    }

    /// Who ended most of it, and how many others there were.
    fn ended(&self) -> String {
        let Some(first) = self.ended_by.first() else { return String::new() };
        let name = elided(first.name.trim_start_matches("woken by "), NARROW);
        match self.ended_by.len() - 1 {
            0 => name,
            1 => format!("{name} (and 1 other)"),
            others => format!("{name} (and {others} others)"),
        }
    }

    /// Where the waker's stack, which is upside down, woke.
    fn wakes_at(&self, room: usize) -> String {
        let mut waker = self.note.and_then(|note| self.frames.get(note + 1..)).unwrap_or_default().to_vec();
        waker.reverse();
        innermost(&waker, room)
    }

    /// Thread, where, and who ended it, and for a wake-up where.
    fn of_thread(&self, room: usize) -> [String; 4] {
        // Above a note somebody else's stack begins.
        let note = self.note.unwrap_or(self.frames.len());
        let waits = innermost(self.frames.get(1..note).unwrap_or_default(), room);
        [self.thread.clone(), waits, self.ended(), self.wakes_at(room)]
    }

    /// Holder, where it released the lock, waiter, where it waited.
    fn of_lock(&self, room: usize) -> [String; 4] {
        let note = self.note.unwrap_or(self.frames.len());
        let held = innermost(self.frames.get(1..note).unwrap_or_default(), room);
        let waits = innermost(self.frames.get(note + 1..).unwrap_or_default(), room);
        [self.frames.first().cloned().unwrap_or_default(), held, self.thread.clone(), waits]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[&str], ended_by: &[&str]) -> Stack {
        let ended = |name: &&str| Ended { name: (*name).to_owned(), weight: 1, count: 1 };
        Stack {
            frames: frames.iter().map(|name| (*name).to_owned()).collect(),
            weight: 1,
            unit: "nanoseconds",
            count: 1,
            thread: "reader".into(),
            ended_by: ended_by.iter().map(ended).collect(),
            note: frames.iter().position(|name| name.starts_with('[')),
        }
    }

    #[test]
    fn who_ended_it_is_told_in_good_english() {
        let ended = |by: &[&str]| stack(&["reader", "wait"], by).ended();
        assert_eq!(ended(&[]), "");
        assert_eq!(ended(&["woken by writer"]), "writer");
        assert_eq!(ended(&["woken by writer", "woken by an interrupt"]), "writer (and 1 other)");
        assert_eq!(ended(&["a", "b", "c"]), "a (and 2 others)");
    }

    #[test]
    fn holder_and_waiter_and_waker_have_their_own_stacks() {
        let lock = stack(&["clerk", "entry", "post", "[made wait: reader]", "entry", "read"], &[]);
        assert_eq!(lock.of_lock(40), ["clerk", "post < entry", "reader", "read < entry"]);
        // The waker's is upside down.
        let frames = ["reader", "entry", "wait", "[woken by writer]", "wake", "write", "entry"];
        let wakeup = stack(&frames, &["woken by writer"]);
        assert_eq!(wakeup.of_thread(40), ["reader", "wait < entry", "writer", "wake < write < entry"]);
        let plain = stack(&["reader", "entry", "wait"], &[]);
        assert_eq!(plain.of_thread(40), ["reader", "wait < entry", "", ""]);
    }

    #[test]
    fn threads_of_one_name_are_one_and_their_time_adds_up() {
        let time = |life_ns| Some(Time { life_ns, running_ns: 1, ..Time::default() });
        let thread = |id, name: &str, weight, life| Thread {
            id,
            name: name.into(),
            weight,
            count: 1,
            time: time(life),
        };
        let threads = [thread(1, "main", 5, 10), thread(2, "child", 4, 8), thread(3, "child", 3, 7)];
        let rows = by_name(&threads);
        let shown: Vec<_> = rows.iter().map(|(row, several)| (&*row.name, row.weight, *several)).collect();
        assert_eq!(shown, [("child", 7, 2), ("main", 5, 1)]);
        let all = Time::of_all(&threads).unwrap();
        assert_eq!((all.life_ns, all.running_ns), (25, 3));
        let line =
            Time { running_ns: 1_000, blocked_ns: 7_000, runnable_ns: 2_000, life_ns: 10_000 }.sentence();
        assert_eq!(
            line,
            "of 10.0 µs of the threads' time 1.00 µs (10.0 %) running, 7.00 µs (70.0 %) blocked, 2.00 µs (20.0 %) ready and waiting for a CPU"
        );
    }
}
