//! `uniprof dump`: take a core of a guest that runs; it goes on afterwards.
//!
//! ```text
//! $ uniprof dump kv -o kv.core
//! wrote kv.core: 2.1 MB, of 264 MiB of memory; kv stood still for 41 ms
//! next: `uniprof core kv.core`
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use uniprof_collector::cancel::Cancel;
use uniprof_collector::capture::{Cause, CoreDir, Limits, complete, facts};
use uniprof_collector::clock::HostTime;
use uniprof_collector::dump;
use uniprof_collector::live::{LiveGuest, dump_by_qemu};
use uniprof_collector::qmp::Qmp;

use crate::guest::Target;
use crate::progress::Bytes;
use crate::subject::BY_SIZE;
use crate::{interrupt, output, supervisor};

const EXAMPLES: &str = "\
Examples:
  uniprof dump                                  the only guest here, to NAME-TIME-BUILD.core
  uniprof dump kv -o kv.core                    then: uniprof core kv.core
  uniprof dump kv --format elf -o kv.elf        an ELF core, for other tools
  uniprof dump qmp:/run/vm.qmp -o vm.dump       a QEMU that something else has started, by its QMP socket
  uniprof dump pid:4711 -o vm.core              a QEMU that something else has started, by its process

The guest stands still while its memory is written, and goes on then; one of a process without a control socket \
is read while it runs. A dump holds all that the guest knows: it can be read \
by its owner only.";

/// How long a QEMU that we did not start may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// What a target begins with that is a control socket.
const QMP: &str = "qmp:";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A guest, by name or pid as `uniprof ls` prints them, or qmp:SOCKET, or pid:N of any QEMU [default: the only guest here]
    target: Option<String>,
    /// The file to write [default: NAME-TIME-BUILD.core]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Who writes it, and how [default: core; kdump-zlib for qmp:SOCKET]
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// By uniprof out of shared memory: kdump-compressed, with what is known of the guest
    Core,
    /// By QEMU: an ELF core
    Elf,
    /// By QEMU: kdump-compressed, flattened
    KdumpZlib,
}

impl Format {
    /// QEMU's word for it.
    fn word(self) -> &'static str {
        match self {
            Self::Elf => "elf",
            Self::Core | Self::KdumpZlib => "kdump-zlib",
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let cancel = interrupt::token()?;
    let target = args.target.as_deref().unwrap_or_default();
    if let Some(socket) = target.strip_prefix(QMP) {
        return of_socket(Path::new(socket), args, &cancel);
    }
    let live = Target::find(target)?.open()?;
    match args.format {
        None | Some(Format::Core) => of_guest(&live, args, &cancel),
        Some(_) if !live.can_be_controlled() => anyhow::bail!(
            "{} has no control socket over which QEMU could be asked to write a dump: leave out --format",
            live.name()
        ),
        Some(format) => {
            let path = args.output.clone().map_or_else(|| free_path(&live), Ok)?;
            let paused = by_qemu(&path, |partial, progress| {
                Ok(live.with_control(|qmp| {
                    dump_by_qemu(qmp, live.name(), partial, format.word(), &cancel, progress)
                })?)
            })?;
            tell(&path, path.metadata()?.len(), None, &stood_still(live.name(), paused));
            Ok(())
        }
    }
}

/// A core that was taken.
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    bytes: u64,
    memory_bytes: u64,
    /// What is not in it, in sentences.
    pub(crate) lacks: Vec<String>,
    /// What it cost the guest.
    pub(crate) cost: String,
}

/// A guest whose memory is read where it lies.
fn of_guest(live: &LiveGuest, args: &Args, cancel: &Cancel) -> anyhow::Result<()> {
    let mut progress = Bytes::new("written");
    let taken = take(live, args.output.clone(), cancel, |done, all| progress.draw(done, all));
    progress.clear();
    let taken = taken?;
    for lack in &taken.lacks {
        output::say(format_args!("uniprof: {lack}"));
    }
    tell(&taken.path, taken.bytes, Some(taken.memory_bytes), &taken.cost);
    Ok(())
}

