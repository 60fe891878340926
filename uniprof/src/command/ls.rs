//! `uniprof ls`: the guests on this host, and what can be done with each.
//!
//! ```text
//! $ uniprof ls
//! NAME  PID   UP   VCPUS  MACHINE  REGION   ACCEL  PROBES  KERNEL
//! kv    4711  12s  2      q35      ivshmem  tcg    yes     /tmp/uniprof-kernel-8Xq2/uniprof-sample-kernel
//! ```

use std::io::Write as _;

use serde::Serialize;
use uniprof_collector::clock::HostTime;
use uniprof_collector::guests::{GuestEntry, Registry};
use uniprof_collector::memory::find_region;
use uniprof_collector::qemu::Transport;

use crate::output;

const EXAMPLES: &str = "\
Examples:
  uniprof ls
  uniprof ls --json | jq -r '.guests[].name'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print a JSON document (schema uniprof.ls/1)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    guests: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    pid: u32,
    up_seconds: u64,
    vcpus: u32,
    memory_bytes: u64,
    machine: &'static str,
    placement: &'static str,
    /// How records get to the host.
    transport: &'static str,
    accelerator: String,
    kernel: String,
    /// Whether its probes are there, so that `record` works; else why not.
    probes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes_reason: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let now = HostTime::now().realtime_ns;
    let guests: Vec<Row> = Registry::open()?.list()?.into_iter().map(|entry| row(entry, now)).collect();
    if args.json {
        return output::json(&Document { schema: "uniprof.ls/1", guests });
    }
    print(&guests)
}

fn row(entry: GuestEntry, now: u64) -> Row {
    let reason = no_probes(&entry);
    let transport = if entry.port.is_some() { Transport::VirtioSerial } else { Transport::Shm };
    Row {
        pid: entry.pid,
        up_seconds: now.saturating_sub(entry.started_ns) / 1_000_000_000,
        vcpus: entry.vcpus,
        memory_bytes: entry.memory_bytes,
        machine: entry.machine.name(),
        placement: entry.placement.name(),
        transport: transport.name(),
        accelerator: entry.accelerator.name,
        kernel: entry.kernel.display().to_string(),
        name: entry.name,
        probes: reason.is_none(),
        probes_reason: reason,
    }
}

/// Why nothing can be recorded from it, if nothing can.
fn no_probes(entry: &GuestEntry) -> Option<String> {
    // Its port serves one at a time, who may be recording: it is not asked.
    if entry.port.is_some() {
        return None;
    }
    let search = entry.open_memory().and_then(|memory| find_region(&*memory, None));
    match search {
        Ok(Ok(_)) => None,
        Ok(Err(search)) => Some(match search.refused.first() {
            Some((at, why)) => format!("the region at {at} can't be used: {why}"),
            None => "no observation region: still booting, or a kernel without probes".into(),
        }),
        Err(error) => Some(error.to_string()),
    }
}

fn print(guests: &[Row]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if guests.is_empty() {
        output::say(format_args!("no guest runs here; start one with `uniprof run bundled`"));
        return Ok(());
    }
    let head = ["NAME", "PID", "UP", "VCPUS", "MACHINE", "REGION", "ACCEL", "PROBES", "KERNEL"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(guests.iter().map(|guest| {
        [
            guest.name.clone(),
            guest.pid.to_string(),
            format!("{}s", guest.up_seconds),
            guest.vcpus.to_string(),
            guest.machine.to_owned(),
            if guest.transport == Transport::Shm.name() { guest.placement } else { guest.transport }
                .to_owned(),
            guest.accelerator.clone(),
            if guest.probes { "yes" } else { "no" }.to_owned(),
            guest.kernel.clone(),
        ]
    }));
    output::table(&mut out, &lines)?;
    Ok(out.flush()?)
}
