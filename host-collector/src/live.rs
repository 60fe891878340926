//! A guest that runs, looked into: all of its memory, and its registers.
//!
//! Memory comes from the shared files behind it or from its VMM's process, registers from QEMU's monitor, and both belong together only
//! while the guest stands still: see [`LiveGuest::pause`].

mod by_qemu;
mod process;
mod registers;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use by_qemu::dump_by_qemu;
pub use registers::{RegistersError, parse_registers};

use crate::{
    cpu::CpuState,
    dump::Facts,
    guests::GuestEntry,
    memory::{GuestMemory, MemoryError},
    qmp::{Qmp, QmpError},
    vmm::VmmError,
};

/// How long QEMU may take for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a guest can't be looked into.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Its memory can't be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// It is no guest of ours, and its process can't be looked into.
    #[error(transparent)]
    Vmm(#[from] VmmError),
    /// Its control socket does not work.
    #[error("guest {name:?} can't be controlled: {source}")]
    Control {
        /// Its name.
        name: String,
        /// What went wrong.
        source: QmpError,
    },
    /// What the monitor said of its registers was not understood.
    #[error("the registers of guest {name:?} are not known: {source}")]
    Registers {
        /// Its name.
        name: String,
        /// What was wrong.
        source: RegistersError,
    },
    /// QEMU was to write a dump and did not.
    #[error("QEMU wrote no dump of guest {name:?}: it says {why}; is there room, and may QEMU write there?")]
    NotDumped {
        /// Its name.
        name: String,
        /// What QEMU said.
        why: String,
    },
    /// The caller's token was set.
    #[error("cancelled")]
    Cancelled,
}

/// A guest that is open. Its control socket is taken by the first use of it and held until this is dropped: QEMU serves one client at a
/// time.
pub struct LiveGuest {
    facts: Facts,
    kernel: Option<PathBuf>,
    memory: Arc<dyn GuestMemory>,
    only_by_size: bool,
    remarks: Vec<String>,
    /// Where QEMU is controlled, if it can be.
    control: Option<PathBuf>,
    qmp: Mutex<Option<Qmp>>,
}

impl LiveGuest {
    /// Opens a guest by its entry. Nothing is asked of QEMU yet, and the guest does not notice.
    pub fn open(entry: &GuestEntry) -> Result<Self, LiveError> {
        Ok(Self {
            facts: entry.facts(),
            kernel: Some(entry.kernel.clone()).filter(|path| !path.as_os_str().is_empty()),
            memory: entry.open_all_memory()?,
            only_by_size: false,
            remarks: Vec::new(),
            control: Some(entry.qmp.clone()).filter(|path| !path.as_os_str().is_empty()),
            qmp: Mutex::new(None),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.facts.guest
    }

    /// What is known of it beforehand: its name, kernel, hypervisor, vCPUs, and what is missing.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts { lacks: self.remarks.clone(), ..self.facts.clone() }
    }

    /// The kernel's file, as this process can open it, if it is known.
    #[must_use]
    pub fn kernel(&self) -> Option<&Path> {
        self.kernel.as_deref()
    }

    /// Whether its memory was told from its VMM's other mappings by nothing but its size. A region that is found there settles it.
    #[must_use]
    pub fn is_found_by_size_only(&self) -> bool {
        self.only_by_size
    }

    /// Whether it can stand still, and has registers.
    #[must_use]
    pub fn can_be_controlled(&self) -> bool {
        self.control.is_some()
    }

    /// All of its memory, whatever it lies in. It stays readable after the guest's end.
    #[must_use]
    pub fn memory(&self) -> Arc<dyn GuestMemory> {
        Arc::clone(&self.memory)
    }

    /// The registers of its vCPUs, in the order of their numbers. Of a guest that runs they are of slightly different moments; of one that
    /// can't be controlled there are none.
    pub fn registers(&self) -> Result<Vec<CpuState>, LiveError> {
        if !self.can_be_controlled() {
            return Ok(Vec::new());
        }
        let mut qmp = self.control()?;
        let Some(qmp) = qmp.as_mut() else { return Ok(Vec::new()) };
        registers_over(qmp, self.name())
    }

    /// Stops its vCPUs until the guard is dropped. A guest that stood still already is left standing then; one that can't be controlled runs
    /// on.
    pub fn pause(&self) -> Result<Paused<'_>, LiveError> {
        if !self.can_be_controlled() {
            return Ok(Paused { guest: self, since: None });
        }
        let mut qmp = self.control()?;
        let Some(qmp) = qmp.as_mut() else { return Ok(Paused { guest: self, since: None }) };
        let failed = |source| LiveError::Control { name: self.name().to_owned(), source };
        if !qmp.status(LIMIT).map_err(failed)?.running {
            return Ok(Paused { guest: self, since: None });
        }
        let since = Instant::now();
        // From here on it may stand still, whatever the answer: the guard lets it go on.
        let paused = Paused { guest: self, since: Some(since) };
        qmp.stop(LIMIT).map_err(failed)?;
        Ok(paused)
    }

    /// Uses the control socket for something else.
    pub fn with_control<T>(
        &self,
        work: impl FnOnce(&mut Qmp) -> Result<T, LiveError>,
    ) -> Result<T, LiveError> {
        let mut qmp = self.control()?;
        match qmp.as_mut() {
            Some(qmp) => work(qmp),
            None => Err(LiveError::Cancelled),
        }
    }

    fn control(&self) -> Result<MutexGuard<'_, Option<Qmp>>, LiveError> {
        let mut held = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none()
            && let Some(control) = &self.control
        {
            let connected = Qmp::connect(control, LIMIT);
            let failed = |source| LiveError::Control { name: self.name().to_owned(), source };
            *held = Some(connected.map_err(failed)?);
        }
        Ok(held)
    }
}

/// The registers of all vCPUs, over a connection that is there already.
pub fn registers_over(qmp: &mut Qmp, name: &str) -> Result<Vec<CpuState>, LiveError> {
    let failed = |source| LiveError::Control { name: name.into(), source };
    let text = qmp.human_monitor("info registers -a", LIMIT).map_err(failed)?;
    parse_registers(&text).map_err(|source| LiveError::Registers { name: name.into(), source })
}

/// A guest that stands still. Dropping it lets the guest go on, if it ran before.
#[must_use = "the guest goes on when this is dropped"]
pub struct Paused<'a> {
    guest: &'a LiveGuest,
    /// Since when it has stood still for us.
    since: Option<Instant>,
}

impl Paused<'_> {
    /// Whether it ran before, and stands still now.
    #[must_use]
    pub fn was_running(&self) -> bool {
        self.since.is_some()
    }

    /// How long it has stood still so far; zero for one that did so already.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Lets it go on, and says how long it stood still.
    pub fn resume(mut self) -> Result<Duration, LiveError> {
        let Some(since) = self.since.take() else { return Ok(Duration::ZERO) };
        self.guest.go_on()?;
        Ok(since.elapsed())
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            // QEMU may have ended meanwhile; then nothing can go on.
            let _ = self.guest.go_on();
        }
    }
}

impl LiveGuest {
    /// Lets it go on, for somebody who ends the program before the guard is dropped.
    pub fn go_on(&self) -> Result<(), LiveError> {
        let mut qmp = self.control()?;
        let Some(qmp) = qmp.as_mut() else { return Ok(()) };
        qmp.cont(LIMIT).map_err(|source| LiveError::Control { name: self.name().to_owned(), source })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
