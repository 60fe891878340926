//! What the end of a VMM means for its guest, in words.

use uniprof_collector::guests::Ending;
use uniprof_collector::qemu::GuestExit;
use uniprof_tui::picture::Fate;

/// What became of a guest whose VMM, process `pid`, has ended.
pub(super) fn fate(ending: &Ending, pid: u32) -> Fate {
    let reason = ending.reason.as_deref();
    if reason == Some("guest-panic") {
        return Fate::Crashed("it told its VMM that it panicked".into());
    }
    let exit = ending.exit;
    if ending.is_of_the_guest() {
        let how = exit.and_then(GuestExit::debug_exit).map_or_else(
            || match reason {
                Some("guest-reset") => "it restarted its machine, which ends QEMU here".to_owned(),
                _ => "it switched its machine off".to_owned(),
            },
            |number| format!("it ended its machine with {number:#x}"),
        );
        let code = match exit {
            Some(GuestExit::Status(code)) => format!(", QEMU's exit code is {code}"),
            _ => String::new(),
        };
        return Fate::Exited(Some(how + &code));
    }
    let process = match exit {
        Some(GuestExit::Signal(number)) => {
            format!("process {pid} was killed by signal {number}{}", name(number))
        }
        Some(GuestExit::Status(code)) => format!("process {pid} ended with exit code {code}"),
        None => format!("how process {pid} ended only its parent knows"),
    };
    let why = match (reason, exit) {
        (Some("host-qmp-quit"), _) => ": it was told to, over QMP",
        (Some("host-signal"), _) => ": it was told to, by a signal",
        (Some("host-ui"), _) => ": it was told to, in its window",
        (None, Some(GuestExit::Status(0))) => ": it was told to, or the guest switched its machine off",
        _ => "",
    };
    Fate::VmmGone(Some(process + why))
}

fn name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        31 => " (SIGSYS)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_sentence() {
        let told = |exit, reason: Option<&str>| fate(&Ending { exit, reason: reason.map(str::to_owned) }, 7);
        let gone = |words: &str| Fate::VmmGone(Some(words.into()));
        let exited = |words: &str| Fate::Exited(Some(words.into()));
        let status = |code| Some(GuestExit::Status(code));
        assert_eq!(
            told(Some(GuestExit::Signal(9)), None),
            gone("process 7 was killed by signal 9 (SIGKILL)")
        );
        assert_eq!(told(status(33), None), exited("it ended its machine with 0x10, QEMU's exit code is 33"));
        assert_eq!(told(status(1), None), gone("process 7 ended with exit code 1"));
        assert_eq!(
            told(status(0), Some("guest-shutdown")),
            exited("it switched its machine off, QEMU's exit code is 0")
        );
        assert_eq!(
            told(status(0), Some("host-qmp-quit")),
            gone("process 7 ended with exit code 0: it was told to, over QMP")
        );
        assert_eq!(
            told(status(0), None),
            gone("process 7 ended with exit code 0: it was told to, or the guest switched its machine off")
        );
        assert_eq!(
            told(status(0), Some("guest-panic")),
            Fate::Crashed("it told its VMM that it panicked".into())
        );
        assert_eq!(told(None, None), gone("how process 7 ended only its parent knows"));
    }
}
