//! `uniprof ls`: the guests on this host, and what can be done with each.
//!
//! ```text
//! $ uniprof ls
//! NAME  PID   UP    VMM          VCPUS  MEMORY  CAN                                 KERNEL
//! kv    4711  12s   qemu         2      256M    region profile control qmp dump symbols  /tmp/uniprof-kernel-8Xq2/uniprof-sample-kernel
//! shop  4802  3h2m  qemu         1      128M    region profile dump symbols         /srv/shop/kernel.elf
//! web   4950  8s    firecracker  1      -       -                                   /srv/web/vmlinux
//! uniprof: web (pid 4950): the memory of a firecracker is not read by this version
//! ```

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use uniprof_collector::clock::HostTime;
use uniprof_collector::discover::{self, Found, Monitor, Reach};
use uniprof_collector::guests::{GuestEntry, Registry};
use uniprof_collector::qemu::Transport;

use crate::exit::{Exit, Failure};
use crate::profile::finder;
use crate::target::Candidate;
use crate::{guest, output};

const EXAMPLES: &str = "\
Examples:
  uniprof ls
  uniprof ls --json | jq -r '.guests[].name'
  uniprof ls --json | jq -r '.guests[] | select(.can | index(\"profile\")).pid'
  uniprof ls --container 3f1c0a9be2d4           the guest whose VMM is a process of that container

What can be done: region (its observation region is found in memory), profile (it can be recorded), control (it can be asked for
other rates and events), qmp and gdbstub (QEMU listens there), dump, symbols (its kernel's file names functions), outside-only
(it has no probes). `uniprof doctor GUEST` says what mends the rest.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only the guest whose VMM is a process of this container, by its id or the beginning of it
    #[arg(long, value_name = "ID")]
    container: Option<String>,
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
    /// The program that it runs in.
    vmm: &'static str,
    /// Null where its command line names none.
    kernel: Option<String>,
    vcpus: Option<u32>,
    memory_bytes: Option<u64>,
    can: Vec<&'static str>,
    /// Whether `uniprof` has started it.
    ours: bool,
    up_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<&'static str>,
    /// How records get to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accelerator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// Whether its probes are there, so that `record` works; else why not.
    probes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes_reason: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let now = HostTime::now().realtime_ns;
    let here = Candidate::all_of(Registry::open()?.list()?, discover::found());
    let wanted = |one: &Candidate| args.container.as_ref().is_none_or(|id| one.is_in(id));
    let guests: Vec<Row> = here.into_iter().filter(wanted).filter_map(|one| row(one, now)).collect();
    if let (Some(id), true) = (&args.container, guests.is_empty()) {
        let why = format!("no VMM on this host is a process of a container {id}");
        return Err(Failure::error(Exit::Target, why));
    }
    if args.json {
        return output::json(&Document { schema: "uniprof.ls/1", guests });
    }
    print(&guests)
}

/// What is said of a guest; nothing of one that has ended meanwhile.
fn row(one: Candidate, now: u64) -> Option<Row> {
    let Candidate { ours, found } = one;
    match (ours, found) {
        (Some(entry), found) => Some(of_entry(&entry, found.as_ref(), now)),
        (None, Some(found)) => of_found(&found, now),
        (None, None) => None,
    }
}

fn of_entry(entry: &GuestEntry, found: Option<&Found>, now: u64) -> Row {
    let reach = Reach::of(entry, found.and_then(|found| found.vmm.as_ref()));
    let kernels = guest::kernel_paths(entry);
    let kernel = kernels.iter().find(|path| path.is_file());
    let placement = match &reach.region {
        Ok(region) => entry.placement_of(region),
        Err(_) => entry.placement,
    };
    let transport = if entry.port.is_some() { Transport::VirtioSerial } else { Transport::Shm };
    let path = Some(&entry.kernel).filter(|path| !path.as_os_str().is_empty());
    Row {
        name: entry.name.clone(),
        pid: entry.pid,
        vmm: found.map_or(Monitor::Qemu, |found| found.monitor).name(),
        kernel: path.map(|path| path.display().to_string()),
        vcpus: Some(entry.vcpus),
        memory_bytes: Some(entry.memory_bytes),
        can: can(&reach, kernel.map(std::path::PathBuf::as_path)),
        ours: entry.is_ours(),
        up_seconds: now.saturating_sub(entry.started_ns) / 1_000_000_000,
        machine: Some(entry.machine.name().into()),
        placement: Some(placement.name()),
        transport: Some(transport.name()),
        accelerator: Some(entry.accelerator.name.clone()),
        container: container(found),
        probes: reach.profile.is_ok(),
        probes_reason: reach.profile.err().map(|no| no.why),
    }
}

