//! Ctrl-C and its like end a recording, not the program: what was recorded is still to be written.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use uniprof_collector::cancel::Cancel;

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
