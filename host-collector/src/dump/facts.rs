//! What `uniprof` writes into the dumps that it takes, beside memory and registers.

use serde::{Deserialize, Serialize};

/// Name and type of the ELF note that carries [`Facts`] as JSON.
pub const FACTS_NOTE: (&str, u32) = ("UNIPROF", 1);

/// What was known about the guest when the dump was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The guest's name.
    pub guest: String,
    /// The file that it was started from, without its directory.
    pub kernel: String,
    /// Its build-id, in hexadecimal.
    pub build_id: Option<String>,
    /// Why the dump was taken: `asked`, `panic`, `triple-fault`, `exit`, `reset`, `watchdog`.
    pub why: String,
    /// How the guest ended, in words.
    pub ending: Option<String>,
    /// The hypervisor, its version and accelerator.
    pub hypervisor: String,
    /// When, nanoseconds since 1970.
    pub taken_ns: u64,
    /// How long the guest stood still for it, in nanoseconds.
    pub paused_ns: u64,
    /// vCPUs.
    pub vcpus: u32,
    /// Where the observation region lies, if that is known.
    pub region_at: Option<u64>,
    /// The console's last lines.
    pub console: Vec<String>,
    /// Whether the guest ran on while its memory was read: then what was read of it is of different moments.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub moving: bool,
    /// What could not be had of the guest when the dump was taken, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}
