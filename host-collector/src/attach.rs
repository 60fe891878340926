//! From a guest that was started to a region that can be read.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use uniprof_wire::{
    address::GuestPhysical,
    layout::{LayoutError, RegionHeader},
    stream::{Area, Begin},
    tables::ControlRequest,
};

use crate::{
    cancel::Cancel,
    clock::HostTime,
    console::Line,
    control::{self, Control, ControlError},
    drain::Drainer,
    guests::{GuestEntry, process_start},
    memory::{FoundRegion, GuestMemory, MemoryError, NoMemory, find_region},
    network::Network,
    port::{Beside, Holder, Port, PortRequest},
    qemu::{Guest, GuestExit, PIPE_LIMIT, Transport},
    recording::{ClockPair, HostFacts, SessionInfo},
    tables::Tables,
};

/// Shortest and longest pause between two looks for the region: looking costs time that the guest may need to boot.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// Console lines that an error message shows.
const SHOWN_LINES: usize = 12;
/// A guest that runs gives a sign of life within 25 ms.
const FIRST_PAIR_LIMIT: Duration = Duration::from_millis(30);

/// A guest that can be observed: our own, or one that another process has started.
pub enum Observed<'a> {
    /// Started by this process.
    Own(&'a mut Guest),
    /// One that runs: of the registry, or found among the host's processes ([`crate::vmm::Vmm::entry`]).
    Other(&'a GuestEntry),
}

impl Observed<'_> {
    /// What the registry knows about it.
    #[must_use]
    pub fn entry(&self) -> &GuestEntry {
        match self {
            Self::Own(guest) => guest.entry(),
            Self::Other(entry) => entry,
        }
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Arc<dyn GuestMemory>, MemoryError> {
        match self {
            Self::Own(guest) => Ok(guest.memory()),
            Self::Other(entry) => entry.open_memory().map(Arc::from),
        }
    }

    /// Whether its process has ended. Its memory can be read all the same.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        match self {
            Self::Own(guest) => guest.exit().is_some(),
            Self::Other(entry) => process_start(entry.pid) != Some(entry.pid_start),
        }
    }

    /// How it ended, if it has and if that is ours to know.
    #[must_use]
    pub fn exit(&self) -> Option<GuestExit> {
        match self {
            Self::Own(guest) => guest.exit(),
            Self::Other(_) => None,
        }
    }

    /// Stops its vCPUs where it is ours; whether nothing writes to its memory any more.
    pub fn pause(&mut self) -> bool {
        match self {
            Self::Own(guest) => guest.pause(),
            Self::Other(_) => self.is_dead(),
        }
    }

    fn console(&self) -> Vec<String> {
        match self {
            Self::Own(guest) => {
                if guest.exit().is_some() {
                    guest.console().wait_for_end(PIPE_LIMIT);
                }
                let lines = guest.console().last_lines();
                lines[lines.len().saturating_sub(SHOWN_LINES)..].iter().map(Line::text).collect()
            }
            Self::Other(_) => Vec::new(),
        }
    }
}

/// How to wait for a region.
#[derive(Clone, Debug)]
pub struct WaitOptions {
    /// How long.
    pub limit: Duration,
    /// Where it may be, from the kernel's symbols.
    pub hint: Option<GuestPhysical>,
    /// Ends the wait.
    pub cancel: Cancel,
}

