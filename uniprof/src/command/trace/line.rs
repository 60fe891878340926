//! An event as a line for people.

use std::io::{self, Write};

use uniprof_events::{Event, EventKind, Guest, Value, packet_summary};
use uniprof_wire::net::Verdict;

use super::times::Times;
use crate::output::{self, Paint, duration};

/// Numbers from here on are more likely addresses or hashes than counts.
const LARGE: u64 = 1 << 47;
/// The field of a span that was begun on another thread; told in words.
const BEGUN_ON: &str = "begun_on";
/// Columns of a thread's name: at least, and at most.
const THREAD: (usize, usize) = (12, 24);

/// Lines of text, one below the other.
pub(super) struct Printer<W> {
    out: W,
    paint: Paint,
    /// Where lines end.
    width: usize,
    /// The widest name of a thread and of a vCPU so far: columns grow, and never shrink.
    thread: usize,
    vcpu: usize,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, paint: Paint, width: usize) -> Self {
        Self { out, paint, width, thread: THREAD.0, vcpu: 5 }
    }

    pub(super) fn print(&mut self, event: &Event, guest: &Guest, times: &Times) -> io::Result<()> {
        let line = Line::new(event, guest, times, (&mut self.vcpu, &mut self.thread));
        line.write(&mut self.out, self.paint, self.width)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The line by the guest's clock, without colours, as wide as it is.
pub(super) fn plain(event: &Event, guest: &Guest) -> String {
    let line = Line::new(event, guest, &Times::default(), (&mut 5, &mut THREAD.0.clone()));
    line.parts.iter().map(|(_, text)| text.as_str()).collect()
}

/// What an event says, without when and where it was.
pub(crate) fn told(event: &Event, guest: &Guest) -> String {
    let mut line = Line { parts: Vec::new() };
    line.tell(event, guest);
    line.parts.iter().map(|(_, text)| text.as_str()).collect()
}

/// What a part of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    /// Where it was: it is read after the rest.
    Faint,
    Name,
    Plain,
    /// What went wrong.
    Alarm,
}

struct Line {
    parts: Vec<(Tone, String)>,
}

impl Line {
    fn new(event: &Event, guest: &Guest, times: &Times, (vcpu, thread): (&mut usize, &mut usize)) -> Self {
        let cpu = format!("vcpu{}", event.vcpu);
        *vcpu = cpu.len().max(*vcpu);
        let name = match event.thread {
            0 => "-".into(),
            id => output::printable(&guest.thread(id)),
        };
        let name = cut(&name, THREAD.1);
        *thread = name.chars().count().max(*thread);
        let place = format!("{}  {cpu:<vcpu$}  ", times.text(event, guest), vcpu = *vcpu);
        let mut line = Self { parts: vec![(Tone::Faint, place)] };
        line.add(Tone::Plain, format!("{name:<thread$}  ", thread = *thread));
        line.tell(event, guest);
        line
    }

    fn add(&mut self, tone: Tone, text: impl Into<String>) {
        self.parts.push((tone, text.into()));
    }

    fn tell(&mut self, event: &Event, guest: &Guest) {
        let took = event.ticks.map(|ticks| ticks_shown(ticks, guest));
        match event.kind {
            EventKind::Event => {
                self.name(event);
                self.arguments(event, guest);
            }
            EventKind::SpanBegin => {
                self.name(event);
                self.add(Tone::Plain, " began");
                self.arguments(event, guest);
            }
            EventKind::SpanEnd => {
                self.name(event);
                self.add(Tone::Plain, " ended");
                self.after(took.as_deref());
                self.arguments(event, guest);
                if let Some(Value::Thread(on)) = event.field(BEGUN_ON) {
                    self.add(Tone::Plain, format!(" (begun on {})", guest.thread(*on)));
                }
            }
            EventKind::Counter | EventKind::Gauge => {
                self.name(event);
                self.add(Tone::Plain, " = ");
                self.value(event.field("value"), guest);
            }
            EventKind::Call => self.call(event, guest, took.as_deref()),
            EventKind::Log | EventKind::Mark => {
                self.add(Tone::Name, format!("{}: ", event.kind.name()));
                self.add(Tone::Plain, event.text().unwrap_or_default());
            }
            EventKind::Packet => self.packet(event, guest),
            EventKind::Connection => self.connection(event, guest, took.as_deref()),
            _ => self.scheduling(event, guest, took.as_deref()),
        }
    }

