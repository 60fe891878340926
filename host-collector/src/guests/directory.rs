//! The runtime directory and its locks.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock, statvfs},
    process::geteuid,
};

use super::{Ending, GuestEntry, GuestsError};
use crate::qemu::{Files, LaunchError, LaunchSpec, Placement, Transport};

/// Longest path of a unix socket, without its closing zero byte.
const MAX_SOCKET_PATH: usize = 107;
/// Memory that has a file name.
const SHM: &str = "/dev/shm";
/// The file with the region, and the one behind RAM where that is another one.
const MEMORY: &str = "memory";
const RAM: &str = "ram";
/// Says that somebody wants the guest to end.
const STOPPING: &str = "stopping";
/// Says how the guest ended; empty while it runs.
pub(super) const ENDED: &str = "ended";
/// A memory file that nobody holds is swept when it is this old: between its creation and its lock it is not held either.
const STALE: Duration = Duration::from_secs(60);
/// Left free wherever a guest's memory is put.
const HEADROOM: u64 = 16 << 20;

/// The runtime directory, checked to be ours alone.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
}

/// A guest's place in the registry. Dropping it removes all its files.
#[derive(Debug)]
pub struct Reservation {
    registry: Registry,
    dir: PathBuf,
    name: String,
    /// Locked, so that they can be told from files whose runtime directory is gone.
    memory: Vec<(PathBuf, File)>,
    /// Locked: says that the entry is not stale.
    _alive: File,
    /// Who watches the guest has it open.
    ended: File,
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GuestsError {
    move |source| GuestsError::Io { doing, path: path.into(), source }
}

impl Registry {
    /// Opens `$XDG_RUNTIME_DIR/uniprof`, or `/tmp/uniprof-UID` where there is none, and makes it if need be.
    pub fn open() -> Result<Self, GuestsError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        Self::at(match runtime {
            Some(dir) => dir.join("uniprof"),
            None => PathBuf::from(format!("/tmp/uniprof-{}", geteuid().as_raw())),
        })
    }

