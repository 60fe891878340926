//! What to start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uniprof_wire::layout::{Geometry, LayoutError, MAX_RING, MIN_RING};
use uniprof_wire::tables::HEAP_SLOTS;

use super::{AcceleratorChoice, Network};

/// Histograms of each vCPU, and connections of a network table, that a device with a region has room for beside its rings.
const HISTOGRAMS: u32 = 16;
const CONNECTIONS: u32 = 1024;

/// A QEMU machine type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// A PC with PCI Express.
    #[default]
    Q35,
    /// Minimal, boots fast, no PCI: a region can only lie in guest RAM.
    Microvm,
    /// A PC without PCI Express.
    Pc,
}

impl Machine {
    /// As QEMU spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Microvm => "microvm",
            Self::Pc => "pc",
        }
    }

    /// The machine that QEMU calls so, with or without a version; QEMU's own choice is a `pc`.
    #[must_use]
    pub fn of_qemu(name: &str) -> Self {
        match name {
            "microvm" => Self::Microvm,
            "q35" => Self::Q35,
            _ if name.starts_with("pc-q35-") => Self::Q35,
            _ => Self::Pc,
        }
    }
}

/// Where the observation region lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the BAR of an ivshmem device.
    #[default]
    Ivshmem,
    /// In guest RAM, which is backed by a shared file.
    Ram,
}

impl Placement {
    /// The word for people and for kernels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ivshmem => "ivshmem",
            Self::Ram => "ram",
        }
    }
}

/// How a host gets at what a guest records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// It sees the guest's memory, or the part of it that holds the region.
    #[default]
    Shm,
    /// The guest sends it over a port of a virtio-serial device. No memory is shared.
    VirtioSerial,
}

impl Transport {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::VirtioSerial => "virtio-serial",
        }
    }
}

/// A guest to start. [`LaunchSpec::new`] has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The kernel, whatever `qemu -kernel` accepts.
    pub kernel: PathBuf,
    /// Words of the kernel's command line.
    pub cmdline: Vec<String>,
    /// Passed on with `-initrd`.
    pub initrd: Option<PathBuf>,
    /// Each a path of a raw disk image, or what `-drive` accepts (has a `=`).
    pub drives: Vec<String>,
    /// Its network.
    pub network: Network,
    /// More arguments, last.
    pub extra: Vec<String>,
    /// The guest's name: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// vCPUs.
    pub vcpus: u32,
    /// Bytes of RAM, whole MiB.
    pub memory: u64,
    /// The machine.
    pub machine: Machine,
    /// Where the region goes; `None`: ivshmem where the machine has PCI.
    pub placement: Option<Placement>,
    /// How the region gets to a host.
    pub transport: Transport,
    /// Bytes of each of a vCPU's two rings.
    pub ring_bytes: u32,
    /// What to run it on.
    pub accelerator: AcceleratorChoice,
    /// What `-icount` accepts, such as `shift=0,sleep=off`: counts instructions instead of time, under TCG only.
    pub icount: Option<String>,
    /// `-cpu`; `None`: all that the accelerator can do.
    pub cpu: Option<String>,
    /// Whether the command line gets `uniprof.placement`, `uniprof.ring` and `uniprof.wall`, for kernels that link the probes.
    pub probe_words: bool,
    /// Whether a guest that panics, resets itself or is shut down is kept, paused, with its registers.
    pub hold_crashed: bool,
    /// The QEMU binary; `None`: `qemu-system-x86_64` from `PATH`.
    pub qemu: Option<PathBuf>,
}

impl LaunchSpec {
    /// One vCPU, 256 MiB, q35, rings of 1 MiB.
    #[must_use]
    pub fn new(name: impl Into<String>, kernel: impl Into<PathBuf>) -> Self {
        Self {
            kernel: kernel.into(),
            cmdline: Vec::new(),
            initrd: None,
            drives: Vec::new(),
            network: Network::None,
            extra: Vec::new(),
            name: name.into(),
            vcpus: 1,
            memory: 256 << 20,
            machine: Machine::default(),
            placement: None,
            transport: Transport::default(),
            ring_bytes: 1 << 20,
            accelerator: AcceleratorChoice::default(),
            icount: None,
            cpu: None,
            probe_words: true,
            hold_crashed: false,
            qemu: None,
        }
    }

    /// Where the region will lie.
    #[must_use]
    pub fn placement(&self) -> Placement {
        if self.transport == Transport::VirtioSerial {
            return Placement::Ram;
        }
        self.placement.unwrap_or(match self.machine {
            Machine::Q35 | Machine::Pc => Placement::Ivshmem,
            Machine::Microvm => Placement::Ram,
        })
    }

