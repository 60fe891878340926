//! All tables of a picture as text: that of the pane that is seen comes first.

use std::io::Write;

use uniprof_flamegraph::{Amount, Measure, Measured};
use uniprof_tui::picture::{Known, Picture};
use uniprof_tui::{Pane, Seen};

use super::save;
use crate::command::attach::once;
use crate::output;

/// In the order in which they are written.
const ALL: [Pane; 5] = [Pane::Functions, Pane::Threads, Pane::Events, Pane::Locks, Pane::Memory];

/// Writes them, with what is known of the whole guest before.
pub(super) fn write(out: &mut dyn Write, picture: &Picture, seen: Seen) -> anyhow::Result<()> {
    let first = if ALL.contains(&seen.pane) { seen.pane } else { Pane::Functions };
    once::head(out, picture)?;
    for pane in std::iter::once(first).chain(ALL.into_iter().filter(|pane| *pane != first)) {
        match pane {
            Pane::Threads => once::threads(out, picture)?,
            Pane::Events => events(out, picture)?,
            Pane::Locks => locks(out, picture)?,
            Pane::Memory => memory(out, picture)?,
            _ => functions(out, picture, seen.measured)?,
        }
    }
    Ok(())
}

/// What is known, or a line that says why it is not.
fn known<'a, T>(out: &mut dyn Write, what: &str, known: &'a Known<T>) -> anyhow::Result<Option<&'a T>> {
    writeln!(out)?;
    match known {
        Ok(known) => Ok(Some(known)),
        Err(why) => {
            writeln!(out, "{what}: {}", output::printable(why))?;
            Ok(None)
        }
    }
}

fn functions(mut out: &mut dyn Write, picture: &Picture, measured: Measured) -> anyhow::Result<()> {
    let Some(profile) = known(out, "functions", save::profile(picture, measured))? else { return Ok(()) };
    let by = if measured == Measured::Cpu { Measure::Samples } else { Measure::Weight };
    writeln!(out, "{}", save::title(picture, profile).heading())?;
    let all = by.of(profile.total()).max(1);
    let percent = |part: Amount| format!("{:>6.2} %", by.of(part) as f64 * 100.0 / all as f64);
    let mut rows = vec![["    SELF", "   TOTAL", "FUNCTION"].map(str::to_owned)];
    let functions = profile.functions(by).into_iter();
    rows.extend(functions.map(|function| [percent(function.own), percent(function.total), function.name]));
    Ok(output::table(&mut out, &rows)?)
}

fn events(mut out: &mut dyn Write, picture: &Picture) -> anyhow::Result<()> {
    let Some(events) = known(out, "events", &picture.events)? else { return Ok(()) };
    let head = ["EVENT", "KIND", "COUNT", "PER SECOND", "P50", "P99", "LONGEST", "VALUE"];
    let mut rows = vec![head.map(str::to_owned)];
    for name in &events.names {
        let [p50, p99, longest] =
            name.latency_ns.map_or_else(Default::default, |latencies| latencies.map(output::duration));
        let value = name.value.map_or_else(String::new, |value| value.to_string());
        let (count, rate) = (name.count.to_string(), format!("{:.1}", name.rate));
        rows.push([name.name.clone(), name.kind.into(), count, rate, p50, p99, longest, value]);
    }
    output::table(&mut out, &rows)?;
    writeln!(out)?;
    let mut rows = vec![["AT", "VCPU", "THREAD", "EVENT", "ARGUMENTS"].map(str::to_owned)];
    for line in &events.tail {
        let at = format!("{:.6} s", line.at);
        rows.push([at, line.vcpu.to_string(), line.thread.clone(), line.name.clone(), line.text.clone()]);
    }
    Ok(output::table(&mut out, &rows)?)
}

fn locks(mut out: &mut dyn Write, picture: &Picture) -> anyhow::Result<()> {
    let Some(locks) = known(out, "locks", &picture.lock_rows)? else { return Ok(()) };
    let head = ["LOCK", "HELD BY", "WAITERS", "WAITS", "WAITED", "LONGEST", "HELD IN"];
    let mut rows = vec![head.map(str::to_owned)];
    for lock in locks.iter() {
        let waiters: Vec<String> = lock.waiters.iter().map(u32::to_string).collect();
        rows.push([
            lock.name.clone(),
            lock.holder.map_or_else(String::new, |holder| holder.to_string()),
            waiters.join(","),
            lock.waits.to_string(),
            output::duration(lock.waited_ns),
            output::duration(lock.longest_ns),
            lock.held_in.clone().unwrap_or_default(),
        ]);
    }
    Ok(output::table(&mut out, &rows)?)
}

fn memory(mut out: &mut dyn Write, picture: &Picture) -> anyhow::Result<()> {
    let Some(memory) = known(out, "memory", &picture.memory)? else { return Ok(()) };
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".into(), |bytes| bytes.to_string());
    writeln!(
        out,
        "heap: {} of {} bytes live, {} bytes allocated per second",
        bytes(memory.live_bytes),
        bytes(memory.heap_bytes),
        memory.allocated_rate.map_or_else(|| "?".into(), |rate| format!("{rate:.0}"))
    )?;
    let mut rows = vec![["LIVE BYTES", "BLOCKS", "GROWTH PER SECOND", "ALLOCATED BY"].map(str::to_owned)];
    for site in &memory.sites {
        let growth = format!("{:.0}", site.growth_rate);
        rows.push([site.bytes.to_string(), site.blocks.to_string(), growth, site.function.clone()]);
    }
    Ok(output::table(&mut out, &rows)?)
}
