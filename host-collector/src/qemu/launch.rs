//! Starting a guest.

use std::{ffi::OsString, io, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Accelerator, Files, GuestExit, HostCpu, LaunchSpec, SpecError, Transport, command::ram_backend,
    process::Process,
};
use crate::{
    cancel::Cancel,
    clock::HostTime,
    console::{Console, Line, Sinks},
    guests::{Ending, GuestEntry, GuestsError, Registry, Reservation, process_start},
    memory::{GuestMemory, MemoryError, NoMemory, RamMap},
    qmp::{Event, Qmp, QmpError, connect_when_ready},
};

/// Console lines that are kept for error messages.
const KEEP_LINES: usize = 40;
/// How long QEMU may take to open its control socket, and to answer on it.
const QEMU_LIMIT: Duration = Duration::from_secs(20);
/// How long QEMU gets to end by itself before it is killed.
const QUIT_LIMIT: Duration = Duration::from_secs(2);

/// How long the pipes of a QEMU that has ended may take to be read to their end.
pub(crate) const PIPE_LIMIT: Duration = Duration::from_millis(500);

/// How to start it.
#[derive(Default)]
pub struct LaunchOptions {
    /// Where the console's lines go.
    pub console: Sinks,
    /// Ends the start early.
    pub cancel: Cancel,
}

/// Why no guest came up.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// What was asked for can't be.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The registry refuses it.
    #[error(transparent)]
    Guests(#[from] GuestsError),
    /// There is no kernel to read.
    #[error("cannot read the kernel {path}: {source}")]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU is not installed.
    #[error("there is no {program} here; on Debian and Ubuntu: sudo apt-get install qemu-system-x86")]
    NoQemu {
        /// The program.
        program: String,
    },
    /// QEMU can't be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before the guest began: a kernel or an argument that it does not take.
    #[error("QEMU refused to start the guest ({exit}): {}", .said.trim())]
    Refused {
        /// How it ended.
        exit: GuestExit,
        /// The last lines of its standard error.
        said: String,
    },
    /// QEMU runs, its control socket does not work.
    #[error("the guest can't be controlled: {0}")]
    Qmp(#[from] QmpError),
    /// The shared memory can't be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The caller's token was set.
    #[error("cancelled")]
    Cancelled,
}

/// A guest that runs. Dropping it ends it: QEMU is killed and reaped, then its files are removed.
pub struct Guest {
    // Declared in the order in which they have to go.
    qmp: Qmp,
    process: Process,
    console: Console,
    stderr: Console,
    memory: Arc<dyn GuestMemory>,
    entry: GuestEntry,
    /// Why QEMU says that it ends.
    end_reason: Option<String>,
    reservation: Reservation,
}

/// Starts a guest and enters it into `registry`.
///
/// QEMU is started paused, and the guest runs when this returns: so a kernel that QEMU refuses is told apart from one that
/// ends at once, and no console line is lost.
pub fn launch(registry: &Registry, spec: &LaunchSpec, options: LaunchOptions) -> Result<Guest, LaunchError> {
    spec.validate()?;
    std::fs::File::open(&spec.kernel)
        .and_then(
            |kernel| {
                if kernel.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
            },
        )
        .map_err(|source| LaunchError::Kernel { path: spec.kernel.clone(), source })?;
    let accelerator = HostCpu::probe().choose(spec.accelerator)?;
    let mut reservation = registry.reserve(&spec.name)?;
    let files = registry.files(spec)?;
    let now = HostTime::now();
    let line = spec.command_line(&accelerator, &files, now.realtime_ns)?;
    let shares = spec.transport == Transport::Shm;
    if shares {
        reservation.create_memory(&files.ram, spec.memory)?;
    }
    if shares && files.memory != files.ram {
        reservation.create_memory(&files.memory, spec.shared_bytes()?)?;
    }
    let (process, console, stderr) = start(&line, options.console)?;
    let mut qmp = connect(&files, &process, &stderr, &options.cancel)?;
    let ram_map = if shares {
        let mtree = qmp.human_monitor("info mtree -f", QEMU_LIMIT)?;
        Some(RamMap::from_mtree(&mtree, ram_backend(spec.placement()))?)
    } else {
        None
    };
    let entry = GuestEntry {
        name: spec.name.clone(),
        pid: process.pid(),
        pid_start: process_start(process.pid()).unwrap_or(0),
        owner_pid: std::process::id(),
        qmp: files.qmp,
        kernel: std::path::absolute(&spec.kernel).unwrap_or_else(|_| spec.kernel.clone()),
        machine: spec.machine,
        memory_bytes: spec.memory,
        vcpus: spec.vcpus,
        placement: spec.placement(),
        memory_file: files.memory,
        ram_file: shares.then_some(files.ram),
        ram_in_process: None,
        ram_map,
        port: (!shares).then_some(files.port),
        control_port: None,
        accelerator,
        qemu_version: qmp.version().to_owned(),
        command_line: line.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        started_ns: now.realtime_ns,
    };
    reservation.publish(&entry)?;
    let memory: Arc<dyn GuestMemory> =
        if shares { Arc::from(entry.open_memory()?) } else { Arc::new(NoMemory) };
    match qmp.cont(QEMU_LIMIT) {
        // A kernel may run and end within the time that the answer takes.
        Ok(()) | Err(QmpError::Closed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Guest { qmp, process, console, stderr, memory, entry, end_reason: None, reservation })
}

fn start(line: &[OsString], sinks: Sinks) -> Result<(Process, Console, Console), LaunchError> {
    let program = line[0].to_string_lossy().into_owned();
    let mut paused = line.to_vec();
    paused.push("-S".into());
    let (process, output) = Process::spawn(&paused).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LaunchError::NoQemu { program: program.clone() },
        _ => LaunchError::Spawn { program: program.clone(), source },
    })?;
    let failed = |source| LaunchError::Spawn { program: program.clone(), source };
    let stderr = Console::capture(output.stderr, KEEP_LINES, Sinks::default()).map_err(failed)?;
    let console = Console::capture(output.stdout, KEEP_LINES, sinks).map_err(failed)?;
    Ok((process, console, stderr))
}

