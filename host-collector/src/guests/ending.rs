//! How the VMM of a guest ended, found out by somebody who did not start it.
//!
//! The kernel tells that to a process's parent alone. Whoever looked at the process while it lived has three more ways:
//!
//! ```text
//!  NAME/ended           what the guest's owner notes before it removes the entry: a file that is open outlives its name
//!  PIDFD_GET_INFO       of a pidfd that was opened in time: what the parent was told, from Linux 6.15 on
//!  /proc/PID/stat       field 52, between the end and the moment in which the parent takes note
//! ```

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use rustix::{
    fd::{AsFd, OwnedFd},
    ioctl::{Updater, ioctl, opcode},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

use super::{GuestEntry, directory::ENDED, process_start};
use crate::qemu::GuestExit;

/// How long the owner of a guest may take to note how it ended: it may have records to read first.
const NOTE_LIMIT: Duration = Duration::from_secs(2);
/// More than a note has.
const MOST_NOTE: usize = 4096;

/// How a VMM ended, as far as that can be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// What its parent was told.
    pub exit: Option<GuestExit>,
    /// The reason that QEMU gave: `guest-shutdown`, `host-qmp-quit`, `host-signal` and their like.
    pub reason: Option<String>,
}

impl Ending {
    /// Whether the guest wanted it: it was switched off, or ended its machine with a number.
    #[must_use]
    pub fn is_of_the_guest(&self) -> bool {
        match (&self.reason, self.exit) {
            (Some(reason), _) => reason.starts_with("guest-"),
            (None, exit) => exit.and_then(GuestExit::debug_exit).is_some(),
        }
    }
}

/// Somebody who will know how a guest's VMM ended, because they began to watch while it ran.
#[derive(Debug)]
pub struct Witness {
    pid: u32,
    pid_start: u64,
    note: Option<File>,
    process: Option<OwnedFd>,
    /// Since when it is gone, and what is known by now.
    gone: Option<(Instant, Option<GuestExit>)>,
}

impl Witness {
    /// Begins to watch.
    #[must_use]
    pub fn of(entry: &GuestEntry) -> Self {
        let note = entry.is_ours().then(|| File::open(entry.qmp.with_file_name(ENDED)).ok()).flatten();
        let pid = i32::try_from(entry.pid).ok().and_then(Pid::from_raw);
        let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Checked after the pidfd is open: from here on it can only mean that process.
        let process = process.filter(|_| process_start(entry.pid) == Some(entry.pid_start));
        Self { pid: entry.pid, pid_start: entry.pid_start, note, process, gone: None }
    }

    /// How it ended; `None` while it runs, and for a moment after, while more may come to be known.
    pub fn look(&mut self) -> Option<Ending> {
        let is_there = process_start(self.pid) == Some(self.pid_start);
        let unreaped = if is_there { process_ending(self.pid) } else { None };
        if is_there && unreaped.is_none() {
            return None;
        }
        let noted = self.note.as_ref().and_then(read);
        if noted.is_some() {
            return noted;
        }
        let told = self.process.as_ref().and_then(reaped);
        let (since, known) = self.gone.get_or_insert((Instant::now(), None));
        *known = known.or(unreaped).or(told);
        // There is no more to be said of a signal.
        let is_clear = matches!(known, Some(GuestExit::Signal(_))) || self.note.is_none();
        (is_clear || since.elapsed() >= NOTE_LIMIT).then_some(Ending { exit: *known, reason: None })
    }
}

fn read(file: &File) -> Option<Ending> {
    let mut bytes = [0; MOST_NOTE];
    let length = file.read_at(&mut bytes, 0).ok()?;
    // While it is empty, and while it is written, it is none.
    serde_json::from_slice(&bytes[..length]).ok()
}

/// How a process ended of whose end its parent has not taken note yet: field 52 of `/proc/PID/stat`.
#[must_use]
pub fn process_ending(pid: u32) -> Option<GuestExit> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    if *fields.first()? != "Z" {
        return None;
    }
    exit_of(fields.get(49)?.parse().ok()?)
}

/// As wait(2) tells it.
fn exit_of(status: i32) -> Option<GuestExit> {
    match (status & 0x7f, status >> 8 & 0xff) {
        (0, code) => Some(GuestExit::Status(code)),
        (signal, _) => Some(GuestExit::Signal(signal)),
    }
}

