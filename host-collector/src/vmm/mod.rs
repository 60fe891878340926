//! A QEMU that something else has started: what its command line says of its guest, and where in the process the guest's RAM lies.
//!
//! ```text
//!  /proc/PID/cmdline ── line ──► machine, bytes of RAM ── layout ──► RamMap: which address lies where in RAM
//!                                      │
//!  /proc/PID/maps ──── maps ──► mappings of that size ── kernel, region ──► the one that is RAM
//!                                                                             └─► RamFile or VmmMemory
//! ```
//!
//! Nothing here stops the process or writes to it. Where more than one mapping may be RAM, the guest's own observation region or its kernel's
//! code must tell which; where they don't, it is refused: a dump of the wrong memory is worse than none.

mod entry;
mod kernel;
mod layout;
mod line;
mod maps;
mod place;
mod process;

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use line::Line;
use maps::{Candidate, SharedFile};
use place::Place;
pub(crate) use process::{as_process_sees, command_line, started_ns};

use crate::{
    discover::{Access, Container, fallback_name},
    guests::process_start,
    memory::{GuestMemory, IvshmemFile, JoinedMemory, MemoryError, RamMap, find_region},
};

/// Why a process's guest can't be looked into.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// There is no such process.
    #[error("there is no process {pid}")]
    Absent {
        /// Its id.
        pid: u32,
    },
    /// It is something else.
    #[error(
        "process {pid} is {program:?}, not a QEMU for x86_64 guests: only those can be looked into by pid"
    )]
    NotQemu {
        /// Its id.
        pid: u32,
        /// What runs there.
        program: String,
    },
    /// The system refuses.
    #[error("process {pid} can't be looked into: {source}{}", hint(*.pid, .source))]
    Denied {
        /// Its id.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// Its RAM is not where this version looks for it.
    #[error(
        "the RAM of process {pid} can't be found from outside: {why}; give its QEMU a -qmp socket and use qmp:SOCKET"
    )]
    Obstacle {
        /// Its id.
        pid: u32,
        /// Why.
        why: String,
    },
    /// Several mappings could be RAM, and nothing tells which is.
    #[error(
        "process {pid} has {count} mappings of {} MiB, and neither an observation region nor the code of the kernel that it was started \
         with tells which of them is the guest's RAM", .bytes >> 20
    )]
    Ambiguous {
        /// Its id.
        pid: u32,
        /// How many.
        count: usize,
        /// How large RAM is.
        bytes: u64,
    },
    /// Its memory can't be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

fn hint(pid: u32, source: &io::Error) -> String {
    if source.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let access = Access::to(pid);
    format!("; {}; what helps: {}", access.why(), access.mend())
}

/// How it is known that a mapping is RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The guest's observation region lies there, at the address that it names as its own.
    Region,
    /// The kernel's code lies there, where its file says.
    Kernel,
    /// No other mapping has its size.
    Size,
}

/// The RAM of a process's guest.
pub struct Ram {
    /// The memory; with the BAR, where it has an ivshmem device.
    pub memory: Arc<dyn GuestMemory>,
    /// How it is known that it is.
    pub proof: Proof,
    /// Memory of the guest that is not in it, in sentences.
    pub besides: Vec<String>,
}

/// A QEMU, and what its command line says.
#[derive(Clone, Debug)]
pub struct Vmm {
    pid: u32,
    start: u64,
    line: Line,
    container: Option<Container>,
}

