//! `uniprof doctor`: what this machine lacks, and the command that mends it.
//!
//! ```text
//! $ uniprof doctor
//! yes  QEMU         QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)
//! no   KVM          this CPU offers neither vmx nor svm, though /dev/kvm exists; guests run emulated, which is slower
//!                   mend: enable virtualization in the firmware, or nested virtualization on the host of this VM
//! yes  shared RAM   /dev/shm has 25.2 GB free
//! yes  runtime dir  /run/user/1000/uniprof
//! yes  unikernel    bundled, 1.8 MB
//! $ uniprof doctor shop
//! yes  profile  its rings are read in QEMU's memory, without a pause
//! no   control  its memory belongs to its process alone: it is only read
//!               mend: -object memory-backend-file,id=ram,size=128M,mem-path=/dev/shm/shop,share=on -machine memory-backend=ram; or …
//! yes  dump     its memory; registers, and a moment at which it stands still, need -qmp unix:/tmp/shop.qmp,server=on,wait=off
//! yes  symbols  /srv/shop/kernel.elf
//! ```

mod guest;

use std::io::Write as _;
use std::process::Command;

use serde::Serialize;
use uniprof_collector::guests::Registry;
use uniprof_collector::qemu::HostCpu;

use crate::exit::{Exit, Failure};
use crate::{bundled, output};

const EXAMPLES: &str = "\
Examples:
  uniprof doctor
  uniprof doctor --json | jq '.checks[] | select(.ok | not) | .mend'
  uniprof doctor web                            what can be done with this guest, and what mends the rest
  uniprof doctor pid:4711 --json

Ends with 1 when something is missing that guests can't do without; of a guest: when it can't be profiled.";

/// Enough for the largest default: a guest's RAM and its region.
const ROOM: u64 = 512 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest; left out, this machine is looked at
    target: Option<String>,
    /// Print a JSON document (schema uniprof.doctor/1)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    /// The guest that was looked at; absent where it was this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    guest: Option<guest::Who>,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// Whether guests can't run or be observed without it.
    needed: bool,
    found: String,
    /// What makes it good; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn new(name: &'static str, needed: bool, result: Result<String, (String, String)>) -> Self {
        match result {
            Ok(found) => Self { name, ok: true, needed, found, mend: None },
            Err((found, mend)) => Self { name, ok: false, needed, found, mend: Some(mend) },
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (guest, checks) = match &args.target {
        Some(target) => guest::checks(target).map(|(who, checks)| (Some(who), checks))?,
        None => (None, machine()),
    };
    let missing: Vec<&str> =
        checks.iter().filter(|check| check.needed && !check.ok).map(|check| check.name).collect();
    let verdict = match missing.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::error(Exit::Failed, format!("missing: {}", missing.join(", ")))),
    };
    if args.json {
        output::json(&Document { schema: "uniprof.doctor/1", guest, checks })?;
    } else {
        print(&checks)?;
    }
    verdict
}

/// What guests need of this machine.
fn machine() -> Vec<Check> {
    vec![
        Check::new("QEMU", true, qemu()),
        Check::new("KVM", false, kvm()),
        Check::new("shared RAM", true, shared_ram()),
        Check::new("runtime dir", true, runtime_dir()),
        Check::new("unikernel", false, unikernel()),
    ]
}

fn print(checks: &[Check]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        let found = output::printable(&check.found);
        writeln!(out, "{:<3}  {:<width$}  {found}", if check.ok { "yes" } else { "no" }, check.name)?;
        if let Some(mend) = &check.mend {
            writeln!(out, "{:1$}mend: {2}", "", width + 7, output::printable(mend))?;
        }
    }
    Ok(out.flush()?)
}

fn qemu() -> Result<String, (String, String)> {
    let install = || "apt-get install --no-install-recommends qemu-system-x86 (Debian, Ubuntu)".to_owned();
    match Command::new("qemu-system-x86_64").arg("--version").output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
        }
        Ok(output) => Err((format!("qemu-system-x86_64 --version ends with {}", output.status), install())),
        Err(error) => Err((format!("qemu-system-x86_64: {error}"), install())),
    }
}

fn kvm() -> Result<String, (String, String)> {
    let Some(obstacle) = HostCpu::probe().obstacle() else { return Ok("/dev/kvm is usable".into()) };
    let mend = if obstacle.contains("/dev/kvm can't be opened") {
        "sudo usermod -aG kvm $USER, then log in again; where there is no /dev/kvm: sudo modprobe kvm_intel or kvm_amd"
    } else {
        "enable virtualization in the firmware, or nested virtualization on the host of this VM"
    };
    Err((format!("{obstacle}; guests run emulated, which is slower"), mend.into()))
}

fn shared_ram() -> Result<String, (String, String)> {
    let dir = "/dev/shm";
    let status = rustix::fs::statvfs(dir)
        .map_err(|error| (format!("{dir}: {error}"), format!("mount -t tmpfs tmpfs {dir}")))?;
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    let found = format!("{dir} has {:.1} GB free", free as f64 / 1e9);
    if free < ROOM {
        return Err((
            format!("{found}; a guest's RAM and region need {} MB", ROOM / 1_000_000),
            format!("mount -o remount,size=2G {dir} (in a container: --shm-size=2g)"),
        ));
    }
    Ok(found)
}

fn unikernel() -> Result<String, (String, String)> {
    bundled::elf()
        .map(|elf| format!("bundled, {:.1} MB", elf.len() as f64 / 1e6))
        .map_err(|error| (error.to_string(), "cargo build --release in a checkout of uniprof".into()))
}

fn runtime_dir() -> Result<String, (String, String)> {
    Registry::open().map(|registry| registry.path().display().to_string()).map_err(|error| {
        (error.to_string(), "export XDG_RUNTIME_DIR=$(mktemp -d), or a directory of your own".into())
    })
}
