//! `uniprof stop`: end a guest.
//!
//! ```text
//! $ uniprof stop kv
//! stopped kv (pid 4711)
//! ```

use uniprof_collector::guests::Registry;

use crate::{guest, output};

const EXAMPLES: &str = "\
Examples:
  uniprof stop kv
  uniprof stop 4711";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name or pid, as `uniprof ls` prints them
    target: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let entry = Registry::open()?.stop(&args.target).map_err(guest::target_failure)?;
    output::say(format_args!("stopped {} (pid {})", entry.name, entry.pid));
    Ok(())
}
