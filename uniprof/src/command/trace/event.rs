//! An event, and the line that tells of it.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;
use uniprof_wire::record::{Record, SwitchReason, ThreadAction};

use crate::output;
use crate::profile::Figures;
use crate::sites::Sites;

const SCHEMA: &str = "uniprof.trace/1";
/// Numbers from here on are more likely addresses or hashes than counts.
const LARGE: u64 = 1 << 32;

/// A record that is no sample, apart from its ring.
pub(super) struct Event {
    pub(super) tsc: u64,
    vcpu: u32,
    thread: u32,
    what: What,
}

enum What {
    Event { site: u32, args: Vec<u64> },
    SpanBegin { site: u32, args: Vec<u64> },
    SpanEnd { site: u32, began: u64 },
    Counter { site: u32, value: u64 },
    Switch { to: u32, reason: SwitchReason },
    Log { text: String },
    Thread { action: ThreadAction, name: String },
}

impl Event {
    /// `None` for samples.
    pub(super) fn new(vcpu: u32, record: &Record<'_>) -> Option<Self> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (thread, what) = match record {
            Record::Sample(_) | Record::Snapshot(_) => return None,
            Record::Event(event) => {
                (event.thread, What::Event { site: event.site, args: event.args.to_vec() })
            }
            Record::SpanBegin(span) => {
                (span.thread, What::SpanBegin { site: span.site, args: span.args.to_vec() })
            }
            Record::SpanEnd(span) => (span.thread, What::SpanEnd { site: span.site, began: span.begin }),
            Record::Counter(counter) => {
                (counter.thread, What::Counter { site: counter.site, value: counter.value })
            }
            Record::Switch(switch) => (switch.from, What::Switch { to: switch.to, reason: switch.reason }),
            Record::Log(log) | Record::Mark(log) => {
                (log.thread, What::Log { text: text(log.text.bytes().collect()) })
            }
            Record::Thread(thread) => {
                let name = text(thread.name.bytes().collect());
                (thread.thread, What::Thread { action: thread.action, name })
            }
            _ => return None,
        };
        Some(Self { tsc: record.tsc(), vcpu, thread, what })
    }

    /// Whether its name is a site's.
    pub(super) fn has_site(&self) -> bool {
        !matches!(self.what, What::Switch { .. } | What::Log { .. } | What::Thread { .. })
    }
}

/// An event as it is shown.
#[derive(Serialize)]
pub(crate) struct Line {
    schema: &'static str,
    /// Since the guest's boot.
    seconds: f64,
    tsc: u64,
    vcpu: u32,
    thread: u32,
    thread_name: String,
    kind: &'static str,
    /// The site's name; `switch`, `log`, `thread` for what has no site.
    name: String,
    /// By name, in the site's order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    args: Vec<(String, Value)>,
    /// How long a span took.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Where the site is in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl Line {
    pub(super) fn new(event: &Event, sites: &Sites, figures: &Figures) -> Self {
        let mut line = Self {
            schema: SCHEMA,
            seconds: figures.since_boot(event.tsc),
            tsc: event.tsc,
            vcpu: event.vcpu,
            thread: event.thread,
            thread_name: figures.thread(event.thread),
            kind: "",
            name: String::new(),
            args: Vec::new(),
            duration_ns: None,
            text: None,
            file: None,
            line: None,
        };
        match &event.what {
            What::Event { site, args } => line.site("event", sites, *site, args),
            What::SpanBegin { site, args } => line.site("span_begin", sites, *site, args),
            What::SpanEnd { site, began } => {
                line.site("span_end", sites, *site, &[]);
                line.duration_ns = figures.nanoseconds(event.tsc.saturating_sub(*began));
            }
            What::Counter { site, value } => {
                line.site("counter", sites, *site, &[]);
                line.arg("value", *value);
            }
            What::Switch { to, reason } => {
                (line.kind, line.name) = ("switch", "switch".into());
                line.arg("to", *to);
                line.arg("to_name", figures.thread(*to));
                line.arg("reason", reason_name(*reason));
            }
            What::Log { text } => {
                (line.kind, line.name) = ("log", "log".into());
                line.text = Some(output::printable(text));
            }
            What::Thread { action, name } => {
                (line.kind, line.name) = ("thread", "thread".into());
                let action = if *action == ThreadAction::Started { "started" } else { "exited" };
                line.arg("action", action);
                line.arg("name", name.as_str());
            }
        }
        line
    }