    /// Bytes of the file that holds the region.
    pub fn shared_bytes(&self) -> Result<u64, SpecError> {
        match self.placement() {
            Placement::Ram => Ok(self.memory),
            Placement::Ivshmem => {
                let geometry = self.with_tables()?;
                // A PCI BAR has a power of two bytes.
                Ok((geometry.region_bytes() as u64).next_power_of_two())
            }
        }
    }

    /// The geometry with the tables that a guest puts behind its rings where there is room.
    fn with_tables(&self) -> Result<Geometry, SpecError> {
        self.geometry()?
            .with_heap_slots(HEAP_SLOTS)
            .and_then(|geometry| geometry.with_histograms(HISTOGRAMS))
            .and_then(|geometry| geometry.with_connections(CONNECTIONS))
            .map_err(SpecError::Region)
    }

    fn geometry(&self) -> Result<Geometry, SpecError> {
        if !self.ring_bytes.is_power_of_two() || !(MIN_RING..=MAX_RING).contains(&self.ring_bytes) {
            return Err(SpecError::RingBytes { bytes: self.ring_bytes });
        }
        Geometry::with_ring_bytes(self.vcpus, self.ring_bytes).map_err(SpecError::Region)
    }

    /// Checks what can be checked without starting anything.
    pub fn validate(&self) -> Result<(), SpecError> {
        valid_name(&self.name)?;
        if self.memory == 0 || !self.memory.is_multiple_of(1 << 20) {
            return Err(SpecError::Memory { bytes: self.memory });
        }
        self.geometry()?;
        if self.transport == Transport::VirtioSerial && self.placement == Some(Placement::Ivshmem) {
            return Err(SpecError::NothingShared);
        }
        if self.machine == Machine::Microvm && self.placement() == Placement::Ivshmem {
            return Err(SpecError::NoPci);
        }
        if let Some(word) =
            self.cmdline.iter().find(|word| word.contains(|c: char| c.is_whitespace() || c == '\0'))
        {
            return Err(SpecError::Word { word: word.clone() });
        }
        Ok(())
    }
}

/// Names become file names, arguments and table cells, so they stay plain.
pub(crate) fn valid_name(name: &str) -> Result<(), SpecError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine =
        !name.is_empty() && name.len() <= 48 && name.chars().all(plain) && !name.starts_with(['.', '-']);
    if fine { Ok(()) } else { Err(SpecError::Name { name: name.into() }) }
}

/// Why a guest like that can't be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A name with other characters, or too long.
    #[error(
        "{name:?} can't be a guest's name: use up to 48 letters, digits, '.', '_', '-', not starting with '.' or '-'"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Not whole MiB.
    #[error("{bytes} bytes of memory: give whole MiB, such as 256M")]
    Memory {
        /// The size asked for.
        bytes: u64,
    },
    /// Not a power of two, or out of range.
    #[error("rings of {bytes} bytes: give a power of two from {} KiB to {} MiB, such as 1M", MIN_RING >> 10, MAX_RING >> 20)]
    RingBytes {
        /// The size asked for.
        bytes: u32,
    },
    /// No region has that many vCPUs.
    #[error(transparent)]
    Region(LayoutError),
    /// ivshmem is a PCI device.
    #[error("microvm has no PCI, so no ivshmem: use --placement ram, or --machine q35")]
    NoPci,
    /// ivshmem is shared memory.
    #[error("with --transport virtio-serial no memory is shared: leave out --placement ivshmem")]
    NothingShared,
    /// Not a pair of ports.
    #[error(
        "{text:?} is no pair of ports: give [ADDRESS:]HOSTPORT:GUESTPORT, such as 8080:80 or 0.0.0.0:8080:80; host port 0 is any that is free"
    )]
    Publish {
        /// What was given.
        text: String,
    },
    /// KVM was asked for and isn't there.
    #[error("no KVM here: {reason}; use --accel tcg (slower, timings emulated)")]
    NoKvm {
        /// Why.
        reason: String,
    },
    /// icount is TCG's.
    #[error("icount counts emulated instructions, so it needs --accel tcg")]
    IcountNeedsTcg,
    /// A kernel can't be given a word with a blank in it.
    #[error("the kernel's command line is split at blanks, so {word:?} can't be one word of it")]
    Word {
        /// The word.
        word: String,
    },
}
