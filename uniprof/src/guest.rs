//! What the end of a guest, or of a launch, means for the command that started it.

use std::path::PathBuf;

use uniprof_collector::console::Line;
use uniprof_collector::guests::{GuestEntry, GuestsError, Registry};
use uniprof_collector::qemu::{Guest, GuestExit, LaunchError};

use crate::exit::{Exit, Failure};
pub(crate) use crate::target::Target;

/// What the bundled unikernel writes to the debug-exit port when it ends as asked.
const CLEAN: u32 = 0x10;
/// What it writes after a panic or an exception.
const PANICKED: u32 = 0x11;
/// What it writes when it does not understand its command line.
const USAGE: u32 = 0x12;

/// Whether the guest's end, by itself, is a success; the sentence for a failure ends with what it said last.
pub(crate) fn judge(name: &str, exit: GuestExit, last: &[Line]) -> anyhow::Result<()> {
    let said = || said_last(last);
    match (exit.debug_exit(), exit) {
        (Some(CLEAN), _) | (None, GuestExit::Status(0)) => Ok(()),
        (Some(USAGE), _) => Err(Failure::error(
            Exit::Usage,
            format!("guest {name} did not understand the words after `--`{}", said()),
        )),
        (Some(PANICKED), _) => Err(Failure::error(Exit::Failed, format!("guest {name} panicked{}", said()))),
        _ => Err(Failure::error(Exit::Failed, format!("guest {name}: {exit}{}", said()))),
    }
}

/// The end of a sentence about a guest: its last line, if it said anything.
pub(crate) fn said_last(last: &[Line]) -> String {
    let lines: Vec<String> = last.iter().map(Line::text).filter(|line| !line.trim().is_empty()).collect();
    // Lines that are indented belong to the one before them: a list of callers below a panic's message.
    let said = lines.iter().rev().find(|line| !line.starts_with([' ', '\t'])).or(lines.last());
    said.map_or_else(String::new, |line| format!("; it said last: {line}"))
}

/// Whether somebody ended it over QMP (`uniprof stop`): that is no failure of the guest.
pub(crate) fn was_told_to_quit(guest: &mut Guest) -> bool {
    guest
        .take_events()
        .iter()
        .any(|event| event.name == "SHUTDOWN" && event.data["reason"] == "host-qmp-quit")
}

/// What the guest of that name runs, if it does: the path that QEMU was started with, as QEMU sees it and as we do.
pub(crate) fn kernel_files(name: &str) -> Vec<PathBuf> {
    let guests = Registry::open().and_then(|registry| registry.list()).unwrap_or_default();
    guests.iter().filter(|guest| guest.name == name).flat_map(kernel_paths).collect()
}

/// The kernel's file of a guest, first by way of its process: that may have another root directory than ours.
pub(crate) fn kernel_paths(guest: &GuestEntry) -> Vec<PathBuf> {
    let root = PathBuf::from(format!("/proc/{}/root", guest.pid));
    let within = guest.kernel.strip_prefix("/").ok().filter(|_| guest.pid != 0).map(|path| root.join(path));
    within.into_iter().chain([guest.kernel.clone()]).collect()
}

/// A launch that failed, with the exit code for it.
pub(crate) fn launch_failure(error: LaunchError) -> anyhow::Error {
    match &error {
        LaunchError::Spec(_) => Failure::error(Exit::Usage, error.to_string()),
        LaunchError::Guests(GuestsError::NameTaken { .. }) => Failure::error(Exit::Target, error.to_string()),
        _ => error.into(),
    }
}

/// A guest that was not found, with the exit code for it.
pub(crate) fn target_failure(error: GuestsError) -> anyhow::Error {
    if error.is_about_the_target() { Failure::error(Exit::Target, error.to_string()) } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;
    use uniprof_collector::clock::HostTime;

    fn judged(status: i32) -> Result<(), (Exit, String)> {
        let line = |text: &str| Line { at: HostTime::default(), bytes: text.into(), continued: false };
        let lines = [line("ready"), line("panic: out of heap"), line("  called from 0x1"), line("")];
        judge("kv", GuestExit::Status(status), &lines)
            .map_err(|error| (exit::code(&error), error.to_string()))
    }

    #[test]
    fn the_end_of_a_guest_is_told_apart() {
        assert_eq!(judged(33), Ok(()));
        assert_eq!(judged(0), Ok(()));
        let (code, sentence) = judged(35).unwrap_err();
        assert_eq!(
            (code, sentence.as_str()),
            (Exit::Failed, "guest kv panicked; it said last: panic: out of heap")
        );
        assert_eq!(judged(37).unwrap_err().0, Exit::Usage);
        assert_eq!(judged(1).unwrap_err().0, Exit::Failed);
    }
}
