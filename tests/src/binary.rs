//! Which binary the tests run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The `uniprof` under test: the one that `UNIPROF_TEST_BIN` names, else a release build made here, once.
pub fn uniprof() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("UNIPROF_TEST_BIN") {
        Some(file) => file.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    executable(&["--release", "--package", "uniprof", "--bin", "uniprof"], "uniprof")
}

/// An example of a package, built here.
#[must_use]
pub fn example(package: &str, name: &str) -> PathBuf {
    executable(&["--package", package, "--example", name], name)
}

fn executable(args: &[&str], name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of the workspace"))
        .args(["build", "--message-format", "json"])
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{name} does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .expect("cargo names the executable")
}