/// Why there is no region.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nothing was heard of the guest.
    #[error(
        "the guest printed nothing for {limit:?} and shows no observation region: it did not boot; \
         try more --memory, --machine q35, or a longer time limit"
    )]
    NeverBooted {
        /// How long was waited.
        limit: Duration,
    },
    /// It runs, and has no region.
    #[error(
        "the guest runs but shows no observation region after {limit:?}: does its kernel call uniprof_probes::init? \
         A region in the kernel's own memory is only seen with `--placement ram`.{}",
        console(.lines)
    )]
    NoProbes {
        /// How long was waited.
        limit: Duration,
        /// The console's last lines.
        lines: Vec<String>,
    },
    /// It ended first.
    #[error("the guest ended before it showed an observation region ({}){}", ending(.exit), console(.lines))]
    Ended {
        /// How, if that is known.
        exit: Option<GuestExit>,
        /// The console's last lines.
        lines: Vec<String>,
    },
    /// There is one that this version can't read.
    #[error("the guest's observation region at {at} can't be read: {why}")]
    Unreadable {
        /// Where it lies.
        at: GuestPhysical,
        /// Why.
        why: LayoutError,
    },
    /// The port is silent.
    #[error(
        "the guest does not answer on its serial port after {limit:?}: {}.{}",
        silence(.holder),
        console(.lines)
    )]
    Silent {
        /// Another process that has the port.
        holder: Option<Holder>,
        /// How long was waited.
        limit: Duration,
        /// The console's last lines.
        lines: Vec<String>,
    },
    /// There is no thread to read the port with.
    #[error("the guest's serial port can't be read: {0}")]
    Port(std::io::Error),
    /// The memory can't be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The caller's token was set.
    #[error("cancelled")]
    Cancelled,
}

/// Why the guest's network can't be told.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The port is silent.
    #[error("the guest does not tell its network over its serial port")]
    Silent,
    /// The memory can't be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

fn console(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\nThe console's last lines:\n  {}", lines.join("\n  "))
}

fn silence(holder: &Option<Holder>) -> String {
    match holder {
        Some(holder) => format!("{holder} has the port, and passes nothing on; end it"),
        None => "does its kernel run a uniprof_probes::Streamer? QEMU serves one program at a time on that socket: one that is \
                 not uniprof may have it"
            .into(),
    }
}

fn ending(exit: &Option<GuestExit>) -> String {
    exit.map_or_else(|| "its process is gone".into(), |exit| exit.to_string())
}

/// A guest whose region has been found.
#[derive(Clone)]
pub struct Attached {
    /// The memory that it lies in.
    pub memory: Arc<dyn GuestMemory>,
    /// Where, and what its header says.
    pub region: FoundRegion,
    /// Its tables, as they were then.
    pub tables: Tables,
    /// The serial port that it came over, where no memory is shared.
    pub port: Option<Arc<Port>>,
    /// What its clock was when it was found: whoever records may still have to read its image first.
    pub first_pair: Option<(HostTime, ClockPair)>,
}

