//! The tasks themselves: which commands run, in which order.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{cargo, root, run, run_last};
use crate::{consumers, setup};

/// Everything that must pass before a change is good. Cheap checks come first; the end-to-end tests come last,
/// so that their summary is the end of the output.
pub(crate) fn test(yes: bool) -> Result<(), String> {
    setup::programs(setup::TESTS, yes)?;
    setup::rust_components()?;
    setup::rust_target()?;
    consumers::install(&target_dir().join("consumers"), yes)?;
    let kernel = root().join("sample-kernel");
    run("format", &mut cargo(root(), &["fmt", "--all", "--check"]))?;
    let c_library = root().join("guest-c");
    run("format, sample kernel", &mut cargo(&kernel, &["fmt", "--all", "--check"]))?;
    run("format, C library", &mut cargo(&c_library, &["fmt", "--all", "--check"]))?;
    run(
        "clippy",
        &mut cargo(root(), &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    )?;
    run(
        "clippy, sample kernel",
        &mut cargo(&kernel, &["clippy", "--release", "--locked", "--", "-D", "warnings"]),
    )?;
    run(
        "clippy, C library",
        &mut cargo(&c_library, &["clippy", "--release", "--locked", "--", "-D", "warnings"]),
    )?;
    run(
        "unit tests and doctests",
        &mut cargo(root(), &["test", "--workspace", "--exclude", "uniprof-tests", "--locked"]),
    )?;
    let binary = build_uniprof()?;
    run_last(
        "end-to-end tests",
        cargo(root(), &["test", "--package", "uniprof-tests", "--locked"]).env("UNIPROF_TEST_BIN", binary),
    )
}

/// Builds the binary and runs `uniprof demo` with it.
pub(crate) fn demo(yes: bool, args: &[String]) -> Result<(), String> {
    setup::programs(setup::GUEST, yes)?;
    let binary = build_uniprof()?;
    run_last("uniprof demo", Command::new(binary).arg("demo").args(args))
}

/// Records the embedded sample anew, through the public command line like any other recording.
pub(crate) fn sample(yes: bool) -> Result<(), String> {
    setup::programs(setup::GUEST, yes)?;
    let binary = build_uniprof()?;
    let file = root().join("uniprof/assets/sample.uniprof");
    // Without events, which are most of what this workload writes: the file is part of every checkout and every binary.
    let args = ["record", "-F", "499", "-d", "1", "--vcpus", "2", "-e", "samples,logs,threads", "-o"];
    let workload = ["--", "bundled", "workload=kv"];
    run("record the sample", Command::new(binary).args(args).arg(&file).args(workload))
}

pub(crate) fn build_uniprof() -> Result<PathBuf, String> {
    run("build uniprof", &mut cargo(root(), &["build", "--release", "--package", "uniprof", "--locked"]))?;
    Ok(target_dir().join("release/uniprof"))
}

/// Where cargo puts what it builds: this program lies in `TARGET/PROFILE/` itself.
fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().nth(2).map(Path::to_owned))
        .unwrap_or_else(|| root().join("target"))
}
