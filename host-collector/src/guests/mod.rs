//! The guests that `uniprof` has started on this host: what each start leaves for others to find it by.
//!
//! ```text
//!  $XDG_RUNTIME_DIR/uniprof/ or /tmp/uniprof-UID/     mode 0700, ours
//!    lock                       held while entries are made or swept
//!    NAME/
//!      alive                    locked by the process that started the guest, for as long as it lives
//!      guest.json               [`GuestEntry`]
//!      stopping                 somebody wants the guest to end: it is not started anew
//!      owner.qmp, qmp           QEMU's control sockets
//!      port                     the guest's serial port, where it shares no memory
//!      memory, ram              the shared files, where /dev/shm has no room for them
//! ```
//!
//! Whether an entry is stale is asked of the lock, which the kernel drops with its holder, not of a pid that may have been
//! given to somebody else by now. Shared files in `/dev/shm` are locked in the same way. Stale entries are swept whenever the directory is listed or a guest is started.

mod directory;
mod ending;
mod memory;
mod stop;

use std::{ops::Range, path::PathBuf};

pub use directory::{Registry, Reservation};
pub use ending::{Ending, Witness, process_ending};
use serde::{Deserialize, Serialize};

use crate::{
    dump::Facts,
    memory::RamMap,
    qemu::{Accelerator, Machine, Placement},
};

/// What is known about a guest to those that did not start it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestEntry {
    /// Its name.
    pub name: String,
    /// QEMU's process id; 0 while it is being started.
    pub pid: u32,
    /// When that process started, in clock ticks since the host's boot: with the pid it names one process for good.
    pub pid_start: u64,
    /// The process that started it and reaps it; 0 where that is not known, because something else has started it.
    pub owner_pid: u32,
    /// Control socket; empty where there is none.
    pub qmp: PathBuf,
    /// The kernel; empty where it was started from something else.
    pub kernel: PathBuf,
    /// The machine.
    pub machine: Machine,
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// vCPUs.
    pub vcpus: u32,
    /// Where the region lies. Of a guest that something else has started: where it may lie besides RAM.
    pub placement: Placement,
    /// The file with the region; empty where that is no file.
    pub memory_file: PathBuf,
    /// The file behind guest RAM, which is the same one where the region lies in RAM. Guests that earlier versions started with a
    /// region in an ivshmem device have none.
    #[serde(default)]
    pub ram_file: Option<PathBuf>,
    /// Where RAM lies in QEMU's own address space, if it is shared with nobody.
    #[serde(default)]
    pub ram_in_process: Option<Range<u64>>,
    /// What lies where in that file, or in that part of the address space.
    pub ram_map: Option<RamMap>,
    /// The socket of its serial port, where it sends the region and shares no memory.
    #[serde(default)]
    pub port: Option<PathBuf>,
    /// The socket of its serial port, where its memory can be read as well: requests may go over it.
    #[serde(default)]
    pub control_port: Option<PathBuf>,
    /// What it runs on.
    pub accelerator: Accelerator,
    /// QEMU's version.
    pub qemu_version: String,
    /// QEMU's command line.
    pub command_line: Vec<String>,
    /// When it was started, nanoseconds since 1970.
    pub started_ns: u64,
}

impl GuestEntry {
    /// Whether `uniprof` has started it; else it was found among the host's processes.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.owner_pid != 0
    }

    /// What a dump of it says of it.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let accelerator = &self.accelerator.name;
        Facts {
            guest: self.name.clone(),
            kernel: self.kernel.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            hypervisor: format!("QEMU {} ({accelerator}, {})", self.qemu_version, self.machine.name()),
            vcpus: self.vcpus,
            ..Facts::default()
        }
    }
}

/// Why a guest could not be found, entered or stopped.
#[derive(Debug, thiserror::Error)]
pub enum GuestsError {
    /// Nothing there has that name or pid.
    #[error("no guest {target:?} here: {}", what_there_is(.known))]
    Absent {
        /// What was asked for.
        target: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// More than one guest, and none was named.
    #[error("several guests run here: name one of {}", .known.join(", "))]
    Ambiguous {
        /// The names there are.
        known: Vec<String>,
    },
    /// A guest with that name runs.
    #[error("a guest named {name:?} runs already: stop it with 'uniprof stop {name}', or use another --name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The directory is somebody else's, or open to others.
    #[error(
        "{path} can't be trusted with control sockets: {why}; remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    )]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A unix socket's path has 107 bytes at most.
    #[error("{path} is too long for a socket: use a shorter --name, or a shorter XDG_RUNTIME_DIR")]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// It can't be ended.
    #[error("guest {name:?} (pid {pid}) did not end: {why}")]
    WontStop {
        /// Its name.
        name: String,
        /// QEMU's process.
        pid: u32,
        /// What was tried last.
        why: String,
    },
    /// The file system refuses.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl GuestsError {
    /// Whether the target was absent or ambiguous: the command line's exit code 3.
    #[must_use]
    pub fn is_about_the_target(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Ambiguous { .. })
    }
}

fn what_there_is(names: &[String]) -> String {
    match names {
        [] => "none runs; start one with 'uniprof run KERNEL'".into(),
        names => format!("there are {}", names.join(", ")),
    }
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`, see proc(5).
#[must_use]
pub fn process_start(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may contain both blanks and parentheses.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests;
