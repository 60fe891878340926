//! The kernel that a command starts: a file, or the bundled one as a file for as long as it is needed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use uniprof_collector::qemu::Placement;

use crate::bundled;

/// A kernel file. Dropping it removes what was unpacked.
#[derive(Debug)]
pub(crate) struct Kernel {
    path: PathBuf,
    unpacked: Option<TempDir>,
}

impl Kernel {
    /// The kernel that `word` names: `bundled`, or a path.
    pub(crate) fn open(word: &str) -> anyhow::Result<Self> {
        if word != bundled::NAME {
            return Ok(Self::at(word));
        }
        let elf = bundled::elf()?;
        sweep();
        let dir = tempfile::Builder::new()
            .prefix(&format!("{UNPACKED}{}-", std::process::id()))
            .tempdir()
            .context("cannot unpack the bundled unikernel; set TMPDIR to a directory with room")?;
        let path = dir.path().join("uniprof-sample-kernel");
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(elf))
            .with_context(|| format!("cannot unpack the bundled unikernel to {}", path.display()))?;
        Ok(Self { path, unpacked: Some(dir) })
    }

    /// A kernel file of the user's.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), unpacked: None }
    }

    /// Whether it is the one inside this binary.
    pub(crate) fn is_bundled(&self) -> bool {
        self.unpacked.is_some()
    }

    /// Where its region lies unless the user says: most kernels reserve one in their own memory, as `region!` does. The bundled
    /// one takes what the machine offers.
    pub(crate) fn placement(&self) -> Option<Placement> {
        (!self.is_bundled()).then_some(Placement::Ram)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A name for its guest: the file's, with what guests' names can't have left out.
    pub(crate) fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name: String = stem.trim_start_matches(['.', '-']).chars().filter(plain).take(48).collect();
        if name.is_empty() { "guest".into() } else { name }
    }
}

/// What the directory of an unpacked kernel is called, before the pid and a random end.
const UNPACKED: &str = "uniprof-kernel-";

/// Removes what processes that were killed had unpacked.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(UNPACKED)?.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another user's, perhaps: then it is not ours to remove.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_called_after_their_kernel() {
        let name = |path: &str| Kernel::at(path).name();
        assert_eq!(name("/boot/my kernel.elf"), "mykernel");
        assert_eq!(name("-.elf"), "guest");
        assert_eq!(name("unikraft_qemu-x86_64"), "unikraft_qemu-x86_64");
    }
}
