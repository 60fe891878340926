//! Installs what a fresh Debian 12 with Rust lacks, and nothing without leave.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::step;

const QEMU: &str = "qemu-system-x86_64";
/// `seabios` and the PVH option ROM come as dependencies of this package.
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// Makes sure that QEMU is there: installs it, or says which command does.
pub(crate) fn qemu(yes: bool) -> Result<(), String> {
    if find(QEMU).is_some() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        return Err(format!(
            "{QEMU} is missing and this system has no apt-get: install QEMU for x86_64 with its package manager"
        ));
    }
    let root = is_root();
    let prefix = if root { "" } else { "sudo " };
    let by_hand = format!(
        "{prefix}apt-get update && {prefix}apt-get install -y --no-install-recommends {QEMU_PACKAGE}"
    );
    if !root && find("sudo").is_none() {
        return Err(format!("{QEMU} is missing; as root, run: {}", by_hand.replace("sudo ", "")));
    }
    if !yes && !agreed(&by_hand) {
        return Err(format!("{QEMU} is missing; install it with: {by_hand}\n       or let `--yes` do that"));
    }
    step::run("apt-get update", &mut apt(root, &["update"]))
        .and_then(|()| {
            let args = ["install", "-y", "--no-install-recommends", QEMU_PACKAGE];
            step::run("apt-get install", &mut apt(root, &args))
        })
        .map_err(|reason| format!("{reason}; by hand: {by_hand}"))?;
    match find(QEMU) {
        Some(_) => Ok(()),
        None => Err(format!("{QEMU_PACKAGE} is installed, but {QEMU} is still not in PATH")),
    }
}

/// Makes sure that `cargo fmt` and `cargo clippy` are there: a minimal toolchain lacks both.
pub(crate) fn rust_components() -> Result<(), String> {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| !succeeds(&mut step::cargo(step::root(), &[subcommand, "--version"])))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let words = missing.join(" ");
    if find("rustup").is_none() {
        return Err(format!("this Rust toolchain lacks {words} and there is no rustup to add them"));
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add"]).args(&missing);
    step::run(&format!("rustup component add {words}"), &mut rustup)
}

fn apt(root: bool, args: &[&str]) -> Command {
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        // Not from our own environment: sudo drops it.
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
    command
}

/// Asks on a terminal; without one the answer is no.
fn agreed(command: &str) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    eprint!("{QEMU} is missing. Run this now?\n  {command}\n[y/N] ");
    let mut answer = String::new();
    std::io::stderr().flush().is_ok()
        && std::io::stdin().lock().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
