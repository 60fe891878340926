//! The entry of a guest that something else has started: what the registry would know of it.

use std::path::PathBuf;

use super::{Vmm, VmmError, place::Reach};
use crate::{
    clock::HostTime,
    guests::GuestEntry,
    qemu::{Accelerator, Machine, Placement},
};

impl Vmm {
    /// What is known of the guest to those that did not start it, as of one from the registry: whoever observes one can observe the other.
    ///
    /// Where its RAM lies is looked for; QEMU is not asked, and the guest does not notice.
    pub fn entry(&self) -> Result<GuestEntry, VmmError> {
        let bar = self.bar();
        let (reach, map) = match self.find_ram(None) {
            Ok((place, _)) => (Some(place.reach), Some(place.map)),
            // A region in a file needs no RAM.
            Err(_) if bar.is_some() => (None, None),
            Err(error) => return Err(error),
        };
        let (ram_file, ram_in_process) = match reach {
            Some(Reach::File(path)) => (Some(path), None),
            Some(Reach::Process(host)) => (None, Some(host)),
            None => (None, None),
        };
        Ok(GuestEntry {
            name: self.name(),
            pid: self.pid,
            pid_start: self.start,
            owner_pid: 0,
            qmp: self.monitors().into_iter().next().unwrap_or_default(),
            kernel: self.line.kernel.clone().unwrap_or_default(),
            machine: Machine::of_qemu(&self.line.machine),
            memory_bytes: self.line.memory,
            vcpus: self.line.vcpus,
            placement: if bar.is_some() { Placement::Ivshmem } else { Placement::Ram },
            memory_file: bar.unwrap_or_else(|| ram_file.clone().unwrap_or_else(PathBuf::new)),
            ram_file,
            ram_in_process,
            ram_map: map,
            port: None,
            accelerator: Accelerator {
                name: self.line.accelerator.clone(),
                reason: "by its command line".into(),
            },
            qemu_version: String::new(),
            command_line: super::command_line(self.pid).unwrap_or_default(),
            started_ns: self.started_ns(),
        })
    }

    /// When the process started, in nanoseconds since 1970.
    #[must_use]
    pub fn started_ns(&self) -> u64 {
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let since_boot = self.start.saturating_mul(1_000_000_000 / per_second);
        let now = HostTime::now();
        let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let up: f64 = up.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        now.realtime_ns.saturating_sub((up * 1e9) as u64).saturating_add(since_boot)
    }
}