/// `struct pidfd_info` of `linux/pidfd.h`, as long as it was in Linux 6.13: later kernels take it as well.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;

/// How a process ended of whose end its parent has taken note.
fn reaped(process: &OwnedFd) -> Option<GuestExit> {
    const GET_INFO: rustix::ioctl::Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: PIDFD_GET_INFO reads and writes as many bytes as its number says, and that was made of this type, of which any bytes are a
    // value. Kernels that do not know it write nothing.
    let known = unsafe { ioctl(process.as_fd(), Updater::<GET_INFO, PidfdInfo>::new(&mut info)) };
    known.ok()?;
    (info.mask & EXIT != 0).then(|| exit_of(info.exit_code)).flatten()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = done() {
                return found;
            }
            assert!(begun.elapsed() < LIMIT, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap()
    }

    fn witness(child: &Child, note: Option<File>) -> Witness {
        let pid = Pid::from_child(child);
        Witness {
            pid: child.id(),
            pid_start: process_start(child.id()).unwrap(),
            note,
            process: Some(pidfd_open(pid, PidfdFlags::empty()).unwrap()),
            gone: None,
        }
    }

    fn kernel() -> (u32, u32) {
        let uname = rustix::system::uname();
        let mut numbers =
            uname.release().to_str().unwrap().split(['.', '-']).map(|word| word.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    fn only(exit: GuestExit) -> Ending {
        Ending { exit: Some(exit), reason: None }
    }

    #[test]
    fn the_end_of_a_process_is_known_before_its_parent_has_taken_note() {
        for (script, exit) in
            [("read x; exit 33", GuestExit::Status(33)), ("read x; kill -9 $$", GuestExit::Signal(9))]
        {
            let mut child = shell(script);
            let mut witness = witness(&child, None);
            assert_eq!((witness.look(), process_ending(child.id())), (None, None));
            drop(child.stdin.take());
            assert_eq!(until("its end", || witness.look()), only(exit));
            assert_eq!(process_ending(child.id()), Some(exit));
            child.wait().unwrap();
            assert_eq!(process_ending(child.id()), None);
            assert_eq!(witness.look(), Some(only(exit)), "what was known stays so");
        }
    }

    #[test]
    fn the_end_of_a_process_is_known_or_said_to_be_unknown_when_its_parent_has_taken_note() {
        for (script, exit) in
            [("read x; exit 33", GuestExit::Status(33)), ("read x; kill -9 $$", GuestExit::Signal(9))]
        {
            let mut child = shell(script);
            let mut witness = witness(&child, None);
            drop(child.stdin.take());
            child.wait().unwrap();
            let ending = until("an answer", || witness.look());
            // Kernels before 6.15 forget it.
            let wanted = if kernel() >= (6, 15) { only(exit) } else { Ending::default() };
            assert_eq!(ending, wanted);
        }
    }

    #[test]
    fn what_the_owner_notes_is_waited_for_and_outlives_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ENDED);
        let owner = File::create(&path).unwrap();
        let mut child = shell("read x; exit 0");
        let mut witness = witness(&child, Some(File::open(&path).unwrap()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(witness.look(), None, "the owner may still note something");
        let ending = Ending { exit: Some(GuestExit::Status(0)), reason: Some("guest-shutdown".into()) };
        std::fs::remove_file(&path).unwrap();
        owner.write_all_at(&serde_json::to_vec(&ending).unwrap(), 0).unwrap();
        assert_eq!(witness.look().as_ref(), Some(&ending));
        assert!(ending.is_of_the_guest());
    }

    #[test]
    fn who_wanted_the_end_is_told_by_the_reason_or_by_the_number() {
        let ending = |exit, reason: Option<&str>| Ending { exit, reason: reason.map(str::to_owned) };
        for (ending, is_of_the_guest) in [
            (ending(Some(GuestExit::Status(0)), None), false),
            (ending(Some(GuestExit::Status(1)), None), false),
            (ending(Some(GuestExit::Status(33)), None), true),
            (ending(Some(GuestExit::Status(0)), Some("guest-shutdown")), true),
            (ending(Some(GuestExit::Status(0)), Some("host-qmp-quit")), false),
            (ending(Some(GuestExit::Signal(9)), None), false),
            (ending(None, None), false),
        ] {
            assert_eq!(ending.is_of_the_guest(), is_of_the_guest, "{ending:?}");
        }
    }
}
