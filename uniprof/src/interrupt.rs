//! Ctrl-C and its like end a recording, not the program: what was recorded is still to be written.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use uniprof_collector::cancel::Cancel;

/// How soon a signal is heeded.
const SLICE: Duration = Duration::from_millis(10);

/// Waits for a signal, and whether there was one, until whoever holds the other end of `alive` has dropped it.
pub(crate) fn comes(cancel: &Cancel, alive: &Receiver<()>) -> bool {
    while !cancel.is_cancelled() {
        if alive.recv_timeout(SLICE) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
    }
    true
}

/// A token that the first Ctrl-C, SIGTERM or SIGHUP sets. The second one ends the program at once.
pub(crate) fn token() -> anyhow::Result<Cancel> {
    let cancel = Cancel::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: at the first signal the flag is not yet set when this asks.
        flag::register_conditional_shutdown(signal, 128 + signal, cancel.flag())?;
        flag::register(signal, cancel.flag())?;
    }
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_signal_is_waited_for_only_while_there_is_somebody_to_interrupt() {
        let cancel = &Cancel::new();
        let (working, alive) = channel();
        std::thread::scope(|scope| {
            let waits = scope.spawn(move || comes(cancel, &alive));
            drop(working);
            assert!(!waits.join().unwrap());
        });
        let (_working, alive) = channel();
        std::thread::scope(|scope| {
            let waits = scope.spawn(move || comes(cancel, &alive));
            cancel.cancel();
            assert!(waits.join().unwrap());
        });
    }
}
