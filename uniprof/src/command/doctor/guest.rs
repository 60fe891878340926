//! What can be done with one guest, and what mends the rest.

use std::path::{Path, PathBuf};

use serde::Serialize;
use uniprof_collector::discover::{No, Reach, look_at};

use super::Check;
use crate::command::ls::names_functions;
use crate::guest;
use crate::target::Target;

/// The guest that was looked at.
#[derive(Serialize)]
pub(super) struct Who {
    name: String,
    pid: u32,
}

/// Looks at a guest; nothing of it is changed, and it goes on meanwhile.
pub(super) fn checks(target: &str) -> anyhow::Result<(Who, Vec<Check>)> {
    let target = Target::find(target)?;
    let (who, kernels) = match &target {
        Target::Ours(entry) => (Who { name: entry.name.clone(), pid: entry.pid }, guest::kernel_paths(entry)),
        Target::Process(pid) => {
            let found = look_at(*pid);
            let name = found.as_ref().map_or_else(|| format!("pid-{pid}"), |found| found.name.clone());
            (Who { name, pid: *pid }, found.and_then(|found| found.kernel).into_iter().collect())
        }
    };
    let Reach { profile, control, dump, .. } = target.reach()?;
    let told = |result: Result<String, No>| result.map_err(|no| (no.why, no.mend));
    let checks = vec![
        Check::new("profile", true, told(profile)),
        Check::new("control", false, told(control)),
        Check::new("dump", false, told(dump)),
        Check::new("symbols", false, symbols(&kernels)),
    ];
    Ok((who, checks))
}

fn symbols(kernels: &[PathBuf]) -> Result<String, (String, String)> {
    let Some(kernel) = kernels.iter().find(|path| path.is_file()).or(kernels.last()) else {
        let why = "its command line names no kernel".to_owned();
        return Err((why, "name its ELF file with --kernel ELF".into()));
    };
    let shown = kernel.display();
    if let Err(error) = std::fs::File::open(kernel) {
        return Err((format!("{shown}: {error}"), "name a copy of its ELF file with --kernel ELF".into()));
    }
    if names_functions(kernel) {
        return Ok(shown.to_string());
    }
    let why = if is_elf(kernel) { "has neither debug information nor symbols" } else { "is no ELF file" };
    Err((format!("{shown} {why}"), "name the file that the linker wrote with --kernel ELF".into()))
}

fn is_elf(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}