    /// Opens a directory of the caller's choice; it gets the same checks.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, GuestsError> {
        let root = root.into();
        match DirBuilder::new().mode(0o700).create(&root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io("create", &root)(error)),
            _ => {}
        }
        // A symbolic link is judged itself, not what it points to: somebody could move it later.
        let found = std::fs::symlink_metadata(&root).map_err(io("look at", &root))?;
        let ours = geteuid().as_raw();
        let why = if !found.is_dir() {
            Some("it is not a directory".to_owned())
        } else if found.uid() != ours {
            Some(format!("it belongs to user {}, we are user {ours}", found.uid()))
        } else if found.mode() & 0o077 != 0 {
            Some(format!("others may use it (mode {:o})", found.mode() & 0o7777))
        } else {
            None
        };
        match why {
            Some(why) => Err(GuestsError::Untrusted { path: root, why }),
            None => Ok(Self { root }),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Where such a guest would have its files.
    pub(crate) fn files(&self, spec: &LaunchSpec) -> Result<Files, LaunchError> {
        let dir = self.root.join(&spec.name);
        let sockets = [dir.join("owner.qmp"), dir.join("qmp"), dir.join("port")];
        for socket in &sockets {
            if socket.as_os_str().len() > MAX_SOCKET_PATH {
                return Err(GuestsError::PathTooLong { path: socket.clone() }.into());
            }
        }
        let [owner_qmp, qmp, port] = sockets;
        if spec.transport == Transport::VirtioSerial {
            return Ok(Files { owner_qmp, qmp, port, memory: PathBuf::new(), ram: PathBuf::new() });
        }
        let (shared, all) = (spec.shared_bytes()?, spec.memory);
        let (memory, ram) = match spec.placement() {
            Placement::Ram => {
                let memory = self.memory_path(&spec.name, MEMORY, all)?;
                (memory.clone(), memory)
            }
            Placement::Ivshmem => (
                self.memory_path(&spec.name, MEMORY, shared)?,
                self.memory_path(&spec.name, RAM, all.saturating_add(shared))?,
            ),
        };
        Ok(Files { owner_qmp, qmp, port, memory, ram })
    }

    /// `/dev/shm` where it has room, because a page cache on disk writes back all that the guest dirties.
    fn memory_path(&self, name: &str, file: &str, bytes: u64) -> Result<PathBuf, GuestsError> {
        let room = |dir: &Path| statvfs(dir).map_or(0, |at| at.f_bavail.saturating_mul(at.f_frsize));
        let needed = bytes.saturating_add(HEADROOM);
        let shm = Path::new(SHM);
        if room(shm) >= needed {
            // The path of the runtime directory, hashed, keeps registries of different runtime directories apart.
            return Ok(self.in_shm(name, file));
        }
        if room(&self.root) >= needed {
            return Ok(self.root.join(name).join(file));
        }
        let source = std::io::Error::new(
            ErrorKind::StorageFull,
            format!(
                "{bytes} bytes are needed; {SHM} has {} free, {} has {}",
                room(shm),
                self.root.display(),
                room(&self.root)
            ),
        );
        Err(GuestsError::Io { doing: "find room for the guest's memory in", path: shm.into(), source })
    }

    fn in_shm(&self, name: &str, file: &str) -> PathBuf {
        // No guest's name has a colon in it, so that no file of one is taken for another's.
        let file = if file == MEMORY { String::new() } else { format!(":{file}") };
        Path::new(SHM).join(format!("{}{name}{file}", self.shm_prefix()))
    }

    fn shm_prefix(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let hash = self.root.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{}{hash:016x}-", memory_prefix())
    }

    /// Makes an entry for `name`, which no living guest may have, and sweeps what dead ones left.
    pub fn reserve(&self, name: &str) -> Result<Reservation, GuestsError> {
        let _lock = self.lock()?;
        self.sweep()?;
        let dir = self.root.join(name);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(GuestsError::NameTaken { name: name.into() });
            }
            made => made.map_err(io("create", &dir))?,
        }
        let alive_path = dir.join("alive");
        let alive = private().create_new(true).open(&alive_path).map_err(io("create", &alive_path))?;
        flock(&alive, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io("lock", &alive_path)(error.into()))?;
        let ended = dir.join(ENDED);
        let ended = private().create_new(true).open(&ended).map_err(io("create", &ended))?;
        Ok(Reservation {
            registry: self.clone(),
            dir,
            name: name.into(),
            memory: Vec::new(),
            _alive: alive,
            ended,
        })
    }

    /// The guests that live, by name; what dead ones left is swept.
    pub fn list(&self) -> Result<Vec<GuestEntry>, GuestsError> {
        let _lock = self.lock()?;
        self.sweep()?;
        let mut entries = Vec::new();
        for dir in self.directories()? {
            // An entry without its file is still being started.
            if let Ok(bytes) = std::fs::read(dir.join("guest.json"))
                && let Ok(entry) = serde_json::from_slice::<GuestEntry>(&bytes)
            {
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The guest with that name or pid; `name:` or `pid:` says which of them is meant. An empty target is the only guest there is.
    pub fn find(&self, target: &str) -> Result<GuestEntry, GuestsError> {
        let entries = self.list()?;
        let names = || entries.iter().map(|entry| entry.name.clone()).collect();
        let (name, number) = match target.split_once(':') {
            Some(("name", name)) => (Some(name), ""),
            Some(("pid", number)) => (None, number),
            _ => (Some(target), target),
        };
        let mut matching: Vec<_> = match target {
            "" => entries.iter().collect(),
            _ => entries.iter().filter(|entry| Some(entry.name.as_str()) == name).collect(),
        };
        if matching.is_empty()
            && let Ok(pid) = number.parse::<u32>()
        {
            matching = entries.iter().filter(|entry| pid != 0 && entry.pid == pid).collect();
        }
        match matching[..] {
            [one] => Ok(one.clone()),
            [] => Err(GuestsError::Absent { target: target.into(), known: names() }),
            _ => Err(GuestsError::Ambiguous { known: names() }),
        }
    }

    /// Tells a guest's owner that its end is wanted, or no longer. An owner that is gone needs no telling.
    pub(super) fn tell_to_stop(&self, name: &str, stop: bool) {
        let path = self.root.join(name).join(STOPPING);
        let _ = if stop {
            private().create(true).truncate(false).open(path).map(drop)
        } else {
            std::fs::remove_file(path)
        };
    }

    fn lock(&self) -> Result<File, GuestsError> {
        let path = self.root.join("lock");
        let file = private().create(true).truncate(false).open(&path).map_err(io("open", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| io("lock", &path)(error.into()))?;
        Ok(file)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, GuestsError> {
        let entries = std::fs::read_dir(&self.root).map_err(io("list", &self.root))?;
        let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        Ok(entries.flatten().filter(is_dir).map(|entry| entry.path()).collect())
    }

    /// Removes entries that nobody holds. The caller holds the registry's lock.
    fn sweep(&self) -> Result<(), GuestsError> {
        for dir in self.directories()? {
            if !is_alive(&dir) {
                self.remove(&dir)?;
            }
        }
        sweep_memory();
        Ok(())
    }

    fn remove(&self, dir: &Path) -> Result<(), GuestsError> {
        if let Some(name) = dir.file_name().and_then(|name| name.to_str()) {
            for file in [MEMORY, RAM] {
                let memory = self.in_shm(name, file);
                match std::fs::remove_file(&memory) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(io("remove", &memory)(error));
                    }
                    _ => {}
                }
            }
        }
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", dir)(error)),
            _ => Ok(()),
        }
    }
}

fn is_alive(dir: &Path) -> bool {
    File::open(dir.join("alive")).is_ok_and(|alive| is_held(&alive))
}

fn is_held(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Removes memory files of ours that nobody holds. Their runtime directory may be gone (a session's, a test's), so that no
/// entry leads to them. What can't be removed is left to a later sweep.
fn sweep_memory() {
    let ours = memory_prefix();
    let stale = |path: &Path| -> std::io::Result<bool> {
        let found = std::fs::symlink_metadata(path)?;
        let old = found.modified()?.elapsed().is_ok_and(|age| age >= STALE);
        Ok(found.is_file() && found.uid() == geteuid().as_raw() && old && !is_held(&File::open(path)?))
    };
    for entry in std::fs::read_dir(SHM).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(&ours));
        if is_ours && stale(&entry.path()).unwrap_or(false) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// How the names of all our memory files begin.
fn memory_prefix() -> String {
    format!("uniprof-{}-", geteuid().as_raw())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Reservation {
    /// Makes the shared file, of its final size and with no page in it.
    pub(crate) fn create_memory(&mut self, path: &Path, bytes: u64) -> Result<(), GuestsError> {
        let file = private().create_new(true).open(path).map_err(io("create", path))?;
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        self.memory.push((path.into(), file));
        let Some((_, file)) = self.memory.last() else { return Ok(()) };
        locked.map_err(|error| io("lock", path)(error.into()))?;
        file.set_len(bytes).map_err(io("size", path))?;
        // A size that is only promised would end QEMU with SIGBUS later; one page tells a file system that is full now.
        file.write_all_at(&[0], bytes - 1).map_err(io("write to", path))
    }

    /// Writes the entry that others find, whole or not at all.
    pub fn publish(&self, entry: &GuestEntry) -> Result<(), GuestsError> {
        let path = self.dir.join("guest.json");
        let temporary = self.dir.join("guest.json.new");
        let write = || {
            let mut file = private().create(true).truncate(true).open(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(entry).map_err(std::io::Error::other)?)?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(io("write", &path))
    }

    /// Notes how the guest has ended, for those that watched it: the entry itself goes.
    pub(crate) fn note_ending(&self, ending: &Ending) {
        // Who can't be told says that it does not know.
        let _ = serde_json::to_vec(ending).map(|bytes| self.ended.write_all_at(&bytes, 0));
    }

    /// Whether somebody wants the guest to end: its owner must not start it anew.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.dir.join(STOPPING).exists()
    }

    /// The lock's file, for a test that lets go of it as a killed process would.
    #[cfg(test)]
    pub(super) fn lock_file(&self) -> &File {
        &self._alive
    }

    /// The guest's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let _lock = self.registry.lock();
        for (memory, _) in &self.memory {
            let _ = std::fs::remove_file(memory);
        }
        // What can't be removed now is swept by the next start.
        let _ = self.registry.remove(&self.dir);
    }
}