    /// Takes over what is known of a site. Arguments without a name are numbered.
    fn site(&mut self, kind: &'static str, sites: &Sites, id: u32, args: &[u64]) {
        let site = sites.get(id);
        self.kind = kind;
        self.name = site.map_or_else(|| format!("site {id}"), |site| site.name.clone());
        for (index, value) in args.iter().enumerate() {
            let name = site.and_then(|site| Some(site.args.get(index)?.name.clone()));
            self.args.push((name.unwrap_or_else(|| index.to_string()), (*value).into()));
        }
        self.file = site.map(|site| site.file.clone());
        self.line = site.map(|site| site.line);
    }

    fn arg(&mut self, name: &str, value: impl Into<Value>) {
        self.args.push((name.to_owned(), value.into()));
    }

    fn text(&self, name: &str) -> &str {
        let found = self.args.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }

    fn told(&self) -> String {
        let args: Vec<String> =
            self.args.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        let args = args.join(" ");
        match self.kind {
            "switch" => format!("switch to {} ({})", self.text("to_name"), self.text("reason")),
            "log" => format!("log: {}", self.text.as_deref().unwrap_or_default()),
            "thread" => format!("thread {} {}", self.text("name"), self.text("action")).replace("  ", " "),
            "span_end" => match self.duration_ns {
                Some(ns) => format!("{} ended after {}", self.name, length(ns)),
                None => format!("{} ended", self.name),
            },
            "span_begin" => format!("{} began {args}", self.name),
            _ => format!("{} {args}", self.name),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = output::printable(&self.told());
        let thread = output::printable(&self.thread_name);
        write!(f, "{:>12.6}  vcpu{}  {thread:<16}  {}", self.seconds, self.vcpu, told.trim_end())
    }
}

fn as_map<S: Serializer>(args: &[(String, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(args.iter().map(|(name, value)| (name, value)))
}

fn reason_name(reason: SwitchReason) -> &'static str {
    match reason {
        SwitchReason::Preempted => "preempted",
        SwitchReason::Yielded => "yielded",
        SwitchReason::Blocked => "blocked",
        SwitchReason::Sleeping => "sleeping",
        SwitchReason::Exited => "exited",
        SwitchReason::Idle => "idle",
    }
}

fn shown(value: &Value) -> String {
    match value.as_u64() {
        Some(number) if number >= LARGE => format!("{number:#x}"),
        _ => value.to_string(),
    }
}

fn length(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{} us", ns / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use uniprof_wire::record::{EventRecord, SpanEndRecord, SwitchRecord};

    use super::*;
    use uniprof_events::SiteArg;

    use crate::sites::Site;
    use uniprof_wire::site::{ArgType, SiteKind};

    fn told(record: &Record<'_>) -> String {
        let site = Site {
            id: 16,
            kind: SiteKind::Event,
            name: "kv.get".into(),
            file: "kv.rs".into(),
            line: 7,
            enabled: true,
            slot: None,
            args: vec![SiteArg { name: "key".into(), ty: ArgType::Unsigned }],
        };
        let mut figures = Figures { tsc_hz: 1_000_000, ..Figures::default() };
        figures.threads.insert(3, "kv-0\u{1b}[2J".into());
        Line::new(&Event::new(1, record).unwrap(), &[site].into_iter().collect(), &figures).to_string()
    }

    #[test]
    fn events_are_told_with_names_and_arguments() {
        let event = |site, args| Record::Event(EventRecord { tsc: 1_500_000, site, thread: 3, args });
        assert_eq!(told(&event(16, &[12])), "    1.500000  vcpu1  kv-0\\u{1b}[2J     kv.get key=12");
        // A site that is not known, and more arguments than names.
        assert!(told(&event(24, &[1])).ends_with("  site 24 0=1"));
        assert!(told(&event(16, &[1, 1 << 40])).ends_with("  kv.get key=1 1=0x10000000000"));
        let end = SpanEndRecord { tsc: 1_500_000, site: 16, thread: 3, begin: 1_499_000, begun_on: 3 };
        assert!(told(&Record::SpanEnd(end)).ends_with("  kv.get ended after 1000 us"));
        let switch = SwitchRecord { tsc: 0, from: 3, to: 9, reason: SwitchReason::Blocked };
        assert!(told(&Record::Switch(switch)).ends_with("  switch to thread 9 (blocked)"));
    }
}