    fn name(&mut self, event: &Event) {
        self.add(Tone::Name, event.name());
    }

    fn after(&mut self, took: Option<&str>) {
        if let Some(took) = took {
            self.add(Tone::Plain, " after ");
            self.add(Tone::Name, took);
        }
    }

    fn value(&mut self, value: Option<&Value>, guest: &Guest) {
        if let Some(value) = value {
            self.add(Tone::Plain, shown(value, guest));
        }
    }

    fn arguments(&mut self, event: &Event, guest: &Guest) {
        for field in event.fields().filter(|field| field.name != BEGUN_ON) {
            self.add(Tone::Faint, format!(" {}=", field.name));
            self.value(Some(field.value), guest);
        }
    }

    fn call(&mut self, event: &Event, guest: &Guest, took: Option<&str>) {
        self.name(event);
        for (index, field) in event.fields().enumerate() {
            let before = if index == 0 { "(" } else { ", " };
            self.add(Tone::Faint, format!("{before}{}=", field.name));
            self.value(Some(field.value), guest);
        }
        let closed = if event.fields().next().is_none() { "()" } else { ")" };
        self.add(Tone::Faint, closed);
        if let Some(result) = event.result() {
            self.add(Tone::Faint, " = ");
            let tone = if result.is_error() { Tone::Alarm } else { Tone::Name };
            self.add(tone, shown(result, guest));
        }
        if let Some(took) = took {
            self.add(Tone::Faint, format!(" <{took}>"));
        }
    }

    fn packet(&mut self, event: &Event, guest: &Guest) {
        let word = |name: &str| event.field(name).map(|value| shown(value, guest)).unwrap_or_default();
        self.add(Tone::Name, format!("packet {}", word("direction")));
        self.add(Tone::Plain, format!(" {} bytes", word("length")));
        let verdict = word("verdict");
        if verdict != Verdict::Accepted.name() {
            self.add(Tone::Alarm, format!(" dropped: {verdict}"));
        }
        let kept = match event.field("bytes") {
            Some(Value::Bytes { kept, .. }) => packet_summary(kept),
            _ => String::new(),
        };
        self.add(Tone::Plain, format!(": {kept}"));
    }

    fn connection(&mut self, event: &Event, guest: &Guest, took: Option<&str>) {
        let word = |name: &str| event.field(name).map(|value| shown(value, guest)).unwrap_or_default();
        let address = |name: &str| match event.field(name) {
            Some(Value::Text { kept, .. }) => kept.to_string(),
            _ => String::new(),
        };
        self.add(Tone::Name, format!("{} {}", word("protocol"), word("to")));
        let (local, remote) = (address("local"), address("remote"));
        self.add(Tone::Plain, format!(" #{} {local} - {remote}", word("id")));
        self.add(Tone::Faint, format!(" (was {})", word("from")));
        if let Some(took) = took {
            let moved = format!(" after {took}, {} bytes in, {} out", word("bytes_in"), word("bytes_out"));
            self.add(Tone::Plain, moved);
        }
    }