impl Vmm {
    /// Looks at a process. Nothing of its memory is opened yet.
    pub fn look_at(pid: u32) -> Result<Self, VmmError> {
        let start = process_start(pid).ok_or(VmmError::Absent { pid })?;
        let words = command_line(pid).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => VmmError::Absent { pid },
            _ => VmmError::Denied { pid, source },
        })?;
        let program = words.first().map(String::as_str).unwrap_or_default();
        let file = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        // `kvm` and `qemu-kvm` are what distributions call it.
        if !["qemu-system-x86_64", "qemu-kvm", "kvm"].iter().any(|name| file.starts_with(name)) {
            return Err(VmmError::NotQemu { pid, program: file.into_owned() });
        }
        Ok(Self { pid, start, line: Line::parse(&words), container: Container::of_process(pid) })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        process_start(self.pid) != Some(self.start)
    }

    /// Whether somebody has stopped the process (SIGSTOP), and the guest with it: the state in `/proc/PID/stat`, see proc(5).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with(['T', 't']))
    }

    /// The guest's name: what QEMU was told with `-name`, else the beginning of its container's id, else `pid-N`.
    #[must_use]
    pub fn name(&self) -> String {
        let told = self.line.name.clone().filter(|name| !name.is_empty());
        told.unwrap_or_else(|| fallback_name(self.container.as_ref(), self.pid))
    }

    /// The machine, as QEMU spells it.
    #[must_use]
    pub fn machine(&self) -> &str {
        &self.line.machine
    }

    /// vCPUs.
    #[must_use]
    pub fn vcpus(&self) -> u32 {
        self.line.vcpus
    }

    /// The kernel's file as this process can open it, if QEMU was given one.
    #[must_use]
    pub fn kernel(&self) -> Option<PathBuf> {
        self.line.kernel.as_deref().map(|path| self.as_it_sees(path))
    }

    /// Control sockets that it was told to listen on, as this process can open them.
    #[must_use]
    pub fn monitors(&self) -> Vec<PathBuf> {
        self.line.monitors.iter().map(|path| self.as_it_sees(path)).collect()
    }

    /// A path of its command line.
    fn as_it_sees(&self, path: &Path) -> PathBuf {
        as_process_sees(self.pid, path)
    }

    /// Names of the block that `info mtree -f` shows RAM as.
    fn blocks(&self) -> [&str; 3] {
        [self.line.backend.as_deref().unwrap_or("pc.ram"), "pc.ram", "microvm.ram"]
    }

    /// Where QEMU listens for a debugger, if it does, in its own words.
    #[must_use]
    pub fn debugger(&self) -> Option<&str> {
        self.line.debugger.as_deref()
    }

    /// The socket of the serial port that its probes speak over, if it has one, as this process can open it.
    #[must_use]
    pub fn port(&self) -> Option<PathBuf> {
        self.line.port.as_deref().map(|path| self.as_it_sees(path))
    }

    /// Files that it shares its memory with others by, as this process can open them: RAM's and that of an ivshmem device.
    pub fn memory_files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.line.ram_path, &self.line.ivshmem].into_iter().flatten().map(|path| self.as_it_sees(path))
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.line.memory
    }

    /// Finds RAM. `mtree` is what QEMU itself says of its memory map (`info mtree -f`), where it can be asked.
    pub fn ram(&self, mtree: Option<&str>) -> Result<Ram, VmmError> {
        let (place, proof) = self.find_ram(mtree)?;
        let bar = self.bar().and_then(|path| IvshmemFile::open(&path).ok());
        let memory: Arc<dyn GuestMemory> = match bar {
            Some(bar) => Arc::new(JoinedMemory::new(place.open(self.pid)?, bar)),
            None => Arc::from(place.open(self.pid)?),
        };
        let besides = self.line.besides.iter().map(|what| format!("{what} is not read")).collect();
        Ok(Ram { memory, proof, besides })
    }

    fn find_ram(&self, mtree: Option<&str>) -> Result<(Place, Proof), VmmError> {
        let obstacle = |why: &str| VmmError::Obstacle { pid: self.pid, why: why.into() };
        if let Some(why) = self.line.obstacle {
            return Err(obstacle(why));
        }
        let bytes = self.line.memory;
        let told = mtree
            .and_then(|text| self.blocks().iter().find_map(|block| RamMap::from_mtree(text, block).ok()));
        let map = told.or_else(|| layout::ram_map(&self.line.machine, bytes, self.line.max_below_4g));
        let Some(map) = map else {
            let why = format!(
                "how a machine {:?} with {} MiB lays out its RAM is not known",
                self.line.machine,
                bytes >> 20
            );
            return Err(obstacle(&why));
        };
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid))
            .map_err(|source| VmmError::Denied { pid: self.pid, source })?;
        let found = self.choose(&maps::candidates(&maps, bytes), bytes, &map)?;
        // Whoever was given its pid meanwhile is somebody else.
        if self.is_dead() {
            return Err(VmmError::Absent { pid: self.pid });
        }
        Ok(found)
    }

    fn choose(&self, candidates: &[Candidate], bytes: u64, map: &RamMap) -> Result<(Place, Proof), VmmError> {
        let kernel = self.kernel().and_then(|path| File::open(path).ok());
        let mut opened = Vec::new();
        for candidate in candidates {
            let place = Place::of(self, candidate, map);
            let memory = place.open(self.pid).map_err(|error| self.refused(error))?;
            let there = kernel.as_ref().is_some_and(|kernel| kernel::is_there(kernel, &*memory));
            opened.push((place, memory, if there { Proof::Kernel } else { Proof::Size }));
        }
        let count = opened.len();
        if opened.iter().filter(|(_, _, proof)| *proof == Proof::Kernel).count() != 1 && count > 1 {
            for (_, memory, proof) in &mut opened {
                let has_region = find_region(&**memory, None)?.is_ok();
                *proof = if has_region { Proof::Region } else { Proof::Size };
            }
        }
        opened.retain(|(_, _, proof)| count == 1 || *proof != Proof::Size);
        match (opened.pop(), opened.is_empty()) {
            (Some((place, _, proof)), true) => Ok((place, proof)),
            _ if count == 0 => Err(VmmError::Obstacle {
                pid: self.pid,
                why: format!("none of its mappings has the {} MiB that its command line says", bytes >> 20),
            }),
            _ => Err(VmmError::Ambiguous { pid: self.pid, count, bytes }),
        }
    }

    /// The file behind an ivshmem device, where it can be opened.
    fn bar(&self) -> Option<PathBuf> {
        let path = self.as_it_sees(self.line.ivshmem.as_deref()?);
        File::open(&path).is_ok().then_some(path)
    }

    fn refused(&self, error: MemoryError) -> VmmError {
        match error {
            MemoryError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                VmmError::Denied { pid: self.pid, source }
            }
            error => error.into(),
        }
    }

    /// The process's own descriptor of a file that it has mapped.
    fn descriptor(&self, file: &SharedFile) -> Option<PathBuf> {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?.flatten();
        descriptors.map(|entry| entry.path()).find(|path| {
            std::fs::metadata(path).is_ok_and(|found| {
                let device = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
                found.is_file() && found.ino() == file.inode && device == file.device
            })
        })
    }
}

/// Name, kernel, vCPUs and bytes of RAM that the command line of a QEMU for any processor names.
pub(crate) fn of_qemu(words: &[String]) -> (Option<String>, Option<PathBuf>, u32, u64) {
    let line = Line::parse(words);
    (line.name, line.kernel, line.vcpus, line.memory)
}

#[cfg(test)]
mod tests;
