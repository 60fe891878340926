//! Programs that read what `uniprof export` writes, from PyPI and npm: installed below the target directory, for the tests alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{setup, step};

/// Perfetto's protos, and a validator of JSON schemas.
const PYTHON: &[&str] = &["perfetto==0.59.1", "protobuf==7.36.2", "jsonschema==4.26.0"];
/// The Firefox Profiler's own reader, and speedscope with its schema.
const NPM: &[&str] = &["@firefox-devtools/profiler-cli@0.10.0", "speedscope@1.25.0"];

/// Makes sure that they are in `dir`: installs them, or says what does. What is there is taken to be whole if it is of these
/// versions.
pub(crate) fn install(dir: &Path, yes: bool) -> Result<(), String> {
    let versions = [PYTHON, NPM].concat().join("\n");
    let stamp = dir.join("versions");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == versions) {
        return Ok(());
    }
    let names = [PYTHON, NPM].concat().join(", ");
    if !yes && !setup::agreed(&names, "pip install, npm install below the target directory") {
        return Err(format!("{names}: missing for the tests of exports; let `--yes` install them"));
    }
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(told)?;
    }
    fs::create_dir_all(dir).map_err(told)?;
    // Debian's own, whatever else is in PATH: the tests start the same one.
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.arg("--target").arg(dir.join("python")).args(PYTHON);
    step::run("pip install, for the tests of exports", &mut pip)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
    npm.arg(dir.join("npm")).args(NPM);
    step::run("npm install, for the tests of exports", &mut npm)?;
    fs::write(&stamp, versions).map_err(told)
}
