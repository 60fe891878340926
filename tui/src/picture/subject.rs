//! Who is seen.

/// From where a guest is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It runs.
    Live,
    /// A recording of it is replayed.
    Recording,
    /// It is dead, and this is its memory.
    Core,
}

/// Who is seen: what does not change while one looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The guest's name.
    pub name: String,
    /// From where it is seen.
    pub kind: Kind,
    /// The VMM's process.
    pub pid: Option<u32>,
    /// The kernel's file.
    pub kernel: String,
    /// The kernel's build-id in hexadecimal.
    pub build_id: Option<String>,
    /// How records come: `shared memory`, `virtio-serial`, `process memory`, `file`.
    pub transport: String,
    /// What emulates or runs the vCPUs: `TCG`, `KVM`.
    pub accelerator: Option<String>,
    /// Why functions have no names, or not all.
    pub symbols: Result<String, String>,
    /// The guest's memory in bytes.
    pub memory_bytes: Option<u64>,
    /// What can be done with it.
    pub can: Can,
}

/// What can be done with a guest. A refusal says why, and what mends it.
#[derive(Debug, Clone, PartialEq)]
pub struct Can {
    /// Change the rate, classes and sites.
    pub control: Result<(), String>,
    /// Take a core.
    pub core: Result<(), String>,
}