fn connect(files: &Files, process: &Process, stderr: &Console, cancel: &Cancel) -> Result<Qmp, LaunchError> {
    let goes_on = || process.exit().is_none() && !cancel.is_cancelled();
    match connect_when_ready(&files.owner_qmp, QEMU_LIMIT, goes_on)? {
        Some(qmp) => Ok(qmp),
        None if cancel.is_cancelled() => Err(LaunchError::Cancelled),
        None => {
            let exit = process.exit().unwrap_or(GuestExit::Signal(0));
            Err(LaunchError::Refused { exit, said: said(stderr) })
        }
    }
}

/// What QEMU wrote last.
fn said(stderr: &Console) -> String {
    stderr.wait_for_end(PIPE_LIMIT);
    let lines: Vec<_> = stderr.last_lines().iter().map(Line::text).collect();
    if lines.is_empty() { "it said nothing".into() } else { lines.join("\n") }
}

impl Guest {
    /// What others can find it by.
    #[must_use]
    pub fn entry(&self) -> &GuestEntry {
        &self.entry
    }

    /// The memory that holds the region. It stays readable after the guest's end.
    #[must_use]
    pub fn memory(&self) -> Arc<dyn GuestMemory> {
        Arc::clone(&self.memory)
    }

    /// What it runs on, and why.
    #[must_use]
    pub fn accelerator(&self) -> &Accelerator {
        &self.entry.accelerator
    }

    /// Its console.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What QEMU itself complained about, last lines.
    #[must_use]
    pub fn qemu_messages(&self) -> Vec<String> {
        self.stderr.last_lines().iter().map(Line::text).collect()
    }

    /// The control connection.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<GuestExit> {
        self.process.exit()
    }

    /// Waits for its end, until the limit or the token.
    pub fn wait(&self, limit: Duration, cancel: &Cancel) -> Option<GuestExit> {
        self.process.wait(limit, cancel)
    }

    /// Pauses its vCPUs, so that nothing is written any more. Whether it worked: a guest that has ended is paused too.
    pub fn pause(&mut self) -> bool {
        self.exit().is_some() || self.qmp.stop(QUIT_LIMIT).is_ok()
    }

    /// Kills QEMU where it runs, waits for its end for so long at most, and until the console was read to its end.
    pub fn kill(&self, limit: Duration) {
        if self.exit().is_none() {
            self.process.signal(rustix::process::Signal::KILL);
            self.wait(limit, &Cancel::new());
        }
        self.console.wait_for_end(PIPE_LIMIT);
    }

    /// Whether `uniprof stop` was used on it, also while it did not run.
    #[must_use]
    pub fn is_told_to_stop(&self) -> bool {
        self.reservation.is_told_to_stop()
    }

    /// Events that QEMU has reported so far, such as `SHUTDOWN` with its reason.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next_event(Duration::from_millis(1)).ok().flatten()).collect()
    }

    /// Waits so long for an event at most.
    pub(crate) fn next_event(&mut self, limit: Duration) -> Result<Option<Event>, QmpError> {
        let event = self.qmp.next_event(limit)?;
        if let Some(event) = event.as_ref().filter(|event| event.name == "SHUTDOWN") {
            self.end_reason = event.data["reason"].as_str().map(str::to_owned);
        }
        Ok(event)
    }

    /// Ends it, politely first, and waits until its console has been read to the end, unless whoever it is copied to takes
    /// nothing.
    pub fn shutdown(mut self) -> GuestExit {
        if self.exit().is_none() {
            // Whatever it answers, the process is waited for, and killed if it stays.
            let _ = self.qmp.quit(QUIT_LIMIT);
        }
        let exit = self.wait(QUIT_LIMIT, &Cancel::new());
        if exit.is_none() {
            self.process.signal(rustix::process::Signal::KILL);
        }
        let exit = exit.or_else(|| self.wait(QUIT_LIMIT, &Cancel::new()));
        self.take_events();
        self.reservation.note_ending(&Ending { exit, reason: self.end_reason.take() });
        if let Some(exit) = exit {
            self.console.wait_for_end(QUIT_LIMIT);
            self.stderr.wait_for_end(PIPE_LIMIT);
            return exit;
        }
        GuestExit::Signal(9)
    }
}

#[cfg(test)]
mod tests;
