//! What becomes of a guest that crashes: it is noticed, its registers are read, and a core of it is written while its successor runs.
//!
//! ```text
//!  watch ── QEMU's events, its end, the watchdog ──► Cause
//!    │
//!  Crash::take ── stands still ► registers ► QEMU killed ► console's last lines     some milliseconds
//!    │                                                      └─► the next guest may start
//!  Crash::write ── out of the memory's files, which have no name any more ──► CoreDir
//! ```
//!
//! The guest was started with [`hold_crashed`](crate::qemu::LaunchSpec::hold_crashed): QEMU stops it where it panics or is reset. One
//! that ends QEMU (`isa-debug-exit`), and one whose QEMU is killed, leaves memory alone; that is said in the core.

mod backoff;
mod cores;
pub(crate) mod seen;
mod watch;
pub(crate) mod watchdog;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

pub use backoff::Backoff;
pub use cores::{CoreDir, Limits, utc};
pub use watch::{Outcome, WatchOptions, watch};
pub use watchdog::Watchdog;

use crate::{
    cancel::Cancel,
    clock::HostTime,
    console::Line,
    cpu::CpuState,
    dump::{self, Facts, WriteError, Written},
    live::registers_over,
    memory::{GuestMemory, MemoryError, find_region},
    qemu::{Guest, GuestExit},
    tables::Tables,
};

/// Console lines that a core has.
const LINES: usize = 40;
/// How long a QEMU that was killed may take to end.
const END: Duration = Duration::from_secs(5);

/// Why a core is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// The guest told its hypervisor that it panicked.
    Panic,
    /// The processor was reset: by the guest, or because it could handle neither a fault nor that it could not.
    Reset,
    /// QEMU ended, with the guest or for another reason.
    Exit(GuestExit),
    /// These vCPUs have shown no sign of life for so long.
    Watchdog(Vec<u32>, Duration),
}

impl Cause {
    /// The word for [`Facts::why`].
    #[must_use]
    pub fn why(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Panic => "panic",
            Self::Reset => "reset",
            Self::Exit(_) => "exit",
            Self::Watchdog(..) => "watchdog",
        }
    }

    /// How the guest ended, in words, if it did.
    #[must_use]
    pub fn ending(&self) -> Option<String> {
        Some(match self {
            Self::Asked => return None,
            Self::Panic => "the guest told its hypervisor that it panicked".into(),
            Self::Reset => "the guest was reset".into(),
            Self::Exit(exit) => exit.to_string(),
            Self::Watchdog(vcpus, limit) => {
                let names: Vec<String> = vcpus.iter().map(u32::to_string).collect();
                let (noun, verb) = if vcpus.len() == 1 { ("vCPU", "has") } else { ("vCPUs", "have") };
                let names = names.join(", ");
                format!("{noun} {names} {verb} shown no sign of life for {:.0} s", limit.as_secs_f64())
            }
        })
    }
}

/// A guest that has crashed: everything about it but its QEMU, which is gone.
pub struct Crash {
    /// Why.
    pub cause: Cause,
    /// When it was noticed.
    pub noticed: Instant,
    /// What is known of it. Build-id and place of the region are found when the core is written.
    pub facts: Facts,
    /// Registers of its vCPUs; none where QEMU was gone.
    pub cpus: Vec<CpuState>,
    /// What was lost, in sentences.
    pub lost: Vec<String>,
    memory: Arc<dyn GuestMemory>,
}

impl Crash {
    /// Takes what there is and ends QEMU. The guest's files can be removed afterwards: its memory stays open here.
    pub fn take(guest: &mut Guest, cause: Cause) -> Result<Self, MemoryError> {
        let noticed = Instant::now();
        let taken_ns = HostTime::now().realtime_ns;
        let memory = guest.entry().open_all_memory()?;
        let mut lost = Vec::new();
        let mut cpus = Vec::new();
        if guest.exit().is_none() && guest.pause() {
            let name = guest.entry().name.clone();
            match registers_over(guest.qmp(), &name) {
                Ok(read) => cpus = read,
                Err(why) => lost.push(format!("registers: {why}")),
            }
        } else {
            lost.push("registers of the vCPUs: QEMU had ended before they could be read".into());
        }
        guest.kill(END);
        let mut facts = facts(guest.entry().facts(), &cause, taken_ns);
        let lines = guest.console().last_lines();
        facts.console = lines[lines.len().saturating_sub(LINES)..].iter().map(Line::text).collect();
        Ok(Self { cause, noticed, facts, cpus, lost, memory })
    }

    /// Writes the core into `dir`, under a name that tells the guest, the time and the build.
    pub fn write(mut self, dir: &CoreDir, build_id: Option<String>) -> Result<Core, WriteError> {
        complete(&mut self.facts, &*self.memory, build_id);
        let path = dir.free_path(self.facts.taken_ns, self.facts.build_id.as_deref());
        let written = dump::write(&path, &*self.memory, &self.cpus, &self.facts, &Cancel::new(), |_, _| {})?;
        let removed = dir.prune(&path);
        Ok(Core { path, written, removed })
    }
}

/// A core that was written.
#[derive(Debug)]
pub struct Core {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub written: Written,
    /// Older cores of this guest that had to go.
    pub removed: Vec<PathBuf>,
}

/// What is known of a guest, with why and when a dump of it is taken.
#[must_use]
pub fn facts(known: Facts, cause: &Cause, taken_ns: u64) -> Facts {
    Facts { why: cause.why().into(), ending: cause.ending(), taken_ns, ..known }
}

/// Adds what the guest's own region tells: where it lies, and which build the guest is; `build_id` counts where it says nothing.
pub fn complete(facts: &mut Facts, memory: &dyn GuestMemory, build_id: Option<String>) {
    let region = find_region(memory, None).ok().and_then(Result::ok);
    facts.region_at = region.as_ref().map(|region| region.at.0);
    let told = region.and_then(|region| {
        let mut bytes = vec![0; region.header.geometry.tables_bytes()];
        memory.read(region.at, &mut bytes).ok()?;
        Tables::parse(&bytes).ok()?.build_id()
    });
    facts.build_id = told.or(build_id);
}
