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

/// What the report is printed with.
pub(super) struct Page<'a, W> {
    pub(super) out: &'a mut W,
    pub(super) paint: Paint,
    /// What to call the dump or guest in commands.
    pub(super) input: &'a str,
    /// The events as lines of text: the document has them as documents.
    pub(super) events: &'a [String],
}

impl<W: Write> Page<'_, W> {
    /// Prints all of it.
    pub(super) fn print(&mut self, report: &Report) -> io::Result<()> {
        self.verdict(report)?;
        if let Some(fault) = &report.fault {
            self.fault(fault)?;
        }
        self.stack(report)?;
        self.vcpus(report)?;
        self.threads(report)?;
        self.locks(report)?;
        self.events(report)?;
        self.lines("console", last(&unindented(&report.console), LAST_LINES))?;
        self.lacks(report)?;
        self.next(report)
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{}", fit::cut(&output::printable(line), PAGE).trim_end())
    }

    fn heading(&mut self, heading: &str) -> io::Result<()> {
        let heading = output::printable(&fit::cut(heading, PAGE));
        writeln!(self.out, "\n{}", self.paint.bold(&heading))
    }

    /// A label, and a text that may need several lines.
    fn told(&mut self, label: &str, text: &str) -> io::Result<()> {
        for (index, line) in fit::wrap(text, PAGE - LABEL - 2).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.line(&format!("  {label:<LABEL$}{line}"))?;
        }
        Ok(())
    }

    fn verdict(&mut self, report: &Report) -> io::Result<()> {
        let verdict = &report.verdict;
        let title = verdict.kind.title().to_uppercase();
        let place = where_it_was(report);
        let line = output::printable(&fit::cut(&place, PAGE.saturating_sub(title.chars().count() + 1)));
        writeln!(self.out, "{} {line}", self.paint.alarm(&title))?;
        self.told("why", &format!("{}{}", verdict.reason, doubt(report)))?;
        if let Some(message) = report.message.as_deref().filter(|message| !verdict.reason.contains(message)) {
            self.told("message", message)?;
        }
        if let Some(place) = &verdict.place {
            self.told("source", place)?;
        }
        let guest = &report.guest;
        let up = guest.up_seconds.map(|up| format!(", up {up:.3} s")).unwrap_or_default();
        let kernel = match &guest.build_id {
            Some(id) => format!("{} (build-id {id})", guest.kernel),
            None => guest.kernel.clone(),
        };
        if !guest.name.is_empty() || !kernel.is_empty() {
            self.told("guest", &format!("{}{up}: {kernel}", guest.name))?;
        }
        let ending = guest.ending.as_ref().map(|ending| format!(" ({ending})")).unwrap_or_default();
        match guest.why.as_str() {
            "" => Ok(()),
            why => self.told("dump", &format!("taken because: {why}{ending}")),
        }
    }

    fn fault(&mut self, fault: &FaultReport) -> io::Result<()> {
        self.heading("instruction")?;
        for line in &fault.listing {
            let mark = if line.current { "=>" } else { "  " };
            let source = line.source.as_deref().map(stack_text::short).unwrap_or_default();
            let text = format!("  {mark} {:#x}  {}", line.address, line.text);
            let text = if line.current { format!("{text:<60}  {source}") } else { text };
            self.line(&text)?;
            for operand in &line.operands {
                let note =
                    if operand.note.is_empty() { String::new() } else { format!("  {}", operand.note) };
                self.line(&format!("       {:<6} = {:#x}{note}", operand.name, operand.value))?;
            }
            if let Some(image) = &line.image_has {
                self.line(&format!("       the image has {image} here, memory {}", line.bytes))?;
            }
        }
        for remark in &fault.remarks {
            self.told("", remark)?;
        }
        Ok(())
    }

    /// The stack that the verdict is about.
    fn stack(&mut self, report: &Report) -> io::Result<()> {
        let Some((title, frames, end)) = self.stack_of(report) else { return Ok(()) };
        self.heading(&title)?;
        let folded = folded(report, frames);
        if let Some(innermost) = frames.first().filter(|_| folded > 0) {
            let room = PAGE.saturating_sub(42);
            self.line(&format!(
                "  … {folded} functions further in, down to {}",
                fit::name(innermost.name(), room)
            ))?;
        }
        let lines = stack_text::fitted(frames, "  ", PAGE);
        for item in stack_text::folded(frames) {
            match item {
                Item::Frame(index) if index < folded => {}
                Item::Frame(index) => {
                    writeln!(self.out, "{}", lines[index])?;
                    self.locals(report, index)?;
                }
                Item::Recursion(text) => self.line(&format!("  {text}"))?,
            }
        }
        if frames.is_empty() {
            self.line(&format!("  none: {end}"))?;
        } else if end != UnwindEnd::Root.to_string() {
            self.line(&format!("  ends here: {end}"))?;
        }
        Ok(())
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

    /// The variables of a function of the stack.
    fn locals(&mut self, report: &Report, frame: usize) -> io::Result<()> {
        let Some(function) = report.locals.iter().find(|locals| locals.frame == frame) else { return Ok(()) };
        let known = |variable: &Variable| variable.value.as_ref().is_ok_and(Value::is_known);
        let (known, lost): (Vec<&Variable>, Vec<&Variable>) =
            function.variables.iter().partition(|variable| known(variable));
        let wide = known.iter().map(|variable| variable.name.chars().count()).max().unwrap_or(0).min(24);
        for variable in known.iter().take(MOST_LOCALS) {
            let value = variable.value.as_ref().map(|value| value.data.flat()).unwrap_or_default();
            self.line(&format!("{:LOCALS$}{:<wide$} = {value}", "", variable.name))?;
        }
        match known.len().saturating_sub(MOST_LOCALS) {
            0 => {}
            more => self.line(&format!("{:LOCALS$}… and {more} more", ""))?,
        }
        if lost.is_empty() {
            return Ok(());
        }
        let lost: Vec<&str> = lost.iter().map(|variable| variable.name.as_str()).collect();
        self.line(&format!("{:LOCALS$}not kept: {}", "", lost.join(", ")))
    }

    fn vcpus(&mut self, report: &Report) -> io::Result<()> {
        let others: Vec<&VcpuReport> =
            report.vcpus.iter().filter(|vcpu| Some(vcpu.vcpu) != report.verdict.vcpu).collect();
        if others.is_empty() {
            return Ok(());
        }
        self.heading("other vCPUs")?;
        for vcpu in others {
            let thread = match (vcpu.thread, vcpu.thread_name.as_str()) {
                (None | Some(0), _) => String::new(),
                (Some(id), name) => format!(", thread {id} ({name})"),
            };
            let innermost = vcpu.frames.iter().find(|frame| frame.function.is_some());
            let start = format!("  vCPU {}  {}{thread}", vcpu.vcpu, vcpu.state);
            let room = PAGE.saturating_sub(start.chars().count() + 4);
            let function = innermost.map(|frame| format!(" in {}", fit::name(frame.name(), room)));
            self.line(&format!("{start}{}", function.unwrap_or_default()))?;
        }
        Ok(())
    }

    fn threads(&mut self, report: &Report) -> io::Result<()> {
        let verdict = report.threads.iter().find(|thread| Some(thread.id) == report.verdict.thread_id);
        let shown = verdict.map(|thread| &thread.frames);
        let is_other = |group: &&GroupReport| group.count > 1 || Some(&group.frames) != shown;
        let is_thread = |group: &&GroupReport| !group.threads.is_empty();
        let groups: Vec<&GroupReport> = report.stacks.iter().filter(is_other).filter(is_thread).collect();
        if groups.is_empty() {
            return Ok(());
        }
        self.heading("threads")?;
        for group in groups.iter().take(MOST_GROUPS) {
            let states = states(report, group);
            let count = if group.count > 1 { format!("{} alike: ", group.count) } else { String::new() };
            let who = format!("  {count}{}{states}", group.owners.join(", "));
            let what = match verdict::doing(&group.frames) {
                Some(frame) => {
                    let place = frame.place().map(|place| format!("  {}", stack_text::short(&place)));
                    let place = place.unwrap_or_default();
                    let room = PAGE.saturating_sub(9 + place.chars().count());
                    format!("in {}{place}", fit::name(frame.name(), room))
                }
                None => format!("no stack: {}", group.end),
            };
            if who.chars().count() + what.chars().count() < PAGE {
                self.line(&format!("{who} {what}"))?;
            } else {
                self.line(&who)?;
                self.line(&format!("      {what}"))?;
            }
        }
        match groups.len().saturating_sub(MOST_GROUPS) {
            0 => Ok(()),
            more => self.line(&format!("  … and {more} more stacks")),
        }
    }

    fn locks(&mut self, report: &Report) -> io::Result<()> {
        let told: Vec<u32> = report.locks.cycles.iter().flat_map(|cycle| cycle.threads.clone()).collect();
        // Threads that wait for work are what a guest is made of; locks are another matter.
        let is_lock = |wait: &&Wait| wait.kind == WaitKind::Lock && !told.contains(&wait.thread);
        let locks: Vec<&Wait> = report.locks.waits.iter().filter(is_lock).take(MOST_GROUPS).collect();
        if told.is_empty() && locks.is_empty() {
            return Ok(());
        }
        self.heading("who waits for whom")?;
        for cycle in &report.locks.cycles {
            self.told("for ever", &cycle.text)?;
        }
        for wait in locks {
            self.told("", &wait.to_string())?;
        }
        Ok(())
    }

    fn events(&mut self, report: &Report) -> io::Result<()> {
        self.lines("last events", self.events)?;
        let Some(loss) = &report.loss else { return Ok(()) };
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
        self.line(&format!(
            "  {} of {} records since boot recovered; {causes}",
            loss.recovered, loss.emitted
        ))?;
        // Old records are overwritten in good order; what was lost otherwise may be of any time.
        match loss.lost_by.iter().any(|(cause, count)| *count > 0 && cause != "overwritten") {
            true => self.line("  what was lost may be later than what is shown here"),
            false => Ok(()),
        }
    }

    fn lines(&mut self, heading: &str, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.heading(heading)?;
        lines.iter().try_for_each(|line| self.line(&format!("  {line}")))
    }

    fn lacks(&mut self, report: &Report) -> io::Result<()> {
        if report.remarks.is_empty() {
            return Ok(());
        }
        self.heading("what is missing")?;
        for remark in &report.remarks {
            for (index, line) in fit::wrap(remark, PAGE - 4).iter().enumerate() {
                self.line(&format!("  {} {line}", if index == 0 { "-" } else { " " }))?;
            }
        }
        Ok(())
    }

    /// What to type next, for this verdict.
    fn next(&mut self, report: &Report) -> io::Result<()> {
        self.heading("next")?;
        let input = self.input;
        let blamed = report.locals.first().map(|locals| locals.frame);
        let frame = blamed.and_then(|frame| Some(self.stack_of(report)?.1.get(frame)?.depth)).unwrap_or(0);
        let steps = [
            (true, "stacks", String::new(), "every stack, whole"),
            (!report.locks.waits.is_empty(), "locks", String::new(), "who holds what"),
            (!report.locals.is_empty(), "print", format!(" --frame {frame}"), "its variables, whole"),
            (report.verdict.kind == Kind::OutOfMemory, "heap", String::new(), "who has the memory"),
            (report.fault.is_some(), "regs", String::new(), "registers, as of the crash, too"),
            (!self.events.is_empty(), "trace", String::new(), "all events that are left"),
            (report.loss.is_some(), "flame", " -o last.svg".into(), "where its last seconds went"),
        ];
        let steps = steps.iter().filter(|(fits, ..)| *fits);
        let steps = steps.map(|(_, verb, more, what)| (format!("uniprof core {verb} {input}{more}"), what));
        let steps: Vec<_> = steps.collect();
        let wide = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let explained = wide + 32 < PAGE;
        // A command that was cut could not be typed.
        steps.iter().try_for_each(|(command, what)| match explained {
            true => self.line(&format!("  {command:<wide$}  {what}")),
            false => writeln!(self.out, "  {}", output::printable(command)),
        })
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