/// Takes a core of a guest, into a file that nobody chose where none is named.
pub(crate) fn take(
    live: &LiveGuest,
    path: Option<PathBuf>,
    cancel: &Cancel,
    progress: impl FnMut(u64, u64),
) -> anyhow::Result<Taken> {
    let path = path.map_or_else(|| free_path(live), Ok)?;
    let paused = live.pause()?;
    let mut missing = Vec::new();
    let cpus = live.registers().unwrap_or_else(|error| {
        missing.push(format!("not in it: {error}"));
        Vec::new()
    });
    let memory = live.memory();
    let mut facts = facts(live.facts(), &Cause::Asked, HostTime::now().realtime_ns);
    complete(&mut facts, &*memory, live.kernel().and_then(supervisor::build_id));
    if live.is_found_by_size_only() && facts.region_at.is_none() {
        facts.lacks.push(BY_SIZE.into());
    }
    let written = dump::write(&path, &*memory, &cpus, &facts, cancel, progress);
    let pause = paused.resume();
    let written = written?;
    missing.append(&mut facts.lacks);
    missing.extend(written.remarks.iter().map(|remark| format!("not in it: {remark}")));
    let cost = if live.can_be_controlled() {
        stood_still(live.name(), pause?)
    } else {
        format!("{} was not paused for it", live.name())
    };
    Ok(Taken { path, bytes: written.bytes, memory_bytes: written.memory_bytes, lacks: missing, cost })
}

/// A QEMU that something else has started.
fn of_socket(socket: &Path, args: &Args, cancel: &Cancel) -> anyhow::Result<()> {
    let format = match args.format {
        Some(Format::Core) => anyhow::bail!(
            "the memory of a guest that uniprof did not start is no file that it could read: use --format elf or kdump-zlib"
        ),
        format => format.unwrap_or(Format::KdumpZlib),
    };
    let mut qmp = Qmp::connect(socket, LIMIT)?;
    let answer = qmp.execute("query-name", serde_json::Value::Null, LIMIT)?;
    let name = answer.get("name").and_then(serde_json::Value::as_str).unwrap_or("guest").to_owned();
    let path = match &args.output {
        Some(path) => path.clone(),
        None => {
            let cores = CoreDir::open(Path::new("."), &plain(&name), Limits::default())?;
            cores.free_path(HostTime::now().realtime_ns, None)
        }
    };
    let paused = by_qemu(&path, |partial, progress| {
        Ok(dump_by_qemu(&mut qmp, &name, partial, format.word(), cancel, progress)?)
    })?;
    tell(&path, path.metadata()?.len(), None, &stood_still(&name, paused));
    Ok(())
}

/// Where a dump goes whose name nobody chose.
fn free_path(live: &LiveGuest) -> anyhow::Result<PathBuf> {
    let here = CoreDir::open(Path::new("."), &plain(live.name()), Limits::default())?;
    let build_id = live.kernel().and_then(supervisor::build_id);
    let path = here.free_path(HostTime::now().realtime_ns, build_id.as_deref());
    Ok(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
}

/// A guest's name as a part of a file's name.
fn plain(name: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    plain.trim_start_matches(['.', '-']).to_owned()
}

/// Has QEMU write a file beside `path`, which then takes its name, or is removed.
fn by_qemu(
    path: &Path,
    write: impl FnOnce(&Path, &mut dyn FnMut(u64, u64)) -> anyhow::Result<Duration>,
) -> anyhow::Result<Duration> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    // QEMU has a working directory of its own.
    let partial = std::path::absolute(path.with_file_name(name))?;
    // QEMU would follow a link, and leave a file that is there readable for whoever it was.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", partial.display()));
        }
        _ => {}
    }
    let mut progress = Bytes::new("written by QEMU");
    let result = write(&partial, &mut |done, all| progress.draw(done, all)).and_then(|paused| {
        std::fs::rename(&partial, path)
            .with_context(|| format!("cannot rename the dump to {}", path.display()))?;
        Ok(paused)
    });
    progress.clear();
    if result.is_err() {
        // QEMU may not even have made it.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

fn tell(path: &Path, bytes: u64, memory: Option<u64>, cost: &str) {
    let path = path.display();
    let memory = memory.map_or_else(String::new, |memory| format!(", of {} MiB of memory", memory >> 20));
    output::say(format_args!("wrote {path}: {:.1} MB{memory}; {cost}", bytes as f64 / 1e6));
    output::say(format_args!("next: `uniprof core {path}`"));
}

fn stood_still(name: &str, paused: Duration) -> String {
    match paused {
        Duration::ZERO => format!("{name} stood still already"),
        paused => format!("{name} stood still for {} ms", paused.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_file_that_qemu_is_to_write_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("x.elf"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("x.elf.partial")).unwrap();
        by_qemu(&path, |partial, _| {
            std::fs::write(partial, "core")?;
            Ok(Duration::ZERO)
        })
        .unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "core");
        assert!(path.symlink_metadata().unwrap().is_file());
    }
}
