//! Whether a guest is alive, paused, starved of the host's CPU, wedged, or dead.
//!
//! It is looked at a few times within a second and a half: heartbeats in its region, what QEMU says of it, its registers, and the
//! CPU time that the threads of its vCPUs had on the host. What follows from that is pure: [`judge`].

mod judge;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    capture::seen::{Seen, process_time, see, threads},
    cpu::CpuState,
    guests::{GuestEntry, process_start},
    live::registers_over,
    memory::{FoundRegion, GuestMemory, find_region},
    qmp::{Qmp, Status},
    tables::Tables,
};

pub use judge::{State, VcpuSeen, Verdict, judge};

/// For how long is looked.
const WINDOW: Duration = Duration::from_millis(1500);
/// Between two looks.
const STEP: Duration = Duration::from_millis(150);
/// How long QEMU may take for an answer. One that does not give it is not asked again.
const LIMIT: Duration = Duration::from_millis(250);

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It is there.
    Runs,
    /// A signal or a debugger has stopped it.
    Stopped,
    /// It has ended, and nobody has taken note yet.
    Zombie,
    /// It has ended.
    Gone,
}

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// Since the first look.
    pub at: Duration,
    /// QEMU's process.
    pub process: Process,
    /// CPU time that all of its threads have had.
    pub used: Option<Duration>,
    /// What QEMU says, if it answers.
    pub status: Option<Status>,
    /// vCPUs in the region, where there is one.
    pub seen: Vec<Seen>,
    /// Registers, if QEMU answers.
    pub cpus: Vec<CpuState>,
}

/// What was seen of a guest.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// QEMU's process id.
    pub pid: u32,
    /// All looks.
    pub looks: Vec<Look>,
    /// The last words of a kernel that crashed.
    pub crash: Option<String>,
    /// Why QEMU could not be asked.
    pub no_monitor: Option<String>,
    /// Ticks per second of the guest's clock; 0 where it has no region.
    pub tsc_hz: u64,
}

/// Looks at a guest. Takes at most two seconds.
#[must_use]
pub fn look_at(entry: &GuestEntry) -> Evidence {
    let mut looker = Looker::new(entry);
    let began = Instant::now();
    let mut looks = Vec::new();
    loop {
        looks.push(looker.look(began.elapsed()));
        let ended =
            looks.last().is_some_and(|look: &Look| matches!(look.process, Process::Gone | Process::Zombie));
        if ended || began.elapsed() + STEP > WINDOW {
            break;
        }
        std::thread::sleep(STEP);
    }
    Evidence {
        pid: entry.pid,
        looks,
        crash: looker.crash(),
        no_monitor: looker.no_monitor,
        tsc_hz: looker.region.map_or(0, |region| region.header.tsc_hz),
    }
}

struct Looker<'a> {
    entry: &'a GuestEntry,
    memory: Option<Arc<dyn GuestMemory>>,
    region: Option<FoundRegion>,
    qmp: Option<Qmp>,
    no_monitor: Option<String>,
    threads: Vec<u64>,
}

impl<'a> Looker<'a> {
    fn new(entry: &'a GuestEntry) -> Self {
        let memory: Option<Arc<dyn GuestMemory>> = entry.open_memory().ok().map(Arc::from);
        let region = memory.as_deref().and_then(|memory| find_region(memory, None).ok()?.ok());
        let (qmp, no_monitor) = match process(entry) {
            // It would not answer.
            Process::Stopped | Process::Zombie | Process::Gone => (None, None),
            Process::Runs if entry.qmp.as_os_str().is_empty() => {
                (None, Some("it has no control socket (-qmp)".into()))
            }
            Process::Runs => match Qmp::connect(&entry.qmp, LIMIT) {
                Ok(qmp) => (Some(qmp), None),
                Err(error) => (None, Some(error.to_string())),
            },
        };
        Self { entry, memory, region, qmp, no_monitor, threads: Vec::new() }
    }

    fn look(&mut self, at: Duration) -> Look {
        let process = process(self.entry);
        let status = self.ask(|qmp, _| qmp.status(LIMIT).map_err(|error| error.to_string()));
        if self.threads.is_empty() {
            let asked = self.ask(|qmp, _| threads(qmp, LIMIT).map_err(|error| error.to_string()));
            self.threads = asked.unwrap_or_default();
        }
        let cpus = self.ask(|qmp, name| registers_over(qmp, name).map_err(|error| error.to_string()));
        let seen = self
            .memory
            .as_deref()
            .zip(self.region.as_ref())
            .and_then(|(memory, region)| see(memory, region, self.entry.pid, &self.threads));
        let used = process_time(self.entry.pid);
        Look { at, process, used, status, seen: seen.unwrap_or_default(), cpus: cpus.unwrap_or_default() }
    }

    /// Asks QEMU for something, unless it has failed to answer before.
    fn ask<T>(&mut self, ask: impl FnOnce(&mut Qmp, &str) -> Result<T, String>) -> Option<T> {
        match ask(self.qmp.as_mut()?, &self.entry.name) {
            Ok(answer) => Some(answer),
            Err(why) => {
                self.qmp = None;
                self.no_monitor = Some(why);
                None
            }
        }
    }

    /// What the first vCPU that crashed has left.
    fn crash(&self) -> Option<String> {
        let (memory, region) = (self.memory.as_deref()?, self.region?);
        let mut bytes = vec![0; region.header.geometry.tables_bytes()];
        memory.read(region.at, &mut bytes).ok()?;
        let tables = Tables::parse(&bytes).ok()?;
        let records = tables.crashes.iter().filter_map(|slot| slot.entry());
        let first = records.min_by_key(|record| record.tsc)?;
        Some(String::from_utf8_lossy(first.message.bytes()).into_owned())
    }
}

fn process(entry: &GuestEntry) -> Process {
    if process_start(entry.pid) != Some(entry.pid_start) {
        return Process::Gone;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", entry.pid)).unwrap_or_default();
    // Field 3, after the command in parentheses; see proc(5).
    match stat.rsplit_once(')').and_then(|(_, after)| after.trim_start().chars().next()) {
        Some('T' | 't') => Process::Stopped,
        Some('Z' | 'X') => Process::Zombie,
        Some(_) => Process::Runs,
        None => Process::Gone,
    }
}
