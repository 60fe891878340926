//! One QEMU process, which does not outlive us.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{PidfdFlags, Signal, getpid, getppid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;

/// How QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestExit {
    /// It returned this status. A guest that writes `v` to the debug-exit port makes it `2 * v + 1`.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
}

impl GuestExit {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Status(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }

    /// What the guest wrote to the debug-exit port, if that ended it. 0 can't be told from a QEMU that failed.
    #[must_use]
    pub fn debug_exit(self) -> Option<u32> {
        match self {
            Self::Status(status) if status > 1 && status % 2 == 1 => u32::try_from(status / 2).ok(),
            _ => None,
        }
    }
}

impl std::fmt::Display for GuestExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.debug_exit(), self) {
            (Some(value), _) => write!(f, "the guest ended itself with {value:#x}"),
            (None, Self::Status(0)) => write!(f, "QEMU ended"),
            (None, Self::Status(status)) => write!(f, "QEMU ended with status {status}"),
            (None, Self::Signal(signal)) => write!(f, "signal {signal} ended QEMU"),
        }
    }
}

/// A running child. Dropping it kills and reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    pidfd: OwnedFd,
    exit: Arc<Exit>,
    /// Spawned the child and lives as long as it does: PR_SET_PDEATHSIG fires when the spawning *thread* ends.
    guardian: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Exit {
    status: Mutex<Option<GuestExit>>,
    ended: Condvar,
}

/// What the child writes.
pub(crate) struct Output {
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    pub(crate) fn spawn(line: &[OsString]) -> io::Result<(Self, Output)> {
        let line = line.to_vec();
        let exit = Arc::new(Exit::default());
        let shared = Arc::clone(&exit);
        let (sender, started) = crossbeam_channel::bounded(1);
        let guardian = std::thread::Builder::new()
            .name("qemu-guardian".into())
            .spawn(move || guard(&line, &sender, &shared))?;
        let started = started.recv().unwrap_or_else(|_| Err(io::Error::other("the guardian thread ended")));
        match started {
            Ok((pid, pidfd, output)) => Ok((Self { pid, pidfd, exit, guardian: Some(guardian) }, output)),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub(crate) fn exit(&self) -> Option<GuestExit> {
        *self.exit.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its end until the limit or the token.
    pub(super) fn wait(&self, limit: Duration, cancel: &Cancel) -> Option<GuestExit> {
        let until = Instant::now() + limit;
        let mut status = self.exit.status.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if status.is_some() || left.is_zero() || cancel.is_cancelled() {
                return *status;
            }
            let slice = left.min(Duration::from_millis(20));
            (status, _) = self.exit.ended.wait_timeout(status, slice).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends a signal. To a process that has ended already this does nothing: a pidfd never names another one.
    pub(crate) fn signal(&self, signal: Signal) {
        // The only error that can come here is that it has ended.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(guardian) = self.guardian.take() {
            let _ = guardian.join();
        }
    }
}

type Started = io::Result<(u32, OwnedFd, Output)>;

fn guard(line: &[OsString], started: &crossbeam_channel::Sender<Started>, exit: &Exit) {
    let child = start(line);
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let pid = child.id();
    let pidfd = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or_else(|| io::Error::other("a pid that is none"))
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from));
    let parts = (pidfd, child.stdout.take(), child.stderr.take());
    let sent = match parts {
        (Ok(pidfd), Some(stdout), Some(stderr)) => {
            started.send(Ok((pid, pidfd, Output { stdout, stderr }))).is_ok()
        }
        (pidfd, ..) => {
            let _ = started.send(Err(pidfd.err().unwrap_or_else(|| io::Error::other("no pipes"))));
            false
        }
    };
    if !sent {
        let _ = child.kill();
    }
    let status = child.wait().map_or(GuestExit::Signal(0), GuestExit::of);
    *exit.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    exit.ended.notify_all();
}

fn start(line: &[OsString]) -> io::Result<std::process::Child> {
    let (program, arguments) = line.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C in the terminal is for us: we end the guest when its last records have been read.
    command.process_group(0);
    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl and getppid.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the call above took effect.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
        });
    }
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_dropped_process_is_killed_and_reaped() {
        let (process, _output) = Process::spawn(&words(&["sleep", "60"])).unwrap();
        let stat = format!("/proc/{}", process.pid());
        assert!(std::path::Path::new(&stat).exists());
        assert_eq!(process.exit(), None);
        drop(process);
        assert!(!std::path::Path::new(&stat).exists());
    }

    #[test]
    fn its_status_is_known() {
        let (process, _output) = Process::spawn(&words(&["sh", "-c", "exit 33"])).unwrap();
        let exit = process.wait(Duration::from_secs(20), &Cancel::new()).unwrap();
        assert_eq!((exit, exit.debug_exit()), (GuestExit::Status(33), Some(0x10)));
        process.signal(Signal::KILL);
        let (process, _output) = Process::spawn(&words(&["sleep", "60"])).unwrap();
        process.signal(Signal::TERM);
        assert_eq!(process.wait(Duration::from_secs(20), &Cancel::new()), Some(GuestExit::Signal(15)));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_at_once() {
        let error = Process::spawn(&words(&["/nonexistent/qemu"])).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_wait_ends_with_the_token() {
        let (process, _output) = Process::spawn(&words(&["sleep", "60"])).unwrap();
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(process.wait(Duration::from_secs(60), &cancel), None);
    }
}
