//! What is in effect, and who asks for it.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use uniprof_collector::attach::Attached;
use uniprof_collector::clock::HostTime;
use uniprof_collector::control::{self, Asker};
use uniprof_collector::guests::GuestEntry;
use uniprof_wire::tables::VcpuStats;

use super::ask::{Ask, percent, words};
use crate::output;
use crate::selection::class_names;

#[derive(Serialize)]
pub(super) struct Document {
    schema: &'static str,
    guest: String,
    /// How long it took until the guest had surely seen the request; null where nothing was asked for.
    effective_ms: Option<f64>,
    /// Whether the request is held by this command, or left behind.
    lasting: Option<bool>,
    effect: Effect,
    askers: Vec<Row>,
}

/// What the guest says is in effect.
#[derive(Serialize)]
struct Effect {
    /// Samples per second and vCPU.
    rate: u32,
    /// What was asked for: more while the budget holds it down.
    rate_asked: u32,
    classes: Vec<&'static str>,
    /// Classes that the budget has switched off for now.
    classes_shed: Vec<&'static str>,
    /// Bytes of stack with each sample; 0: frame pointers.
    stack_bytes: u32,
    /// Of each packet; 0: none are recorded.
    packet_bytes: u32,
    budget_percent: Option<f64>,
    /// How often the budget made the guest give something up.
    throttled: u64,
    /// How often it has looked at what is asked for.
    looks: u64,
}

#[derive(Serialize)]
struct Row {
    slot: usize,
    pid: u32,
    /// The process's name, while it runs.
    program: Option<String>,
    lease_ms: u32,
    /// Since it last asked or renewed.
    asked_ms_ago: u64,
    /// Whether its lease lives.
    alive: bool,
    rate: u32,
    classes: Vec<&'static str>,
    patterns: String,
    stack_bytes: u32,
    budget_percent: Option<f64>,
    mark: Option<String>,
    /// All of it, as it would be typed.
    words: String,
}

impl Document {
    pub(super) fn new(
        entry: &GuestEntry,
        attached: &Attached,
        vcpus: &[VcpuStats],
        after: Option<Duration>,
        ask: Option<&Ask>,
    ) -> anyhow::Result<Self> {
        let askers = control::asked(attached)?;
        Ok(Self {
            schema: "uniprof.ctl/1",
            guest: entry.name.clone(),
            effective_ms: after.map(|after| (after.as_secs_f64() * 1e5).round() / 100.0),
            lasting: ask.map(Ask::is_lasting),
            effect: Effect::of(vcpus),
            askers: askers.iter().map(Row::of).collect(),
        })
    }
}

impl Effect {
    /// All vCPUs say the same; what a sample takes along is known to those that have ticked.
    fn of(vcpus: &[VcpuStats]) -> Self {
        let first = vcpus.first().copied().unwrap_or_default();
        Self {
            rate: first.rate,
            rate_asked: first.rate_asked,
            classes: class_names(first.classes),
            classes_shed: class_names(first.classes_shed),
            stack_bytes: vcpus.iter().map(|vcpu| vcpu.snapshot_bytes).max().unwrap_or(0),
            packet_bytes: first.packet_bytes,
            budget_percent: (first.budget_ppm > 0).then(|| percent(first.budget_ppm)),
            throttled: first.throttled,
            looks: first.looks,
        }
    }

    fn told(&self) -> String {
        let mut parts = vec![match self.rate == self.rate_asked {
            true => format!("{} Hz", self.rate),
            false => format!("{} of {} Hz", self.rate, self.rate_asked),
        }];
        parts.push(match self.stack_bytes {
            0 => "frame pointers".into(),
            bytes => format!("{bytes} bytes of stack"),
        });
        if self.packet_bytes > 0 {
            parts.push(format!("{} bytes of packets", self.packet_bytes));
        }
        parts.push(if self.classes.is_empty() { "no classes".into() } else { self.classes.join(" ") });
        if !self.classes_shed.is_empty() {
            parts.push(format!("without {} for the budget", self.classes_shed.join(" ")));
        }
        if let Some(percent) = self.budget_percent {
            let times = match self.throttled {
                0 => String::new(),
                1 => " (given up once)".into(),
                times => format!(" (given up {times} times)"),
            };
            parts.push(format!("budget {percent} %{times}"));
        }
        parts.join(", ")
    }
}

impl Row {
    fn of(asker: &Asker) -> Self {
        let request = &asker.request;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let age = HostTime::now().realtime_ns.saturating_sub(request.asked_ns);
        Self {
            slot: asker.slot,
            pid: asker.pid(),
            program: std::fs::read_to_string(format!("/proc/{}/comm", asker.pid()))
                .ok()
                .map(|name| name.trim().into()),
            lease_ms: request.lease_ms,
            asked_ms_ago: age / 1_000_000,
            alive: asker.alive,
            rate: request.rate,
            classes: class_names(request.classes),
            patterns: text(request.patterns.bytes()),
            stack_bytes: request.snapshot_bytes,
            budget_percent: (request.budget_ppm > 0).then(|| percent(request.budget_ppm)),
            mark: (request.mark > 0).then(|| text(request.mark_text.bytes())),
            words: words(asker),
        }
    }

    fn cells(&self) -> [String; 4] {
        let who = match &self.program {
            Some(program) => format!("{program} (pid {})", self.pid),
            None => format!("pid {}, which has ended", self.pid),
        };
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1e3);
        let over = if self.alive { "" } else { ", over" };
        let lease =
            format!("{}, asked {} ago{over}", seconds(self.lease_ms.into()), seconds(self.asked_ms_ago));
        [self.slot.to_string(), who, lease, self.words.clone()]
    }
}

pub(super) fn print(document: &Document, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(document);
    }
    let mut out = output::stdout();
    match document.effective_ms {
        Some(ms) => writeln!(out, "in effect after {ms:.0} ms: {}", document.effect.told())?,
        None => writeln!(out, "in effect: {}", document.effect.told())?,
    }
    if document.effective_ms.is_none() {
        if document.askers.is_empty() {
            writeln!(out, "nobody asks for anything: this is what the guest does by itself")?;
        } else {
            let mut rows = vec![["SLOT", "WHO", "LEASE", "ASKS FOR"].map(str::to_owned)];
            rows.extend(document.askers.iter().map(Row::cells));
            output::table(&mut out, &rows)?;
        }
    }
    Ok(out.flush()?)
}
