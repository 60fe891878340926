//! The report as text: one screen that a person on call can act on. The verdict comes first, then what it rests on.

use std::io::{self, Write};

use uniprof_postmortem::locks::Wait;
use uniprof_postmortem::print::{Value, Variable};
use uniprof_postmortem::report::{FaultReport, GroupReport, Report, VcpuReport};
use uniprof_postmortem::stacks::{self, StackFrame};
use uniprof_postmortem::verdict::{self, Kind};
use uniprof_symbolizer::UnwindEnd;
use uniprof_wire::tables::WaitKind;

use super::fit::{self, PAGE};
use super::screen::{Rank, Room, Screen};
use super::stack_text::{self, Item};
use crate::output::{self, Paint};

/// Frames that are shown of threads which the verdict is not about.
const FEW_FRAMES: usize = 4;
/// Variables that are shown of one function.
const MOST_LOCALS: usize = 8;
/// How far they are indented.
const LOCALS: usize = 14;
/// Groups of threads that are shown.
const MOST_GROUPS: usize = 8;
/// Indented lines of the console in a row that are shown.
const MOST_INDENTED: usize = 3;
/// Lines of the console that are shown.
const LAST_LINES: usize = 20;
/// How far texts stand behind what they are.
const LABEL: usize = 10;
/// A terminal with fewer columns gets lines of so many.
const NARROW: usize = 60;

/// What gives way to what on a terminal that has no room for all: high ranks before low ones. A handful of each section stays as long as can
/// be: the instruction, the frames closest to it, the last events.
mod rank {
    use super::Rank;

    pub(super) const INSTRUCTION: Rank = 1;
    pub(super) const CYCLE: Rank = 2;
    pub(super) const NEXT: Rank = 3;
    pub(super) const MESSAGE: Rank = 4;
    pub(super) const FRAMES: Rank = 5;
    pub(super) const LACKS: Rank = 7;
    pub(super) const FIRST_LOCALS: Rank = 8;
    pub(super) const GUEST: Rank = 11;
    pub(super) const EVENTS: Rank = 10;
    pub(super) const CONSOLE: Rank = 13;
    pub(super) const END: Rank = 16;
    pub(super) const VCPUS: Rank = 17;
    pub(super) const WAITS: Rank = 18;
    pub(super) const THREADS: Rank = 14;
    pub(super) const LOSS: Rank = 24;
    pub(super) const LOCALS: Rank = 24;
    pub(super) const FOLDED: Rank = 28;
    pub(super) const AROUND: Rank = 32;
    pub(super) const LOST: Rank = 40;
    /// From one frame, thread, earlier line or step to the next; what an inlined function adds to its frame.
    pub(super) const FRAME: Rank = 2;
    pub(super) const INLINED: Rank = 9;
    pub(super) const THREAD: Rank = 4;
    pub(super) const LATER: Rank = 2;
    pub(super) const STEP: Rank = 9;
}

/// What the report is printed with.
pub(super) struct Page<'a> {
    paint: Paint,
    /// What to call the dump or guest in commands.
    input: &'a str,
    /// The events as lines of text: the document has them as documents.
    events: &'a [String],
    /// Columns of a line, at most.
    wide: usize,
    screen: Screen,
}

impl<'a> Page<'a> {
    /// A page for a terminal of that size; without one, all of it in a hundred columns.
    pub(super) fn new(paint: Paint, input: &'a str, events: &'a [String], room: Option<Room>) -> Self {
        let wide = room.map_or(PAGE, |room| room.columns.clamp(NARROW, PAGE));
        Self { paint, input, events, wide, screen: Screen::default() }
    }

    /// Prints it.
    pub(super) fn print(
        mut self,
        out: &mut impl Write,
        report: &Report,
        room: Option<Room>,
    ) -> io::Result<()> {
        self.verdict(report);
        if let Some(fault) = &report.fault {
            self.fault(fault);
        }
        self.stack(report);
        self.vcpus(report);
        self.threads(report);
        self.locks(report);
        self.events(report);
        self.latest("console", last(&unindented(&report.console), LAST_LINES), rank::CONSOLE);
        self.lacks(report);
        self.next(report);
        let all = format!("`uniprof core {} | less`", self.input);
        self.screen.write(out, self.paint, room, &output::printable(&all))
    }