    /// What has no site: a verb, and what it is about.
    fn scheduling(&mut self, event: &Event, guest: &Guest, took: Option<&str>) {
        let field = |name: &str| event.field(name).map(|value| shown(value, guest));
        let word = |name: &str| field(name).unwrap_or_default();
        let (verb, rest) = match event.kind {
            EventKind::Switch => {
                let is_idle = event.field("to") == Some(&Value::Thread(0));
                let to = if is_idle { "idle".into() } else { word("to") };
                ("switch", format!("to {to} ({})", word("reason")))
            }
            EventKind::Thread => ("thread", format!("{}{}", bare(event, "name"), word("action"))),
            EventKind::Park if word("for") == "sleep" => ("sleeps", String::new()),
            EventKind::Park => ("waits", what_for(event, guest)),
            EventKind::Resume => ("runs again", resumed(event, guest, took)),
            EventKind::Wake => {
                let how = field("by").map(|by| format!(" (in an {by})")).unwrap_or_default();
                ("wakes", format!("{}{how}", word("woken")))
            }
            EventKind::LockWait => {
                let owner = field("owner").map(|owner| format!(", held by {owner}")).unwrap_or_default();
                let waited = took.map(|took| format!(" after {took}")).unwrap_or_default();
                ("got lock", format!("{}{waited} ({}{owner})", word("lock"), word("how")))
            }
            EventKind::LockHold => {
                let held = took.map(|took| format!(", held for {took}")).unwrap_or_default();
                ("released lock", format!("{}{held}; others waited ({})", word("lock"), word("how")))
            }
            EventKind::Interrupt => {
                let took = took.map(|took| format!(" took {took}")).unwrap_or_default();
                ("interrupt", format!("{}{took}", word("vector")))
            }
            _ => {
                let verb = if event.kind == EventKind::Free { "freed" } else { "allocated" };
                (verb, format!("{} bytes at {}, stands for {}", word("bytes"), word("block"), word("weight")))
            }
        };
        self.add(Tone::Name, verb);
        if !rest.is_empty() {
            self.add(Tone::Plain, format!(" {rest}"));
        }
    }

    /// Writes it, at most `width` columns of it.
    fn write(&self, out: &mut impl Write, paint: Paint, width: usize) -> io::Result<()> {
        let whole: usize = self.parts.iter().map(|(_, text)| text.chars().count()).sum();
        let mut room = if whole > width { width - 1 } else { width };
        for (tone, text) in &self.parts {
            let fits: String = output::printable(text).chars().take(room).collect();
            room -= fits.chars().count();
            let painted = match tone {
                Tone::Faint => paint.faint(&fits),
                Tone::Name => paint.bold(&fits),
                Tone::Plain => fits,
                Tone::Alarm => paint.alarm(&fits),
            };
            out.write_all(painted.as_bytes())?;
        }
        out.write_all(if whole > width { "…\n" } else { "\n" }.as_bytes())
    }
}

/// What a thread waits for.
fn what_for(event: &Event, guest: &Guest) -> String {
    let field = |name: &str| event.field(name).map(|value| shown(value, guest));
    let mut text = match field("for").as_deref() {
        Some("lock") => "for a lock".to_owned(),
        Some("join") => "for the end".to_owned(),
        Some("event") => "for an event".to_owned(),
        _ => format!("({})", field("reason").unwrap_or_default()),
    };
    if let Some(on) = field("on") {
        text.push_str(&format!(" of {on}"));
    }
    if let Some(at) = field("at") {
        text.push_str(&format!(" at {at}"));
    }
    text
}

/// How long a thread waited, who woke it, and how long it was then kept from the CPU.
fn resumed(event: &Event, guest: &Guest, took: Option<&str>) -> String {
    let field = |name: &str| event.field(name).map(|value| shown(value, guest));
    let after = took.map(|took| format!("after {took} ")).unwrap_or_default();
    let woken = field("waker").map(|waker| format!(", woken by {waker}")).unwrap_or_default();
    let ready = field("ready").map(|ready| format!(", ready for {ready}")).unwrap_or_default();
    format!("{after}({}{woken}{ready})", field("reason").unwrap_or_default())
}

/// Text without quotes, and a blank behind it if there is any: a thread's end does not repeat its name.
fn bare(event: &Event, name: &str) -> String {
    match event.field(name) {
        Some(Value::Text { kept, .. }) if !kept.is_empty() => format!("{kept} "),
        _ => String::new(),
    }
}

fn shown(value: &Value, guest: &Guest) -> String {
    match value {
        Value::Unsigned(number) if *number >= LARGE => format!("{number:#x}"),
        Value::Thread(id) => guest.thread(*id).into_owned(),
        Value::Ticks(ticks) => ticks_shown(*ticks, guest),
        value => value.to_string(),
    }
}

/// Ticks as a duration, or as ticks where the clock's rate is not known.
pub(super) fn ticks_shown(ticks: u64, guest: &Guest) -> String {
    guest.nanoseconds(ticks).map_or_else(|| format!("{ticks} ticks"), duration)
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
