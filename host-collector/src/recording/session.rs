//! Who was recorded, where and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::qemu::Accelerator;

/// Identity of the guest and facts about the host, written first. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionInfo {
    /// Version of this structure; it only grows.
    pub version: u32,
    /// The guest's name.
    pub guest: String,
    /// The kernel's file name, without its directory.
    pub kernel: String,
    /// The kernel's build-id in hexadecimal.
    pub build_id: Option<String>,
    /// A hash of the image's text in hexadecimal, for images without a build-id.
    pub text_identity: Option<String>,
    /// What of the guest's address space is which image, as far as that was known when the recording began.
    pub images: Vec<LoadedImage>,
    /// The region's boot id.
    pub boot_id: u64,
    /// The guest's architecture.
    pub architecture: String,
    /// TSC ticks per second, as the guest calibrated them.
    pub tsc_hz: u64,
    /// What the guest ran on, and why.
    pub accelerator: Option<Accelerator>,
    /// `q35`, `microvm`.
    pub machine: String,
    /// `ivshmem`, `ram`.
    pub placement: String,
    /// `shm`, `virtio-serial`; empty in recordings of earlier versions, which are all `shm`.
    pub transport: String,
    /// vCPUs.
    pub vcpus: u32,
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// Bytes of each ring.
    pub ring_bytes: u64,
    /// QEMU's version.
    pub qemu_version: String,
    /// Samples per second and vCPU that were asked for.
    pub requested_hz: Option<u32>,
    /// The host.
    pub host: HostFacts,
    /// What wrote the recording, with its version.
    pub tool: String,
    /// Wall clock at its start, nanoseconds since 1970.
    pub started_ns: u64,
    /// Wall clock when the guest was started; 0 unknown.
    pub guest_started_ns: u64,
    /// The kernel's command line.
    pub cmdline: Vec<String>,
    /// Anything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// An ELF image in the guest's address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadedImage {
    /// A name for people.
    pub name: String,
    /// Its build-id in hexadecimal.
    pub build_id: Option<String>,
    /// Its first address, and the one after its last.
    pub range: (u64, u64),
    /// Guest-virtual less link-time address, modulo 2^64.
    pub bias: u64,
    /// Who says so: `guest` (the region's image table), `text` (guest memory was compared).
    pub found: String,
}

/// The host that a recording was made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// The kernel's name and release.
    pub kernel: String,
    /// The CPU's model name.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: u32,
}

impl HostFacts {
    /// Asks this machine.
    #[must_use]
    pub fn probe() -> Self {
        let uname = rustix::system::uname();
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            cpu: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        }
    }
}

/// Key of the checksum: MCAP has none for metadata.
const CRC: &str = "crc";

impl SessionInfo {
    /// As MCAP metadata: each field's JSON under its name, and a checksum over them.
    pub(super) fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            map.extend(fields.into_iter().map(|(key, value)| (key, value.to_string())));
        }
        map.insert(CRC.into(), format!("{:08x}", checksum(&map)));
        map
    }

    /// `None` where the checksum or a field is wrong.
    pub(super) fn from_metadata(mut map: BTreeMap<String, String>) -> Option<Self> {
        let crc = map.remove(CRC)?;
        if crc != format!("{:08x}", checksum(&map)) {
            return None;
        }
        let mut fields = serde_json::Map::new();
        for (key, value) in map {
            fields.insert(key, serde_json::from_str(&value).ok()?);
        }
        serde_json::from_value(Value::Object(fields)).ok()
    }
}

fn checksum(map: &BTreeMap<String, String>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for (key, value) in map.iter().filter(|(key, _)| *key != CRC) {
        for text in [key, value] {
            crc.update(&(text.len() as u64).to_le_bytes());
            crc.update(text.as_bytes());
        }
    }
    crc.finalize()
}
