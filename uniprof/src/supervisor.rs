//! A guest that is watched: when it crashes, a core is written, and it may be started again.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::Sender;
use uniprof_collector::cancel::Cancel;
use uniprof_collector::capture::{
    Backoff, Cause, Core, CoreDir, Crash, Limits, Outcome, WatchOptions, watch,
};
use uniprof_collector::qemu::{Guest, GuestExit, LaunchSpec};
use uniprof_symbolizer::Image;

use crate::command::run::launch;
use crate::exit::{Exit, Failure, code};
use crate::values::{Size, Span};
use crate::{guest, interrupt, output};

/// How long a vCPU may be silent unless the user says.
const WATCHDOG: Duration = Duration::from_secs(10);
/// How often a wait between two guests looks whether it still has a purpose.
const SLICE: Duration = Duration::from_millis(20);

/// What happens when the guest crashes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Crash options")]
pub(crate) struct Crashes {
    /// Write a core of a guest that crashes: dump, or dump=DIR [default of DIR: the current directory]
    #[arg(long, value_name = "dump[=DIR]")]
    on_crash: Option<OnCrash>,
    /// Start a guest that crashed again: no, on-crash (for ever), on-crash:N (N times at most) [default: no]
    #[arg(long, value_name = "WHEN")]
    restart: Option<Restart>,
    /// The same as --restart=no
    #[arg(long, conflicts_with = "restart")]
    no_restart: bool,
    /// A vCPU without a sign of life for so long counts as a crash; off: none does [default: 10s with --on-crash or --restart]
    #[arg(long, value_name = "TIME|off")]
    watchdog: Option<Watchdog>,
    /// How many cores of this guest are kept in DIR; the oldest go first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
    /// How much room they may take; the newest is always kept
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    keep_bytes: Size,
}

impl Crashes {
    /// Whether anything is to happen at a crash.
    pub(crate) fn are_watched(&self) -> bool {
        self.on_crash.is_some() || self.restarts() > 0 || self.watchdog().is_some()
    }

    fn restarts(&self) -> u32 {
        self.restart.filter(|_| !self.no_restart).map_or(0, |restart| restart.0)
    }

    fn watchdog(&self) -> Option<Duration> {
        let wanted = self.on_crash.is_some() || self.restarts() > 0;
        match self.watchdog {
            Some(Watchdog(limit)) => limit,
            None => wanted.then_some(WATCHDOG),
        }
    }
}

/// `dump` or `dump=DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OnCrash(PathBuf);

impl FromStr for OnCrash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "dump" => Ok(Self(".".into())),
            Some(("dump", dir)) if !dir.is_empty() => Ok(Self(dir.into())),
            _ => Err(format!("`{text}` is nothing that can be done; dump and dump=DIR are")),
        }
    }
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Restart(u32);

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let times = match text.split_once(':') {
            None if text == "no" => Some(0),
            None if text == "on-crash" => Some(u32::MAX),
            Some(("on-crash", times)) => times.parse().ok(),
            _ => None,
        };
        times.map(Self).ok_or_else(|| format!("`{text}` is none of no, on-crash, on-crash:N"))
    }
}

/// After how long, if ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watchdog(Option<Duration>);

impl FromStr for Watchdog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { text.parse::<Span>().map(|span| Self(Some(span.0))) }
    }
}

/// Starts a guest, and again where it crashed.
pub(crate) struct Supervisor<'a> {
    spec: &'a LaunchSpec,
    restarts: u32,
    watchdog: Option<Duration>,
    cores: Option<CoreWriter>,
    cancel: Cancel,
}

