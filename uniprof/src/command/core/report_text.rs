//! The report as text: one screen that a person on call can act on. The verdict comes first, then what it rests on.

use std::io::{self, Write};

use uniprof_postmortem::print::{Value, Variable};
use uniprof_postmortem::report::{FaultReport, GroupReport, Report, VcpuReport};
use uniprof_postmortem::stacks::StackFrame;

use super::fit::{self, PAGE};
use super::stack_text;
use crate::output::{self, Paint};

/// Frames that are shown of threads which the verdict is not about.
const FEW_FRAMES: usize = 4;
/// Variables that are shown of one function.
const MOST_LOCALS: usize = 8;
/// How far they are indented.
const LOCALS: usize = 14;
/// Groups of threads that are shown.
const MOST_GROUPS: usize = 8;
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
        self.lines("console", &report.console)?;
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
        self.told("guest", &format!("{}{up}: {kernel}", guest.name))?;
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
        let verdict = &report.verdict;
        let thread = report.threads.iter().find(|thread| Some(thread.id) == verdict.thread_id);
        let vcpu = report.vcpus.iter().find(|vcpu| Some(vcpu.vcpu) == verdict.vcpu);
        let (title, frames, end) = match (thread, vcpu) {
            (Some(thread), _) if !thread.frames.is_empty() => {
                (format!("stack of thread {} ({})", thread.id, thread.name), &thread.frames, &thread.end)
            }
            (_, Some(vcpu)) => (format!("stack of vCPU {}", vcpu.vcpu), &vcpu.frames, &vcpu.end),
            _ => return Ok(()),
        };
        self.heading(&title)?;
        for (index, line) in stack_text::fitted(frames, "  ", PAGE).iter().enumerate() {
            writeln!(self.out, "{line}")?;
            self.locals(report, index)?;
        }
        if frames.is_empty() {
            self.line(&format!("  none: {end}"))?;
        }
        Ok(())
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

    fn frames(&mut self, frames: &[StackFrame], most: usize, indent: &str) -> io::Result<()> {
        for line in stack_text::fitted(&frames[..frames.len().min(most)], indent, PAGE) {
            writeln!(self.out, "{line}")?;
        }
        match frames.len().saturating_sub(most) {
            0 => Ok(()),
            more => self.line(&format!("{indent}… and {more} more")),
        }
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
            self.line(&format!("  {count}{}{states}", group.owners.join(", ")))?;
            if group.frames.is_empty() {
                self.line(&format!("      no stack: {}", group.end))?;
            }
            self.frames(&group.frames, FEW_FRAMES, "      ")?;
        }
        match groups.len().saturating_sub(MOST_GROUPS) {
            0 => Ok(()),
            more => self.line(&format!("  … and {more} more stacks: uniprof core stacks {}", self.input)),
        }
    }

    fn locks(&mut self, report: &Report) -> io::Result<()> {
        if report.locks.waits.is_empty() && report.locks.cycles.is_empty() {
            return Ok(());
        }
        self.heading("who waits for whom")?;
        for cycle in &report.locks.cycles {
            self.told("for ever", &cycle.text)?;
        }
        let told: Vec<u32> = report.locks.cycles.iter().flat_map(|cycle| cycle.threads.clone()).collect();
        for wait in report.locks.waits.iter().filter(|wait| !told.contains(&wait.thread)).take(MOST_GROUPS) {
            self.line(&format!("  {wait}"))?;
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
        self.line(&format!("  {} of {} records since boot recovered; {causes}", loss.recovered, loss.emitted))
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
        let steps = [
            (true, format!("uniprof core stacks {input}"), "every stack, whole"),
            (!report.locks.waits.is_empty(), format!("uniprof core locks {input}"), "who holds what"),
            (
                !report.locals.is_empty(),
                format!("uniprof core print {input} --frame 0"),
                "its variables, whole",
            ),
            (report.fault.is_some(), format!("uniprof core regs {input}"), "all registers"),
            (!self.events.is_empty(), format!("uniprof core trace {input}"), "all events that are left"),
            (
                report.loss.is_some(),
                format!("uniprof core flame {input} -o last.svg"),
                "where its last seconds went",
            ),
        ];
        let steps: Vec<_> = steps.iter().filter(|(fits, ..)| *fits).collect();
        let wide = steps.iter().map(|(_, command, _)| command.chars().count()).max().unwrap_or(0);
        steps.iter().try_for_each(|(_, command, what)| self.line(&format!("  {command:<wide$}  {what}")))
    }
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
