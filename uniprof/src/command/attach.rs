//! `uniprof attach`: a guest seen while it runs; a recording replayed.
//!
//! ```text
//! $ uniprof top web --once
//! web: runs, 4.7 s after its boot, 143 samples at 99 Hz over shared memory
//! 3 threads, 0 of them want a CPU; per second 123 samples, 10353 other records; 0 lost, own cost 0.9 %
//! vCPU 0: busy 93.2 %, interrupts 1.0 %, idle 5.7 %
//! vCPU 1: busy 96.1 %, interrupts 0.7 %, idle 3.3 %
//!
//!     SELF     TOTAL  FUNCTION
//!  33.57 %   33.57 %  uniprof_sample_kernel::sync::mutex::Mutex<T>::wake_waiter
//!  14.69 %   14.69 %  <usize>::unchecked_add
//! …
//! ID  NAME  STATE    VCPU  CPU TIME  SHARE   SINCE    WAITS FOR            IN
//! 1   main  blocked  0     0.003 s   0.0 %   4.579 s  the end of thread 2
//! 2   kv-0  running  0     4.290 s   94.6 %  0.009 s                       uniprof_sample_kernel::sync::mutex::Mutex<T>::wake_waiter
//! 3   kv-1  running  1     4.397 s   96.3 %  0.000 s                       memcpy
//! ```

pub(crate) mod once;

use std::io::IsTerminal as _;
use std::thread;
use std::time::Duration;

use uniprof_collector::cancel::Cancel;
use uniprof_tui::{Outcome, TuiError};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::input::Input;
use crate::monitor::{Engine, Options};
use crate::selection::Selection;
use crate::target::Target;
use crate::values::{Hertz, PathMap};
use crate::{interrupt, options};

const EXAMPLES: &str = "\
Examples:
  uniprof attach                                the only guest of ours, or the only one that runs here
  uniprof attach web -F 499 -e +off-cpu         asked to sample more, and to record where threads wait
  uniprof attach r.uniprof                      a recording, replayed
  uniprof top web --once                        one look as text, after a second
  uniprof top web --once --json | jq '.functions[0]'";

/// How long a guest is looked at for one look.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A running guest, a recording, a dump, or `sample`; left out, the only guest of ours, or the only one that runs here
    #[arg(value_name = "TARGET|INPUT")]
    target: Option<String>,
    /// Samples per second and vCPU that a guest is asked for [default: 99]
    #[arg(short = 'F', long, value_name = "HZ", env = "UNIPROF_FREQUENCY", hide_env = true)]
    frequency: Option<Hertz>,
    /// What a guest is asked to record meanwhile, as `record -e` takes it: +off-cpu, http.*
    #[arg(short, long = "events", value_name = "WHAT", allow_hyphen_values = true)]
    events: Option<Selection>,
    /// Sources that were at FROM when the kernel was built lie at TO here; repeatable
    #[arg(long, value_name = "FROM=TO")]
    path_map: Vec<PathMap>,
    /// Draw with ASCII only
    #[arg(long)]
    ascii: bool,
    /// Print one look as text, and end
    #[arg(long)]
    once: bool,
    /// With --once, print a JSON document (schema uniprof.top/1)
    #[arg(long, requires = "once")]
    json: bool,
    #[command(flatten)]
    symbols: options::Symbols,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !args.once && !std::io::stdout().is_terminal() {
        return Err(Failure::error(
            Exit::Usage,
            "standard output is no terminal to draw on: --once prints one look as text, --once --json for programs",
        ));
    }
    let input = choose(args.target.as_deref())?;
    // On a terminal signals are the interface's to heed: it gives the terminal back.
    let cancel = if args.once { interrupt::token()? } else { Cancel::new() };
    let options = Options {
        rate: args.frequency.map(|hertz| hertz.0),
        events: args.events.clone(),
        symbols: args.symbols.clone(),
        path_map: if args.path_map.is_empty() { Config::load()?.path_map } else { args.path_map.clone() },
        cancel: cancel.clone(),
    };
    let engine = Engine::open(&input, &options)?;
    if args.once {
        return once::print(&engine.look(LOOK, &cancel)?, args.json);
    }
    on_terminal(engine, args)
}

/// Shows what the engine sees until the person has seen enough.
fn on_terminal(engine: Engine, args: &Args) -> anyhow::Result<()> {
    let (requests, asked) = crossbeam_channel::unbounded();
    let (tell, answers) = crossbeam_channel::unbounded();
    let mut look = uniprof_tui::Options::from_environment();
    look.ascii |= args.ascii;
    let seen = thread::Builder::new().name("monitor".into()).spawn(move || engine.serve(&asked, &tell))?;
    // The sender ends with the interface: then the engine ends, too, and withdraws what it asked of the guest.
    let outcome = uniprof_tui::run(answers, requests, look);
    let seen =
        seen.join().map_err(|_| anyhow::anyhow!("looking at the guest failed; this is a bug in uniprof"))?;
    let outcome = outcome.map_err(|error| match error {
        TuiError::NotATerminal(_) => Failure::error(Exit::Usage, error.to_string()),
        error => error.into(),
    })?;
    seen?;
    match outcome {
        Outcome::Quit => Ok(()),
        Outcome::Signalled(signal) => std::process::exit(128 + signal),
    }
}

/// What is to be seen: without a word the only guest.
fn choose(word: Option<&str>) -> anyhow::Result<Input> {
    if let Some(word) = word {
        return Input::choose(Some(word));
    }
    Target::only_word().map(Input::Guest)
}
