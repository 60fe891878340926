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
//! ```

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

Ends with 1 when something is missing that guests can't do without.";

/// Enough for the largest default: a guest's RAM and its region.
const ROOM: u64 = 512 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print a JSON document (schema uniprof.doctor/1)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
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
    let checks = vec![
        Check::new("QEMU", true, qemu()),
        Check::new("KVM", false, kvm()),
        Check::new("shared RAM", true, shared_ram()),
        Check::new("runtime dir", true, runtime_dir()),
        Check::new("unikernel", false, unikernel()),
    ];
    let missing: Vec<&str> =
        checks.iter().filter(|check| check.needed && !check.ok).map(|check| check.name).collect();
    let verdict = match missing.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::error(Exit::Failed, format!("missing: {}", missing.join(", ")))),
    };
    if args.json {
        output::json(&Document { schema: "uniprof.doctor/1", checks })?;
    } else {
        print(&checks)?;
    }
    verdict
}

fn print(checks: &[Check]) -> anyhow::Result<()> {
    let mut out = output::stdout();
    for check in checks {
        writeln!(out, "{:<3}  {:<11}  {}", if check.ok { "yes" } else { "no" }, check.name, check.found)?;
        if let Some(mend) = &check.mend {
            writeln!(out, "{:18}mend: {mend}", "")?;
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