fn of_found(found: &Found, now: u64) -> Option<Row> {
    let base = |can, probes_reason| Row {
        name: found.name.clone(),
        pid: found.pid,
        vmm: found.monitor.name(),
        kernel: found.kernel.as_ref().map(|path| path.display().to_string()),
        vcpus: found.vcpus,
        memory_bytes: found.memory_bytes,
        can,
        ours: false,
        up_seconds: now.saturating_sub(found.started_ns) / 1_000_000_000,
        machine: None,
        placement: None,
        transport: None,
        accelerator: None,
        container: container(Some(found)),
        probes: false,
        probes_reason: Some(probes_reason),
    };
    let Some(vmm) = &found.vmm else {
        let symbols = found.kernel.as_deref().is_some_and(names_functions).then_some("symbols");
        let why = format!("the memory of a {} is not read by this version", found.monitor.name());
        return Some(base(symbols.into_iter().collect(), why));
    };
    match vmm.entry() {
        Ok(entry) => {
            // Its kernel is known by the path that leads to it from here.
            let kernel = found.kernel.as_ref().map(|path| path.display().to_string());
            Some(Row { kernel, ..of_entry(&entry, Some(found), now) })
        }
        Err(_) if vmm.is_dead() => None,
        Err(error) => {
            let reach = Reach::of_process(vmm);
            let machine = Some(vmm.machine().to_owned());
            Some(Row { machine, ..base(can(&reach, found.kernel.as_deref()), error.to_string()) })
        }
    }
}

fn container(found: Option<&Found>) -> Option<String> {
    found?.container.as_ref().map(|container| container.id.clone())
}

fn can(reach: &Reach, kernel: Option<&Path>) -> Vec<&'static str> {
    // One that can't be looked into may have probes.
    let no_probes = reach.profile.is_err() && reach.dump.is_ok();
    let words = [
        ("region", reach.region.is_ok()),
        ("profile", reach.profile.is_ok()),
        ("control", reach.control.is_ok()),
        ("qmp", reach.qmp.is_some()),
        ("gdbstub", reach.debugger.is_some()),
        ("dump", reach.dump.is_ok()),
        ("symbols", kernel.is_some_and(names_functions)),
        ("outside-only", no_probes),
    ];
    words.into_iter().filter(|(_, can)| *can).map(|(word, _)| word).collect()
}

/// Whether a kernel's file names functions.
pub(crate) fn names_functions(kernel: &Path) -> bool {
    finder::open(kernel).is_ok_and(|(_, image)| {
        let info = image.debug_info();
        info.dwarf || info.symbols
    })
}

fn print(guests: &[Row]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if guests.is_empty() {
        output::say(format_args!("no guest runs here; start one with `uniprof run bundled`"));
        return Ok(());
    }
    let head = ["NAME", "PID", "UP", "VMM", "VCPUS", "MEMORY", "CAN", "KERNEL"];
    let mut lines = vec![head.map(str::to_owned)];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    lines.extend(guests.iter().map(|guest| {
        [
            output::printable(&guest.name),
            guest.pid.to_string(),
            since(guest.up_seconds),
            guest.vmm.to_owned(),
            or_dash(guest.vcpus.map(|count| count.to_string())),
            or_dash(guest.memory_bytes.map(size)),
            or_dash(Some(guest.can.join(" ")).filter(|words| !words.is_empty())),
            or_dash(guest.kernel.as_deref().map(output::printable)),
        ]
    }));
    output::table(&mut out, &lines)?;
    out.flush()?;
    for guest in guests {
        if let Some(why) = &guest.probes_reason {
            output::say(format_args!("uniprof: {} (pid {}): {why}", guest.name, guest.pid));
        }
    }
    Ok(())
}

fn since(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, hours, ..) => format!("{days}d{hours}h"),
    }
}

fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes >= GIB && bytes.is_multiple_of(GIB) {
        format!("{}G", bytes / GIB)
    } else {
        format!("{}M", bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!([5, 65, 3700, 90_000].map(since), ["5s", "1m5s", "1h1m", "1d1h"]);
        assert_eq!([128 << 20, 4 << 30, 1536 << 20].map(size), ["128M", "4G", "1536M"]);
    }
}
