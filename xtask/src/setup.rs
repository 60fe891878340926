//! Installs what a fresh Debian 12 with Rust lacks, and nothing without leave.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::step;

/// A program, or the path of a file, and the Debian package that has it.
type Program = (&'static str, &'static str);

/// What boots a guest. `seabios` and the PVH option ROM come as dependencies of the package.
pub(crate) const GUEST: &[Program] = &[("qemu-system-x86_64", "qemu-system-x86")];

/// What the tests run. Chromium opens what `uniprof flame` writes; `addr2line` is asked what it says of libc.
pub(crate) const TESTS: &[Program] = &[
    GUEST[0],
    ("chromium", "chromium"),
    ("addr2line", "binutils"),
    // What makes programs to be asked about, and debug files of every kind.
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("dwz", "dwz"),
    ("llvm-dwp", "llvm"),
    ("xz", "xz-utils"),
    ("ld", "binutils"),
    ("objcopy", "binutils"),
    ("/usr/lib/debug/.build-id", "libc6-dbg"),
    // A terminal whose screen can be read.
    ("tmux", "tmux"),
    // Asks the guest's server.
    ("curl", "curl"),
    // Reads captures.
    ("tshark", "tshark"),
    // Says what stacks are like; programs of two compilers are asked about.
    ("gdb", "gdb"),
    ("clang", "clang"),
    // What reads exports: pprof comes with Go, others from PyPI and npm (see `consumers`).
    ("go", "golang-go"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/pip3", "python3-pip"),
    ("node", "nodejs"),
    ("npm", "npm"),
];

/// Makes sure that these programs are there: installs them, or says which command does.
pub(crate) fn programs(needed: &[Program], yes: bool) -> Result<(), String> {
    let missing: Vec<&Program> = needed.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if find("apt-get").is_none() {
        return Err(format!(
            "{names}: missing, and this system has no apt-get: install them with its package manager"
        ));
    }
    let root = is_root();
    let prefix = if root { "" } else { "sudo " };
    let by_hand = format!(
        "{prefix}apt-get update && {prefix}apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !root && find("sudo").is_none() {
        return Err(format!("{names}: missing; as root, run: {}", by_hand.replace("sudo ", "")));
    }
    if !yes && !agreed(&names, &by_hand) {
        return Err(format!("{names}: missing; install with: {by_hand}\n       or let `--yes` do that"));
    }
    step::run("apt-get update", &mut apt(root, &["update"]))
        .and_then(|()| {
            let args = [&["install", "-y", "--no-install-recommends"], &packages[..]].concat();
            step::run("apt-get install", &mut apt(root, &args))
        })
        .map_err(|reason| format!("{reason}; by hand: {by_hand}"))?;
    match missing.iter().find(|(program, _)| find(program).is_none()) {
        Some((program, package)) => {
            Err(format!("{package} is installed, but {program} is still not in PATH"))
        }
        None => Ok(()),
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

/// Makes sure that the library for kernels in C can be built.
pub(crate) fn rust_target() -> Result<(), String> {
    const TARGET: &str = "x86_64-unknown-none";
    let output = Command::new("rustc").args(["--print", "sysroot"]).current_dir(step::root()).output();
    let sysroot = output.map_err(|error| format!("cannot start rustc: {error}"))?.stdout;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    if sysroot.join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    if find("rustup").is_none() {
        return Err(format!(
            "this Rust toolchain lacks the target {TARGET} and there is no rustup to add it"
        ));
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(step::root());
    step::run(&format!("rustup target add {TARGET}"), &mut rustup)
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
pub(crate) fn agreed(names: &str, command: &str) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    eprint!("{names}: missing. Run this now?\n  {command}\n[y/N] ");
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
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.exists())
}