/// Waits until the guest shows a region. A guest that ends meanwhile may have left one: that counts.
pub fn wait_for_region(guest: &Observed<'_>, options: &WaitOptions) -> Result<Attached, AttachError> {
    if let Some(port) = guest.entry().port.clone() {
        return wait_on_port(guest, &port, options);
    }
    let memory = guest.memory()?;
    let until = Instant::now() + options.limit;
    let mut pause = PAUSES.0;
    loop {
        // Asked before the look: what a guest wrote before it died is seen by it.
        let dead = guest.is_dead();
        let began = Instant::now();
        let search = match look(&memory, options.hint)? {
            Ok(attached) => {
                let drainer = Drainer::attach(Arc::clone(&memory), attached.region, 0);
                let first_pair = drainer.ok().and_then(|mut drainer| drainer.first_pair(FIRST_PAIR_LIMIT));
                return Ok(Attached { first_pair, ..attached });
            }
            Err(search) => search,
        };
        let unreadable = search.refused.iter().find(|(_, why)| matches!(why, LayoutError::Version { .. }));
        if let Some((at, why)) = unreadable {
            return Err(AttachError::Unreadable { at: *at, why: *why });
        }
        if dead {
            return Err(AttachError::Ended { exit: guest.exit(), lines: guest.console() });
        }
        if Instant::now() >= until {
            return Err(gave_up(guest, options.limit, &search.refused));
        }
        // A large guest takes long to search, and needs the CPU to boot.
        if !options.cancel.sleep(pause.max(began.elapsed())) {
            return Err(AttachError::Cancelled);
        }
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

/// Waits until the guest answers on its serial port. Our own guest sends what it has written since its boot, another's what is new.
fn wait_on_port(guest: &Observed<'_>, path: &Path, options: &WaitOptions) -> Result<Attached, AttachError> {
    let begin = match guest {
        Observed::Own(_) => Begin::Boot,
        Observed::Other(_) => Begin::Now,
    };
    let port = Port::open(path, begin).map_err(AttachError::Port)?;
    let until = Instant::now() + options.limit;
    loop {
        let dead = guest.is_dead();
        match port.found() {
            Some(Ok((region, tables))) => {
                return Ok(Attached {
                    memory: Arc::new(NoMemory),
                    region,
                    tables,
                    port: Some(Arc::new(port)),
                    first_pair: None,
                });
            }
            // The word of a guest of another version; what else is wrong may be right the next time.
            Some(Err(why @ LayoutError::Version { .. })) => {
                return Err(AttachError::Unreadable { at: GuestPhysical(0), why });
            }
            Some(Err(_)) | None => {}
        }
        if dead {
            return Err(AttachError::Ended { exit: guest.exit(), lines: guest.console() });
        }
        if Instant::now() >= until {
            let (limit, lines) = (options.limit, guest.console());
            return Err(match guest {
                Observed::Own(_) if lines.is_empty() => AttachError::NeverBooted { limit },
                _ => AttachError::Silent { holder: port.holder(), limit, lines },
            });
        }
        if !options.cancel.sleep(PAUSES.0) {
            return Err(AttachError::Cancelled);
        }
    }
}

fn look(
    memory: &Arc<dyn GuestMemory>,
    hint: Option<GuestPhysical>,
) -> Result<Result<Attached, crate::memory::Search>, MemoryError> {
    let region = match find_region(memory, hint)? {
        Ok(region) => region,
        Err(search) => return Ok(Err(search)),
    };
    let mut bytes = vec![0; region.header.geometry.tables_bytes()];
    memory.read(region.at, &mut bytes)?;
    // A guest that has just begun to set up anew is looked at again.
    Ok(match Tables::parse(&bytes) {
        Ok(tables) => {
            Ok(Attached { memory: Arc::clone(memory), region, tables, port: None, first_pair: None })
        }
        Err(why) => {
            Err(crate::memory::Search { refused: vec![(region.at, why)], scanned: bytes.len() as u64 })
        }
    })
}

fn gave_up(guest: &Observed<'_>, limit: Duration, refused: &[(GuestPhysical, LayoutError)]) -> AttachError {
    if let Some((at, why)) = refused.first() {
        return AttachError::Unreadable { at: *at, why: *why };
    }
    let lines = guest.console();
    // Another process has the console of a guest that is not ours, so silence says nothing about it.
    match guest {
        Observed::Own(_) if lines.is_empty() => AttachError::NeverBooted { limit },
        _ => AttachError::NoProbes { limit, lines },
    }
}

/// A request that a guest serves, whichever way it went; withdrawn when dropped.
#[derive(Debug)]
pub enum Asked {
    /// It stands in the control page.
    Page(Control),
    /// It is renewed over the serial port.
    Port(PortRequest),
    /// Likewise, beside memory that is only read.
    Beside(Beside),
}

impl Attached {
    /// Asks the guest for what `wanted` says, over the way that its records come.
    pub fn ask(&self, entry: &GuestEntry, wanted: ControlRequest) -> Result<Asked, ControlError> {
        match (&self.port, &entry.control_port) {
            (Some(port), _) => Ok(Asked::Port(port.request(wanted))),
            (None, Some(path)) if entry.file_of(&self.region).is_none() => {
                let failed = |source| ControlError::Io { path: path.clone(), source };
                Beside::request(path, wanted).map(Asked::Beside).map_err(failed)
            }
            (None, _) => Control::request(entry, &self.region, wanted).map(Asked::Page),
        }
    }

    /// Asks for what nobody renews: it ends by itself after `lease`, a minute at most. Over a port it is on its way when this returns: whoever
    /// lets go of the port has to see it in effect first.
    pub fn leave(
        &self,
        entry: &GuestEntry,
        wanted: ControlRequest,
        lease: Duration,
    ) -> Result<(), ControlError> {
        match &self.port {
            Some(port) => {
                port.leave(wanted, lease);
                Ok(())
            }
            None => control::leave(entry, &self.region, wanted, lease),
        }
    }

    /// Its interfaces and connections now; over a port it may take up to `patience` to tell. `None`: it has no table of them.
    pub fn network(&self, patience: Duration, cancel: &Cancel) -> Result<Option<Network>, NetworkError> {
        let geometry = self.region.header.geometry;
        let Some(port) = self.port.as_ref().filter(|_| geometry.connections() > 0) else {
            return Ok(Network::read(&*self.memory, self.region.at, geometry)?);
        };
        let bytes = port.area(Area::Net, patience, cancel).ok_or(NetworkError::Silent)?;
        Ok(Network::of_bytes(&bytes, geometry))
    }

    /// Whether it can't be asked for anything: its memory is read, and nothing else leads to it.
    #[must_use]
    pub fn is_read_only(&self, entry: &GuestEntry) -> bool {
        self.port.is_none() && entry.control_port.is_none() && entry.file_of(&self.region).is_none()
    }

    /// What is known about the guest and this host, for a recording. The caller adds what it knows of the kernel's image, the
    /// rate, and itself.
    #[must_use]
    pub fn session_info(&self, entry: &GuestEntry) -> SessionInfo {
        let header: &RegionHeader = &self.region.header;
        SessionInfo {
            version: 1,
            guest: entry.name.clone(),
            kernel: entry
                .kernel
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            build_id: self.tables.build_id(),
            images: self.tables.loaded_images(),
            boot_id: header.boot_id,
            architecture: header.architecture.name().into(),
            tsc_hz: header.tsc_hz,
            accelerator: Some(entry.accelerator.clone()),
            machine: entry.machine.name().into(),
            placement: entry.placement_of(&self.region).name().into(),
            transport: if self.port.is_some() { Transport::VirtioSerial } else { Transport::Shm }
                .name()
                .into(),
            vcpus: entry.vcpus,
            memory_bytes: entry.memory_bytes,
            ring_bytes: header.geometry.ring_bytes().into(),
            qemu_version: entry.qemu_version.clone(),
            host: HostFacts::probe(),
            started_ns: HostTime::now().realtime_ns,
            guest_started_ns: entry.started_ns,
            ..SessionInfo::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Does, Lab};

    fn wait(does: Does) -> String {
        let lab = Lab::new();
        let mut guest = lab.launch(&lab.spec("guest", does)).unwrap();
        let options = WaitOptions { limit: Duration::from_millis(1500), hint: None, cancel: Cancel::new() };
        wait_for_region(&Observed::Own(&mut guest), &options).err().unwrap().to_string()
    }

    #[test]
    fn a_guest_without_a_region_is_told_from_one_that_does_not_boot() {
        let silent = wait(Does::Sulk);
        assert!(silent.contains("did not boot"), "{silent}");
        let without = wait(Does::Hang);
        assert!(without.contains("uniprof_probes::init") && without.ends_with("  hi"), "{without}");
        let ended = wait(Does::Exit);
        assert!(ended.contains("ended itself with 0x10") && ended.ends_with("  hi"), "{ended}");
    }

    #[test]
    fn the_wait_ends_with_the_token() {
        let lab = Lab::new();
        let mut guest = lab.launch(&lab.spec("guest", Does::Hang)).unwrap();
        let cancel = Cancel::new();
        cancel.cancel();
        let options = WaitOptions { limit: Duration::from_secs(60), hint: None, cancel };
        let error = wait_for_region(&Observed::Own(&mut guest), &options).err().unwrap();
        assert!(matches!(error, AttachError::Cancelled), "{error}");
    }
}
