//! One step of a task: announced on one line, its output shown as it comes, its time on the line after.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the workspace")
}

/// A `cargo` command in `dir`, with the same toolchain that built this program.
pub(crate) fn cargo(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dir).args(args);
    // What `cargo xtask` sets for this package would make the other workspace's build scripts run again.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `command`; the sentence of an error names the step and how it ended.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let start = Instant::now();
    eprintln!("==> {what}");
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{what}: cannot start {program}: {error}"))?;
    if !status.success() {
        return Err(format!("{what}: {program} ended with {status}"));
    }
    eprintln!("    {what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Like [`run`], but the last word belongs to the command: nothing is printed after its output.
pub(crate) fn run_last(what: &str, command: &mut Command) -> Result<(), String> {
    eprintln!("==> {what}");
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {program} ended with {status}")),
        Err(error) => Err(format!("{what}: cannot start {program}: {error}")),
    }
}
