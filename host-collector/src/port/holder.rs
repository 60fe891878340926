//! Who has the port: QEMU serves one client per socket, so a lock beside the socket says which process that is. The system lets go of
//! it when the process ends, however it ends.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Bytes of the lock file that are read.
const MOST: u64 = 256;

/// The process that has the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its program, and what that was told to do.
    pub program: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.program, self.pid)
    }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the port at `path`. `Ok(None)`: another process has it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let lock = beside(path, "lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(lock)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // What it says is for people: a lock without it is as good.
        let _ = write_own(&mut file);
        Ok(Some(Self { _file: file }))
    }

    /// Who has it; `None`: nobody, or it does not say.
    pub(super) fn holder(path: &Path) -> Option<Holder> {
        let file = File::open(beside(path, "lock")).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        file.take(MOST).read_to_string(&mut text).ok()?;
        let (pid, program) = text.trim().split_once(' ')?;
        Some(Holder { pid: pid.parse().ok()?, program: program.into() })
    }
}

/// A path next to that of the port.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

fn write_own(file: &mut File) -> io::Result<()> {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let verb = arguments.next().filter(|word| word.chars().all(char::is_alphanumeric));
    let words: Vec<String> = std::iter::once(program).chain(verb).collect();
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{} {}", std::process::id(), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_port_and_is_known_for_as_long() {
        let dir = tempfile::tempdir().unwrap();
        let port = dir.path().join("port");
        assert_eq!(Lock::holder(&port), None);
        let lock = Lock::take(&port).unwrap().expect("it is free");
        assert!(Lock::take(&port).unwrap().is_none());
        let holder = Lock::holder(&port).expect("somebody has it");
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.to_string().ends_with(&format!("(pid {})", std::process::id())), "{holder}");
        drop(lock);
        assert_eq!(Lock::holder(&port), None);
        assert!(Lock::take(&port).unwrap().is_some());
        assert!(Lock::take(Path::new("/nowhere/port")).is_err());
    }
}
