//! Where the observation region lies: in memory that the host shares as a PCI device, or in the kernel's own.

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::arch::{self, pci};
use crate::probes::{Memory, static_region};

/// `ivshmem-plain`: QEMU, `docs/specs/ivshmem-spec.txt`.
const IVSHMEM_VENDOR: u16 = 0x1af4;
const IVSHMEM_DEVICE: u16 = 0x1110;
const SHARED_MEMORY_BAR: u8 = 2;

/// What the command line wants.
#[derive(Clone, Copy)]
pub(crate) enum Placement {
    /// The device where there is one.
    Auto,
    Ivshmem,
    Ram,
}

impl Placement {
    pub(crate) const NAMES: &str = "auto, ivshmem, ram";

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => Self::Auto,
            "ivshmem" => Self::Ivshmem,
            "ram" => Self::Ram,
            _ => return None,
        })
    }
}

/// The region's first word, once the probes use it.
static WORDS: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The region as words, past the probes.
pub(crate) struct RegionWords(*const AtomicU64);

/// The region that the probes use.
pub(crate) fn words() -> Option<RegionWords> {
    let words = WORDS.load(Ordering::Acquire);
    (!words.is_null()).then_some(RegionWords(words))
}

impl RegionWords {
    /// Word `index`, which must lie inside.
    fn word(&self, index: usize) -> &'static AtomicU64 {
        // SAFETY: the region stays for ever, and is made of words that are only accessed as atomics. Its users take indexes from its own
        // geometry.
        unsafe { &*self.0.add(index) }
    }

    pub(crate) fn load(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Relaxed);
    }
}

/// Where it is.
pub(crate) struct Region {
    pub(crate) place: &'static str,
    pub(crate) memory: Memory,
}

impl Region {
    /// From now on [`words`] gives it.
    pub(crate) fn publish(&self) {
        WORDS.store(self.memory.base.cast(), Ordering::Release);
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { bytes, physical, .. } = self.memory;
        write!(f, "region {} ", self.place)?;
        match bytes {
            _ if bytes.is_multiple_of(1 << 20) => write!(f, "{} MiB", bytes >> 20)?,
            _ => write!(f, "{} KiB", bytes >> 10)?,
        }
        write!(f, " at {physical:#x}")
    }
}

/// Finds the region's memory; the text says what is missing.
pub(crate) fn find(placement: Placement) -> Result<Region, &'static str> {
    let ram = || Region { place: "ram", memory: static_region() };
    match placement {
        Placement::Ram => Ok(ram()),
        Placement::Ivshmem => ivshmem(),
        Placement::Auto => Ok(ivshmem().unwrap_or_else(|_| ram())),
    }
}

fn ivshmem() -> Result<Region, &'static str> {
    let device = pci::find(IVSHMEM_VENDOR, IVSHMEM_DEVICE)
        .ok_or("uniprof.placement=ivshmem, but the machine has no ivshmem-plain device (1af4:1110)")?;
    let range = device
        .memory(SHARED_MEMORY_BAR)
        .ok_or("uniprof.placement=ivshmem, but firmware gave the ivshmem device's memory no address")?;
    let base = arch::map_device_memory(range.clone())
        .ok_or("uniprof.placement=ivshmem, but the ivshmem device's memory is too large to map")?;
    let bytes = (range.end - range.start) as usize;
    Ok(Region { place: "ivshmem", memory: Memory { base, bytes, physical: range.start } })
}