impl<'a> Supervisor<'a> {
    /// For a guest like `spec`, whose kernel the user calls `kernel`.
    pub(crate) fn new(crashes: &Crashes, spec: &'a LaunchSpec, kernel: &str) -> anyhow::Result<Self> {
        let limits = Limits { count: crashes.keep as usize, bytes: crashes.keep_bytes.0 };
        let cores = match &crashes.on_crash {
            Some(OnCrash(dir)) => {
                let cores = CoreDir::open(dir, &spec.name, limits)
                    .with_context(|| format!("cannot make the directory {} for cores", dir.display()))?;
                Some(CoreWriter::start(cores, &spec.kernel, kernel, crashes.restarts() > 0)?)
            }
            None => None,
        };
        let (restarts, watchdog) = (crashes.restarts(), crashes.watchdog());
        Ok(Self { spec, restarts, watchdog, cores, cancel: interrupt::token()? })
    }

    /// Runs until the guest ends and is not to be started again. Cores that are being written are written to their end.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let ended = self.supervise();
        let core = self.cores.take().and_then(CoreWriter::finish);
        match ended? {
            None => Ok(()),
            Some(sentence) => Err(Failure::error(
                Exit::Failed,
                sentence + &core.map_or_else(String::new, |core| core.tell()),
            )),
        }
    }

    /// The sentence for a guest that crashed for good; nothing for one that ended otherwise.
    fn supervise(&mut self) -> anyhow::Result<Option<String>> {
        let mut backoff = Backoff::default();
        let mut running = launch(self.spec, &self.cancel)?;
        for count in 0.. {
            let began = Instant::now();
            let cause = match self.watch(&mut running) {
                Outcome::Crashed(cause) => cause,
                Outcome::Ended(exit) => {
                    let last = running.console().last_lines();
                    running.shutdown();
                    return guest::judge(&self.spec.name, exit, &last).map(|()| None);
                }
                Outcome::Off | Outcome::Told | Outcome::Cancelled => {
                    running.shutdown();
                    return Ok(None);
                }
            };
            let noticed = Instant::now();
            let sentence = self.crashed(&mut running, cause)?;
            if count >= self.restarts {
                return Ok(Some(sentence));
            }
            output::say(format_args!("uniprof: {sentence}"));
            let wait = backoff.after(began.elapsed());
            if !wait.is_zero() {
                output::say(format_args!("uniprof: it is started again in {:.1} s", wait.as_secs_f64()));
            }
            if !self.rest(&running, wait) {
                return Ok(None);
            }
            // Its files must be gone before the next one can have its name.
            drop(running);
            running = launch(self.spec, &self.cancel)?;
            let delay = noticed.elapsed().as_millis();
            output::say(format_args!(
                "uniprof: {} runs again, {delay} ms after its crash (restart {})",
                self.spec.name,
                count + 1
            ));
        }
        Ok(None)
    }

    fn watch(&self, guest: &mut Guest) -> Outcome {
        let name = self.spec.name.clone();
        // What a guest that was started wrongly says is no crash: it would end so again.
        let is_crash =
            |exit: GuestExit| guest::judge(&name, exit, &[]).is_err_and(|error| code(&error) == Exit::Failed);
        let options =
            WatchOptions { watchdog: self.watchdog, is_crash: &is_crash, cancel: self.cancel.clone() };
        watch(guest, &options)
    }

    /// Ends the guest, and has its core written meanwhile; what to say of it.
    fn crashed(&self, guest: &mut Guest, cause: Cause) -> anyhow::Result<String> {
        let name = &self.spec.name;
        let crash = Crash::take(guest, cause)?;
        let last = guest.console().last_lines();
        let sentence = match &crash.cause {
            Cause::Exit(exit) => {
                guest::judge(name, *exit, &last).map_or_else(|end| end.to_string(), |()| exit.to_string())
            }
            cause => {
                let ending = cause.ending().unwrap_or_default();
                format!("guest {name} crashed: {ending}{}", guest::said_last(&last))
            }
        };
        if let Some(cores) = &self.cores {
            cores.write(crash);
        }
        Ok(sentence)
    }

    /// Waits, with the entry of the dead guest still there, so that `uniprof stop` finds it. Whether to go on.
    fn rest(&self, dead: &Guest, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if self.cancel.is_cancelled() || dead.is_told_to_stop() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

/// The nice value of what writes a core while the next guest starts.
const PATIENT: i32 = 10;

/// Writes cores on a thread of its own, so that the next guest need not wait for them.
struct CoreWriter {
    crashes: Sender<Crash>,
    thread: JoinHandle<Option<Kept>>,
}

/// Where the last core is, and how to look into it.
struct Kept {
    path: PathBuf,
    kernel: String,
}

impl Kept {
    fn tell(&self) -> String {
        format!("; its core is {}: {}", self.path.display(), next(&self.path, &self.kernel))
    }
}

/// The command to go on with.
pub(crate) fn next(core: &Path, kernel: &str) -> String {
    format!("`uniprof core {} --kernel {kernel}`", core.display())
}

impl CoreWriter {
    fn start(dir: CoreDir, file: &Path, kernel: &str, another_starts: bool) -> anyhow::Result<Self> {
        // One may wait while another is written: a guest that crashes faster waits for them.
        let (crashes, received) = crossbeam_channel::bounded::<Crash>(1);
        let (file, kernel) = (file.to_owned(), kernel.to_owned());
        let work = move || {
            if another_starts {
                // On a busy host the next guest is the more urgent one. On Linux this is of the calling thread, and of those that it
                // starts; that it may not be is no harm.
                let _ = rustix::process::setpriority_process(None, PATIENT);
            }
            let mut last = None;
            for crash in received {
                let lost = crash.lost.clone();
                match crash.write(&dir, build_id(&file)) {
                    Ok(core) => {
                        tell(&core, &lost);
                        last = Some(Kept { path: core.path, kernel: kernel.clone() });
                    }
                    Err(error) => {
                        output::say(format_args!("uniprof: there is no core of this crash: {error}"));
                        last = None;
                    }
                }
            }
            last
        };
        let thread = std::thread::Builder::new().name("cores".into()).spawn(work);
        Ok(Self { crashes, thread: thread.context("cannot start a thread that writes cores")? })
    }

    fn write(&self, crash: Crash) {
        // The thread ends only after this sender.
        let _ = self.crashes.send(crash);
    }

    fn finish(self) -> Option<Kept> {
        drop(self.crashes);
        self.thread.join().ok().flatten()
    }
}

fn tell(core: &Core, lost: &[String]) {
    let Core { path, written, removed } = core;
    output::say(format_args!(
        "uniprof: wrote {}: {:.1} MB, of {} MiB of memory",
        path.display(),
        written.bytes as f64 / 1e6,
        written.memory_bytes >> 20
    ));
    for lost in lost.iter().chain(&written.remarks) {
        output::say(format_args!("uniprof: not in it: {lost}"));
    }
    for old in removed {
        output::say(format_args!("uniprof: removed {}, an older core of this guest", old.display()));
    }
}

/// The build-id of a kernel's file, if it has one.
pub(crate) fn build_id(kernel: &Path) -> Option<String> {
    let bytes = std::fs::read(kernel).ok()?;
    Image::parse(bytes).ok()?.build_id().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_at_a_crash_is_read_or_refused_with_what_can_be_said() {
        assert_eq!("dump".parse(), Ok(OnCrash(".".into())));
        assert_eq!("dump=a/b=c".parse(), Ok(OnCrash("a/b=c".into())));
        for wrong in ["", "dump=", "core", "dumps"] {
            assert!(wrong.parse::<OnCrash>().unwrap_err().contains("dump=DIR"));
        }
        let times = |text: &str| text.parse::<Restart>().map(|restart| restart.0);
        assert_eq!([times("no"), times("on-crash:3"), times("on-crash")], [Ok(0), Ok(3), Ok(u32::MAX)]);
        for wrong in ["yes", "on-crash:", "on-crash:-1", "no:3"] {
            assert!(times(wrong).unwrap_err().contains("on-crash:N"));
        }
        assert_eq!("off".parse(), Ok(Watchdog(None)));
        assert_eq!("1m".parse(), Ok(Watchdog(Some(Duration::from_secs(60)))));
        assert!("never".parse::<Watchdog>().is_err());
    }
}