    fn line(&mut self, rank: Rank, line: &str) {
        let line = fit::cut(&output::printable(line), self.wide).trim_end().to_owned();
        let wide = line.chars().count();
        self.screen.row(rank, line, wide);
    }

    fn heading(&mut self, heading: &str) {
        // Room for how many of its lines are shown.
        self.screen.heading(output::printable(&fit::cut(heading, self.wide.saturating_sub(20))));
    }

    /// A label, and a text that may need several lines.
    fn told(&mut self, rank: Rank, label: &str, text: &str) {
        for (index, line) in fit::wrap(text, self.wide - LABEL - 2).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.line(rank, &format!("  {label:<LABEL$}{line}"));
        }
    }

    fn verdict(&mut self, report: &Report) {
        let verdict = &report.verdict;
        let title = verdict.kind.title().to_uppercase();
        let place = where_it_was(report);
        let room = self.wide.saturating_sub(title.chars().count() + 1);
        let line = output::printable(&fit::cut(&place, room));
        let wide = title.chars().count() + 1 + line.chars().count();
        let title = format!("{} {line}", self.paint.alarm(&title)).trim_end().to_owned();
        self.screen.row(0, title, wide);
        self.told(0, "why", &format!("{}{}", verdict.reason, doubt(report)));
        if let Some(message) = report.message.as_deref().filter(|message| !verdict.reason.contains(message)) {
            self.told(rank::MESSAGE, "message", message);
        }
        if let Some(place) = &verdict.place {
            self.told(0, "source", place);
        }
        let guest = &report.guest;
        let up = guest.up_seconds.map(|up| format!(", up {up:.3} s")).unwrap_or_default();
        let kernel = match &guest.build_id {
            Some(id) => format!("{} (build-id {id})", guest.kernel),
            None => guest.kernel.clone(),
        };
        if !guest.name.is_empty() || !kernel.is_empty() {
            self.told(rank::GUEST, "guest", &format!("{}{up}: {kernel}", guest.name));
        }
        let ending = guest.ending.as_ref().map(|ending| format!(" ({ending})")).unwrap_or_default();
        if !guest.why.is_empty() {
            self.told(rank::GUEST, "dump", &format!("taken because: {}{ending}", guest.why));
        }
    }

    fn fault(&mut self, fault: &FaultReport) {
        self.heading("instruction");
        let current = fault.listing.iter().position(|line| line.current).unwrap_or(0);
        for (index, line) in fault.listing.iter().enumerate() {
            let rank = if line.current { rank::INSTRUCTION } else { rank::AROUND + index.abs_diff(current) };
            let mark = if line.current { "=>" } else { "  " };
            let source = line.source.as_deref().map(stack_text::short).unwrap_or_default();
            let text = format!("  {mark} {:#x}  {}", line.address, line.text);
            let text = if line.current { format!("{text:<60}  {source}") } else { text };
            self.line(rank, &text);
            for operand in &line.operands {
                let note =
                    if operand.note.is_empty() { String::new() } else { format!("  {}", operand.note) };
                self.line(rank, &format!("       {:<6} = {:#x}{note}", operand.name, operand.value));
            }
            if let Some(image) = &line.image_has {
                self.line(rank, &format!("       the image has {image} here, memory {}", line.bytes));
            }
        }
        for remark in &fault.remarks {
            self.told(rank::MESSAGE, "", remark);
        }
    }

    /// The stack that the verdict is about.
    fn stack(&mut self, report: &Report) {
        let Some((title, frames, end)) = self.stack_of(report) else { return };
        self.heading(&title);
        let folded = folded(report, frames);
        if let Some(innermost) = frames.first().filter(|_| folded > 0) {
            let room = self.wide.saturating_sub(42);
            let name = fit::name(innermost.name(), room);
            self.line(rank::FOLDED, &format!("  … {folded} functions further in, down to {name}"));
        }
        let lines = stack_text::fitted(frames, "  ", self.wide);
        let shown = stack_text::folded(frames);
        let shown = shown.into_iter().filter(|item| !matches!(item, Item::Frame(index) if *index < folded));
        for (place, item) in shown.enumerate() {
            match item {
                Item::Frame(index) => {
                    // A function that was inlined is one that the programmer wrote, too; but the next one out tells of it.
                    let inlined = if frames[index].inlined { rank::INLINED } else { 0 };
                    let rank = rank::FRAMES + rank::FRAME * place + inlined;
                    let line = lines[index].clone();
                    let wide = line.chars().count();
                    self.screen.row(rank, line, wide);
                    self.locals(report, index, place);
                }
                Item::Recursion(text) => {
                    self.line(rank::FRAMES + rank::FRAME * place, &format!("  {text}"));
                }
            }
        }
        if frames.is_empty() {
            self.line(rank::FRAMES, &format!("  none: {end}"));
        } else if end != UnwindEnd::Root.to_string() {
            self.line(rank::END, &format!("  ends here: {end}"));
        }
    }

    /// That stack: its title, its frames, why it ends.
    fn stack_of<'r>(&self, report: &'r Report) -> Option<(String, &'r [StackFrame], &'r str)> {
        let verdict = &report.verdict;
        let thread = report.threads.iter().find(|thread| Some(thread.id) == verdict.thread_id);
        let vcpu = report.vcpus.iter().find(|vcpu| Some(vcpu.vcpu) == verdict.vcpu);
        match (thread, vcpu) {
            (Some(thread), _) if !thread.frames.is_empty() => {
                let title = format!("stack of {}", stacks::thread_title(thread.id, &thread.name));
                Some((title, &thread.frames, &thread.end))
            }
            (_, Some(vcpu)) => Some((format!("stack of vCPU {}", vcpu.vcpu), &vcpu.frames, &vcpu.end)),
            _ => None,
        }
    }

    /// The variables of a function of the stack, which is the `place`th that is shown.
    fn locals(&mut self, report: &Report, frame: usize, place: usize) {
        let Some(function) = report.locals.iter().find(|locals| locals.frame == frame) else { return };
        let known = |variable: &Variable| variable.value.as_ref().is_ok_and(Value::is_known);
        let (known, lost): (Vec<&Variable>, Vec<&Variable>) =
            function.variables.iter().partition(|variable| known(variable));
        let wide = known.iter().map(|variable| variable.name.chars().count()).max().unwrap_or(0).min(24);
        let rank = if place == 0 { rank::FIRST_LOCALS } else { rank::LOCALS + rank::FRAME * place };
        for (index, variable) in known.iter().take(MOST_LOCALS).enumerate() {
            let value = variable.value.as_ref().map(|value| value.data.flat()).unwrap_or_default();
            self.line(rank + index, &format!("{:LOCALS$}{:<wide$} = {value}", "", variable.name));
        }
        match known.len().saturating_sub(MOST_LOCALS) {
            0 => {}
            more => self.line(rank + MOST_LOCALS, &format!("{:LOCALS$}… and {more} more", "")),
        }
        if lost.is_empty() {
            return;
        }
        let lost: Vec<&str> = lost.iter().map(|variable| variable.name.as_str()).collect();
        self.line(rank::LOST, &format!("{:LOCALS$}not kept: {}", "", lost.join(", ")));
    }

    fn vcpus(&mut self, report: &Report) {
        let others: Vec<&VcpuReport> =
            report.vcpus.iter().filter(|vcpu| Some(vcpu.vcpu) != report.verdict.vcpu).collect();
        if others.is_empty() {
            return;
        }
        self.heading("other vCPUs");
        for (index, vcpu) in others.into_iter().enumerate() {
            let thread = match (vcpu.thread, vcpu.thread_name.as_str()) {
                (None | Some(0), _) => String::new(),
                (Some(id), name) => format!(", thread {id} ({name})"),
            };
            let innermost = vcpu.frames.iter().find(|frame| frame.function.is_some());
            let start = format!("  vCPU {}  {}{thread}", vcpu.vcpu, vcpu.state);
            let room = self.wide.saturating_sub(start.chars().count() + 4);
            let function = innermost.map(|frame| format!(" in {}", fit::name(frame.name(), room)));
            self.line(rank::VCPUS + index, &format!("{start}{}", function.unwrap_or_default()));
        }
    }

    fn threads(&mut self, report: &Report) {
        let verdict = report.threads.iter().find(|thread| Some(thread.id) == report.verdict.thread_id);
        let shown = verdict.map(|thread| &thread.frames);
        let is_other = |group: &&GroupReport| group.count > 1 || Some(&group.frames) != shown;
        let is_thread = |group: &&GroupReport| !group.threads.is_empty();
        let groups: Vec<&GroupReport> = report.stacks.iter().filter(is_other).filter(is_thread).collect();
        if groups.is_empty() {
            return;
        }
        self.heading("threads");
        for (index, group) in groups.iter().take(MOST_GROUPS).enumerate() {
            let rank = rank::THREADS + rank::THREAD * index;
            let states = states(report, group);
            let count = if group.count > 1 { format!("{} alike: ", group.count) } else { String::new() };
            let who = format!("  {count}{}{states}", group.owners.join(", "));
            let what = match verdict::doing(&group.frames) {
                Some(frame) => {
                    let place = frame.place().map(|place| format!("  {}", stack_text::short(&place)));
                    let place = place.unwrap_or_default();
                    let room = self.wide.saturating_sub(9 + place.chars().count());
                    format!("in {}{place}", fit::name(frame.name(), room))
                }
                None => format!("no stack: {}", group.end),
            };
            if who.chars().count() + what.chars().count() < self.wide {
                self.line(rank, &format!("{who} {what}"));
            } else {
                self.line(rank, &who);
                self.line(rank, &format!("      {what}"));
            }
        }
        match groups.len().saturating_sub(MOST_GROUPS) {
            0 => {}
            more => self.line(rank::LOST, &format!("  … and {more} more stacks")),
        }
    }

    fn locks(&mut self, report: &Report) {
        let told: Vec<u32> = report.locks.cycles.iter().flat_map(|cycle| cycle.threads.clone()).collect();
        // Threads that wait for work are what a guest is made of; locks are another matter.
        let is_lock = |wait: &&Wait| wait.kind == WaitKind::Lock && !told.contains(&wait.thread);
        let locks: Vec<&Wait> = report.locks.waits.iter().filter(is_lock).take(MOST_GROUPS).collect();
        if told.is_empty() && locks.is_empty() {
            return;
        }
        self.heading("who waits for whom");
        for cycle in &report.locks.cycles {
            self.told(rank::CYCLE, "for ever", &cycle.text);
        }
        for (index, wait) in locks.into_iter().enumerate() {
            self.told(rank::WAITS + index, "", &wait.to_string());
        }
    }

    fn events(&mut self, report: &Report) {
        self.latest("last events", self.events, rank::EVENTS);
        let Some(loss) = &report.loss else { return };
        let causes: Vec<String> = loss
            .lost_by
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        let causes = if causes.is_empty() {
            "nothing lost".to_owned()
        } else {
            format!("lost: {}", causes.join(", "))
        };
        self.line(
            rank::LOSS,
            &format!("  {} of {} records since boot recovered; {causes}", loss.recovered, loss.emitted),
        );
        // Old records are overwritten in good order; what was lost otherwise may be of any time.
        if loss.lost_by.iter().any(|(cause, count)| *count > 0 && cause != "overwritten") {
            self.line(rank::LOSS, "  what was lost may be later than what is shown here");
        }
    }

    /// Lines of which the last is the latest.
    fn latest(&mut self, heading: &str, lines: &[String], rank: Rank) {
        if lines.is_empty() {
            return;
        }
        self.heading(heading);
        for (index, line) in lines.iter().enumerate() {
            // What stands for lines that are left out says nothing by itself.
            let left_out = line.trim_start().starts_with('…');
            let earlier = rank::LATER * (lines.len() - 1 - index);
            self.line(if left_out { rank::LOST } else { rank + earlier }, &format!("  {line}"));
        }
    }

    fn lacks(&mut self, report: &Report) {
        if report.remarks.is_empty() {
            return;
        }
        self.heading("what is missing");
        for remark in &report.remarks {
            for (index, line) in fit::wrap(remark, self.wide - 4).iter().enumerate() {
                self.line(rank::LACKS, &format!("  {} {line}", if index == 0 { "-" } else { " " }));
            }
        }
    }

    /// What to type next, for this verdict.
    fn next(&mut self, report: &Report) {
        self.heading("next");
        let input = self.input;
        let blamed = report.locals.first().map(|locals| locals.frame);
        let frame = blamed.and_then(|frame| Some(self.stack_of(report)?.1.get(frame)?.depth)).unwrap_or(0);
        let waits = !report.locks.waits.is_empty();
        let stands = matches!(report.verdict.kind, Kind::Deadlock | Kind::LostWakeup);
        let steps = [
            (true, "stacks", String::new(), "every stack, whole"),
            (report.verdict.kind == Kind::OutOfMemory, "heap", String::new(), "who has the memory"),
            (waits && stands, "locks", String::new(), "who holds what"),
            (!report.locals.is_empty(), "print", format!(" --frame {frame}"), "its variables, whole"),
            (waits && !stands, "locks", String::new(), "who holds what"),
            (report.fault.is_some(), "regs", String::new(), "registers, as of the crash, too"),
            (!self.events.is_empty(), "trace", String::new(), "all events that are left"),
            (report.loss.is_some(), "flame", " -o last.svg".into(), "where its last seconds went"),
        ];
        let steps = steps.iter().filter(|(fits, ..)| *fits);
        let steps = steps.map(|(_, verb, more, what)| (format!("uniprof core {verb} {input}{more}"), what));
        let steps: Vec<_> = steps.collect();
        let wide = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let explained = wide + 32 < self.wide;
        for (index, (command, what)) in steps.iter().enumerate() {
            let rank = rank::NEXT + rank::STEP * index;
            if explained {
                self.line(rank, &format!("  {command:<wide$}  {what}"));
            } else {
                // A command that was cut could not be typed.
                let line = format!("  {}", output::printable(command));
                let wide = line.chars().count();
                self.screen.row(rank, line, wide);
            }
        }
    }
}

