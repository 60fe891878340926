//! One look, as text or as a document.

use std::io::Write as _;

use serde::Serialize;
use uniprof_flamegraph::Measure;
use uniprof_tui::picture::{Fate, Kind, Picture, ThreadRow};

use crate::output;

/// Functions that a person is shown.
const TOP: usize = 20;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    guest: &'a str,
    /// `live`, `recording` or `core`.
    kind: &'static str,
    pid: Option<u32>,
    kernel: &'a str,
    build_id: Option<&'a str>,
    transport: &'a str,
    accelerator: Option<&'a str>,
    /// What became of it.
    fate: &'static str,
    fate_text: Option<&'a str>,
    /// Seconds from the guest's boot to the moment.
    at_seconds: f64,
    /// Samples per second and vCPU in effect; 0 off.
    rate: u32,
    overview: Overview,
    functions: Vec<Function>,
    /// Null where they are not known.
    threads: Option<Vec<Thread<'a>>>,
    /// Why functions have no names; null where they have.
    symbols_missing: Option<&'a str>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Overview {
    vcpus: Vec<Vcpu>,
    run_queue: usize,
    threads: usize,
    samples: u64,
    samples_rate: f64,
    events_rate: f64,
    loss_rate: f64,
    received: u64,
    lost: u64,
    lost_by: std::collections::BTreeMap<&'static str, u64>,
    own_cost: Option<f64>,
}

#[derive(Serialize)]
struct Vcpu {
    id: u32,
    busy: f64,
    irq: Option<f64>,
    idle: f64,
    interrupts_rate: Option<f64>,
    thread: Option<u32>,
}

#[derive(Serialize)]
struct Function {
    name: String,
    #[serde(rename = "self")]
    own: u64,
    total: u64,
    file: Option<String>,
    unknown: bool,
}

#[derive(Serialize)]
struct Thread<'a> {
    id: u32,
    name: &'a str,
    state: &'static str,
    vcpu: u32,
    cpu_seconds: Option<f64>,
    cpu_share: Option<f64>,
    waits_for: Option<&'a str>,
    held_by: Option<u32>,
    function: Option<&'a str>,
    since_seconds: Option<f64>,
}

impl<'a> Thread<'a> {
    fn new(row: &'a ThreadRow) -> Self {
        Self {
            id: row.id,
            name: &row.name,
            state: row.state,
            vcpu: row.vcpu,
            cpu_seconds: row.cpu_seconds,
            cpu_share: row.cpu_share,
            waits_for: row.waits_for.as_deref(),
            held_by: row.held_by,
            function: row.function.as_deref(),
            since_seconds: row.since_seconds,
        }
    }
}

/// Prints a picture.
pub(super) fn print(picture: &Picture, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&document(picture));
    }
    let mut out = output::stdout();
    head(&mut out, picture)?;
    functions(&mut out, picture)?;
    threads(&mut out, picture)?;
    Ok(out.flush()?)
}

fn document(picture: &Picture) -> Document<'_> {
    let (subject, overview) = (&*picture.subject, &picture.overview);
    let (fate, fate_text) = fate(&picture.fate);
    let functions =
        picture.cpu.as_ref().map(|profile| profile.functions(Measure::Samples)).unwrap_or_default();
    Document {
        schema: "uniprof.top/1",
        guest: &subject.name,
        kind: match subject.kind {
            Kind::Live => "live",
            Kind::Recording => "recording",
            Kind::Core => "core",
        },
        pid: subject.pid,
        kernel: &subject.kernel,
        build_id: subject.build_id.as_deref(),
        transport: &subject.transport,
        accelerator: subject.accelerator.as_deref(),
        fate,
        fate_text,
        at_seconds: picture.time.at,
        rate: picture.rate.unwrap_or(0),
        overview: Overview {
            vcpus: overview
                .vcpus
                .iter()
                .map(|vcpu| Vcpu {
                    id: vcpu.id,
                    busy: vcpu.busy,
                    irq: vcpu.irq,
                    idle: vcpu.idle,
                    interrupts_rate: vcpu.interrupts,
                    thread: vcpu.thread,
                })
                .collect(),
            run_queue: overview.run_queue,
            threads: overview.threads,
            samples: overview.samples,
            samples_rate: overview.samples_rate,
            events_rate: overview.events_rate,
            loss_rate: overview.loss_rate,
            received: overview.loss.received,
            lost: overview.loss.lost,
            lost_by: overview.loss.causes.iter().copied().collect(),
            own_cost: overview.own_cost,
        },
        functions: functions
            .into_iter()
            .map(|function| Function {
                own: function.own.samples,
                total: function.total.samples,
                file: function.file,
                unknown: function.unknown,
                name: function.name,
            })
            .collect(),
        threads: picture.threads.as_ref().ok().map(|rows| rows.iter().map(Thread::new).collect()),
        symbols_missing: subject.symbols.as_ref().err().map(String::as_str),
        notes: &picture.notes,
    }
}

