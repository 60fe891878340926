//! Virtual machine monitors on this host, whoever has started them: what runs in each, and what can be done with it.
//!
//! ```text
//!  /proc/PID/cmdline ── program ──► which monitor, its guest as far as the command line says
//!  /proc/PID/cgroup ── container ──► the container that it is a process of
//!                       reach ────► what can be done with it, or why not and what mends that (access)
//! ```
//!
//! Nothing here stops a guest, makes its monitor larger, or connects to anything: QEMU serves one client at a time, who may be another. A
//! process that vanishes meanwhile is passed over.

mod access;
mod container;
mod program;
mod reach;

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

pub use access::Access;
pub use container::Container;
pub use program::Monitor;
pub use reach::{No, Reach};

use crate::{
    guests::process_start,
    vmm::{Vmm, as_process_sees, command_line, started_ns},
};

/// A virtual machine monitor that runs.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it was told that its guest is called; else the beginning of its container's id; else `pid-N`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Which one it is.
    pub monitor: Monitor,
    /// The kernel, by a path that this process can open, if one was named.
    pub kernel: Option<PathBuf>,
    /// vCPUs, as far as that is known.
    pub vcpus: Option<u32>,
    /// Bytes of RAM, as far as that is known.
    pub memory_bytes: Option<u64>,
    /// When it started, nanoseconds since 1970.
    pub started_ns: u64,
    /// The container that it runs in.
    pub container: Option<Container>,
    /// The guest, where it is one that can be read: that of a QEMU for x86_64.
    pub vmm: Option<Vmm>,
}

/// All that run here, by their process ids.
#[must_use]
pub fn found() -> Vec<Found> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<Found> = pids.filter_map(look_at).collect();
    found.sort_by_key(|found| found.pid);
    found
}

/// What runs as a process, if it is a monitor of virtual machines.
#[must_use]
pub fn look_at(pid: u32) -> Option<Found> {
    let words = command_line(pid).ok()?;
    let monitor = Monitor::of(words.first()?)?;
    let start = process_start(pid)?;
    let guest = monitor.guest(&words, pid);
    let container = Container::of_process(pid);
    let name = guest.name.filter(|name| !name.is_empty());
    Some(Found {
        name: name.unwrap_or_else(|| fallback_name(container.as_ref(), pid)),
        pid,
        monitor,
        kernel: guest.kernel.map(|path| as_we_see(pid, &path)),
        vcpus: guest.vcpus,
        memory_bytes: guest.memory_bytes,
        started_ns: started_ns(start),
        container,
        vmm: Vmm::look_at(pid).ok(),
    })
}

/// What a guest is called that nobody has named.
pub(crate) fn fallback_name(container: Option<&Container>, pid: u32) -> String {
    container.map_or_else(|| format!("pid-{pid}"), |container| container.short().to_owned())
}

/// A path of another process's command line, by which we can open the same file: the plain one where it means that here, too.
fn as_we_see(pid: u32, path: &Path) -> PathBuf {
    let seen = as_process_sees(pid, path);
    let plain = if path.is_absolute() {
        path.to_owned()
    } else {
        match std::fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(directory) => directory.join(path),
            Err(_) => return path.to_owned(),
        }
    };
    // Whom we may not look into shows no files: then the words of its command line are all that there is.
    if same_file(&seen, &plain) || std::fs::metadata(&seen).is_err() { plain } else { seen }
}

/// Whether two paths lead to one file.
#[must_use]
pub fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|found| identity(other) == Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_are_no_monitors_are_passed_over() {
        assert!(look_at(std::process::id()).is_none());
        assert!(look_at(u32::MAX).is_none());
        assert!(found().iter().all(|found| found.pid != std::process::id()));
    }

    #[test]
    fn paths_of_others_are_plain_where_that_is_the_same_file() {
        let pid = std::process::id();
        assert_eq!(as_we_see(pid, Path::new("/proc/version")), Path::new("/proc/version"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(as_we_see(pid, Path::new("Cargo.toml")), here.join("Cargo.toml"));
        assert!(same_file(Path::new("Cargo.toml"), &here.join("Cargo.toml")));
        assert!(!same_file(Path::new("/no/such"), Path::new("/no/such")));
    }
}
