//! Programs that read what `uniprof export` writes. `cargo xtask test --yes` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scene::Scene;

/// Where `cargo xtask test` puts what comes from PyPI and npm: `consumers` in the target directory that this test lies in.
fn consumers() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its place");
    test.ancestors().nth(3).expect("TARGET/PROFILE/deps/TEST").join("consumers")
}

#[track_caller]
fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; `cargo xtask test --yes` installs it", path.display());
    path
}

/// A file of an npm package.
#[track_caller]
#[must_use]
pub fn npm(file: &str) -> PathBuf {
    present(consumers().join("npm/node_modules").join(file))
}

/// A Python script of these tests with its arguments, not yet started.
#[track_caller]
pub fn python(scene: &Scene, script: &str, args: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("consumers").join(script);
    let mut command = scene.program(&present("/usr/bin/python3".into()), &[script]);
    command.args(args).env("PYTHONPATH", present(consumers().join("python")));
    command
}

/// A program of the system with its arguments, not yet started.
#[track_caller]
pub fn system(scene: &Scene, program: &str, args: &[&str]) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(found, "{program} is missing; `cargo xtask test --yes` installs it");
    scene.program(program.as_ref(), args)
}