/// What became of it, as a word and with what more is known.
fn fate(fate: &Fate) -> (&'static str, Option<&str>) {
    match fate {
        Fate::Runs => ("runs", None),
        Fate::Paused => ("paused", None),
        Fate::Wedged(why) => ("wedged", Some(why)),
        Fate::Exited(how) => ("exited", how.as_deref()),
        Fate::Crashed(words) => ("crashed", Some(words)),
        Fate::VmmGone(how) => ("vmm-gone", how.as_deref()),
        Fate::EndOfRecording(how) => ("end-of-recording", Some(how)),
    }
}

/// Writes the figures of the whole guest for people.
pub(crate) fn head(out: &mut dyn std::io::Write, picture: &Picture) -> anyhow::Result<()> {
    let (subject, overview) = (&*picture.subject, &picture.overview);
    let (fate, more) = fate(&picture.fate);
    let more = more.map(|text| format!(": {}", output::printable(text))).unwrap_or_default();
    writeln!(
        out,
        "{}: {fate}{more}, {:.1} s after its boot, {} samples at {} Hz over {}",
        output::printable(&subject.name),
        picture.time.at,
        overview.samples,
        picture.rate.unwrap_or(0),
        subject.transport
    )?;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let own = overview.own_cost.map_or_else(String::new, |cost| format!(", own cost {}", percent(cost)));
    writeln!(
        out,
        "{} threads, {} of them want a CPU; per second {:.0} samples, {:.0} other records; {} lost{own}",
        overview.threads, overview.run_queue, overview.samples_rate, overview.events_rate, overview.loss.lost
    )?;
    for vcpu in &overview.vcpus {
        let irq = vcpu.irq.map_or_else(String::new, |irq| format!(", interrupts {}", percent(irq)));
        writeln!(out, "vCPU {}: busy {}{irq}, idle {}", vcpu.id, percent(vcpu.busy), percent(vcpu.idle))?;
    }
    if let Err(why) = &subject.symbols {
        writeln!(out, "{}", output::printable(why))?;
    }
    for note in picture.notes.iter() {
        writeln!(out, "{}", output::printable(note))?;
    }
    Ok(())
}

fn functions(mut out: &mut dyn std::io::Write, picture: &Picture) -> anyhow::Result<()> {
    writeln!(out)?;
    let profile = match &picture.cpu {
        Ok(profile) => profile,
        Err(why) => return Ok(writeln!(out, "{why}")?),
    };
    let all = profile.total().samples.max(1);
    let percent = |part: u64| format!("{:>6.2} %", part as f64 * 100.0 / all as f64);
    let functions = profile.functions(Measure::Samples);
    let mut rows = vec![["    SELF", "   TOTAL", "FUNCTION"].map(str::to_owned)];
    rows.extend(functions.iter().take(TOP).map(|function| {
        [percent(function.own.samples), percent(function.total.samples), function.name.clone()]
    }));
    output::table(&mut out, &rows)?;
    if functions.len() > TOP {
        writeln!(out, "… and {} more (--json has all)", functions.len() - TOP)?;
    }
    Ok(())
}

/// Writes the table of threads, after an empty line.
pub(crate) fn threads(mut out: &mut dyn std::io::Write, picture: &Picture) -> anyhow::Result<()> {
    writeln!(out)?;
    let rows = match &picture.threads {
        Ok(rows) => rows,
        Err(why) => return Ok(writeln!(out, "{why}")?),
    };
    let head = ["ID", "NAME", "STATE", "VCPU", "CPU TIME", "SHARE", "SINCE", "WAITS FOR", "IN"];
    let mut lines = vec![head.map(str::to_owned)];
    let seconds = |value: Option<f64>| value.map_or_else(|| "?".into(), |value| format!("{value:.3} s"));
    for row in rows.iter() {
        lines.push([
            row.id.to_string(),
            row.name.clone(),
            row.state.into(),
            row.vcpu.to_string(),
            seconds(row.cpu_seconds),
            row.cpu_share.map_or_else(|| "?".into(), |share| format!("{:.1} %", share * 100.0)),
            seconds(row.since_seconds),
            row.waits_for.clone().unwrap_or_default(),
            row.function.clone().unwrap_or_default(),
        ]);
    }
    Ok(output::table(&mut out, &lines)?)
}
