//! Ending a guest that somebody else may have started.

use std::time::{Duration, Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::AsFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{GuestEntry, GuestsError, Registry, process_start};
use crate::qmp::Qmp;

/// How long each way of ending it gets.
const STEP: Duration = Duration::from_secs(3);

impl Registry {
    /// Ends the guest: asks QEMU over QMP, then SIGTERM, then SIGKILL. Returns when its process is gone.
    pub fn stop(&self, target: &str) -> Result<GuestEntry, GuestsError> {
        let entry = self.find(target)?;
        self.tell_to_stop(&entry.name, true);
        let ended = self.end(entry.clone());
        if ended.is_err() {
            self.tell_to_stop(&entry.name, false);
        }
        ended
    }

    fn end(&self, entry: GuestEntry) -> Result<GuestEntry, GuestsError> {
        let wont =
            |why: &str| GuestsError::WontStop { name: entry.name.clone(), pid: entry.pid, why: why.into() };
        let Some(pid) = i32::try_from(entry.pid).ok().and_then(Pid::from_raw) else {
            return Err(wont("it is still being started"));
        };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(entry) };
        // Checked after the pidfd is open: from here on it can only mean that process.
        if process_start(entry.pid) != Some(entry.pid_start) {
            return Ok(entry);
        }
        // A guest whose control socket is held by somebody else is ended by signals.
        let asked = Qmp::connect(&entry.qmp, STEP).and_then(|mut qmp| qmp.quit(STEP));
        if asked.is_ok() && ended(&process, STEP) {
            return Ok(entry);
        }
        for signal in [Signal::TERM, Signal::KILL] {
            match pidfd_send_signal(&process, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(wont(&error.to_string())),
            }
            if ended(&process, STEP) {
                return Ok(entry);
            }
        }
        Err(wont("it survived SIGKILL for 3 s, so it hangs in the kernel"))
    }
}

/// Whether the process ends in time; a pidfd becomes readable then.
fn ended(process: impl AsFd, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