/// Console lines with runs of indented ones cut short: dumps of registers and of return addresses, which stand above with names.
fn unindented(lines: &[String]) -> Vec<String> {
    let mut shown = Vec::new();
    for run in lines.chunk_by(|one, next| one.starts_with("  ") && next.starts_with("  ")) {
        let kept = if run.len() > MOST_INDENTED { 1 } else { run.len() };
        shown.extend_from_slice(&run[..kept]);
        if kept < run.len() {
            shown.push(format!("  … and {} more indented lines", run.len() - kept));
        }
    }
    shown
}

fn last<T>(all: &[T], most: usize) -> &[T] {
    &all[all.len().saturating_sub(most)..]
}

/// How many frames are not shown: those of the handler, or of the panic's own way, which led here after it had happened.
fn folded(report: &Report, frames: &[StackFrame]) -> usize {
    let blamed = |frame: &StackFrame| {
        frame.function.is_some() && frame.function.as_deref() == report.verdict.function.as_deref()
    };
    frames.iter().position(blamed).filter(|further_in| *further_in > FEW_FRAMES).unwrap_or(0)
}

/// The function, the thread and the vCPU.
fn where_it_was(report: &Report) -> String {
    let verdict = &report.verdict;
    let function = verdict.function.as_ref().map(|function| format!("in {}", fit::name(function, 56)));
    let thread = verdict.thread.as_ref().map(|thread| format!("thread {thread}"));
    let vcpu = verdict.vcpu.map(|vcpu| format!("vCPU {vcpu}"));
    [function, thread, vcpu]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
        .replace("thread thread", "thread")
}

fn doubt(report: &Report) -> &'static str {
    use uniprof_postmortem::verdict::Confidence;
    match report.verdict.confidence {
        Confidence::Certain => "",
        Confidence::Likely => " (likely, not certain)",
        Confidence::Guess => " (a guess)",
    }
}

/// What the threads of a group were doing, each state once.
fn states(report: &Report, group: &GroupReport) -> String {
    let member = |id: &u32| {
        let thread = report.threads.iter().find(|thread| thread.id == *id)?;
        Some(if thread.torn { "damaged" } else { thread.state })
    };
    let mut states: Vec<&str> = group.threads.iter().filter_map(member).collect();
    states.sort_unstable();
    states.dedup();
    if states.is_empty() { String::new() } else { format!(", {}", states.join(" or ")) }
}

#[cfg(test)]
mod tests;
